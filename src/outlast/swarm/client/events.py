"""What a session reports, as values of our own."""

from dataclasses import dataclass

import libtorrent as lt

from outlast.core.digest import Digest
from outlast.core.errors import one_line


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Root of what a session reports."""


@dataclass(frozen=True, slots=True)
class PayloadDamaged(SessionEvent):
    """A piece of a payload that is offered does not have its hash any more: it is not sent."""

    root: Digest
    piece: int


@dataclass(frozen=True, slots=True)
class PeerBanned(SessionEvent):
    """A peer had a part in pieces that were wrong, and is not talked to any more. Where several
    peers sent blocks of one piece, an honest one can be among them.
    """

    root: Digest
    address: str


@dataclass(frozen=True, slots=True)
class TorrentFailed(SessionEvent):
    """A torrent stopped: its file cannot be read or written."""

    root: Digest
    reason: str


@dataclass(frozen=True, slots=True)
class TrackerAnswered(SessionEvent):
    """A tracker took an announcement (`problem` is empty), or did not."""

    root: Digest
    url: str
    peers: int
    problem: str


def read_alert(alert: lt.torrent_alert, root: Digest) -> SessionEvent | None:
    """The event that an alert about the payload `root` is for us, if it is one."""
    match alert:
        case lt.hash_failed_alert():
            return PayloadDamaged(root, alert.piece_index)
        case lt.peer_ban_alert():
            return PeerBanned(root, "{}:{}".format(*alert.endpoint))
        case lt.file_error_alert() | lt.torrent_error_alert():
            return TorrentFailed(root, one_line(alert.error.message(), 200))
        case lt.tracker_reply_alert():
            return TrackerAnswered(root, alert.tracker_url(), alert.num_peers, "")
        case lt.tracker_error_alert():
            reason = alert.failure_reason() or alert.error.message()
            return TrackerAnswered(root, alert.tracker_url(), 0, one_line(reason, 200))
        case _:
            return None


def one_client(name: bytes | str) -> str:
    """What a peer calls itself, fit to be printed."""
    text = name.decode(errors="replace") if isinstance(name, bytes) else name
    return one_line(text, 60)
