"""The events of a session, as values of our own."""

from dataclasses import dataclass

import libtorrent as lt

from outlast.core.addresses import host_of
from outlast.core.digest import Digest
from outlast.core.errors import one_line


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Base of all events of a session."""


@dataclass(frozen=True, slots=True)
class PayloadDamaged(SessionEvent):
    """A piece of a seeded payload no longer has its hash: it is not sent."""

    root: Digest
    piece: int


@dataclass(frozen=True, slots=True)
class PeerBanned(SessionEvent):
    """A peer sent a wrong piece, all of it: its connections are closed and refused."""

    root: Digest
    address: str


@dataclass(frozen=True, slots=True)
class TorrentFailed(SessionEvent):
    """A torrent stopped: its file cannot be read or written."""

    root: Digest
    reason: str


@dataclass(frozen=True, slots=True)
class TrackerAnswered(SessionEvent):
    """A tracker accepted an announcement (`problem` is empty), or refused it."""

    root: Digest
    url: str
    peers: int
    problem: str


def read_alert(alert: lt.torrent_alert, root: Digest) -> SessionEvent | None:
    """The event that an alert about the payload `root` stands for; None for most alerts."""
    match alert:
        case lt.hash_failed_alert():
            return PayloadDamaged(root, alert.piece_index)
        case lt.file_error_alert() | lt.torrent_error_alert():
            return TorrentFailed(root, one_line(alert.error.message(), 200))
        case lt.tracker_reply_alert():
            return TrackerAnswered(root, alert.tracker_url(), alert.num_peers, "")
        case lt.tracker_error_alert():
            reason = alert.failure_reason() or alert.error.message()
            return TrackerAnswered(root, alert.tracker_url(), 0, one_line(reason, 200))
        case _:
            return None


def described(event: SessionEvent) -> str:
    """An event in words, for the log: of a tracker's URL, which may hold a key, only the host."""
    match event:
        case PayloadDamaged(root, piece):
            return f"payload {root.short}: piece {piece} is damaged on the disk"
        case PeerBanned(root, address):
            return f"payload {root.short}: peer {address} sent wrong pieces and is banned"
        case TorrentFailed(root, reason):
            return f"payload {root.short}: stopped: {reason}"
        case TrackerAnswered(root, url, peers, problem):
            said = problem or f"{peers} peers"
            return f"payload {root.short}: tracker {host_of(url)} answered: {said}"
        case _:
            return repr(event)


def one_client(name: bytes | str) -> str:
    """A peer's own name for its client, safe to print."""
    text = name.decode(errors="replace") if isinstance(name, bytes) else name
    return one_line(text, 60)
