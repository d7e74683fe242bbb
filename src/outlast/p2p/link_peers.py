"""Who may have what a link names, and how long one waits for them."""

import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from outlast.core.control import Control
from outlast.core.errors import UnreachableError
from outlast.core.events import Note
from outlast.core.threads import interruptible
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.node.scope import Neighbourhood
from outlast.swarm.client.multi_file import MultiFileTorrent, MultiFileView
from outlast.swarm.torrent.magnet import Link

_TICK: Final = 0.25
_TELL_AFTER: Final = 5.0
_TELL_AGAIN: Final = 30.0
_CONNECT_AGAIN: Final = 5.0
_ASK_SECONDS: Final = 10.0


def resolved(link: Link, trackers: tuple[str, ...], control: Control) -> Link:
    """`link` with the addresses of its peers in place of their names, and with our `trackers`."""
    found: list[tuple[str, int]] = []
    for host, port in link.peers:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            infos = interruptible(ask, control.cancel)
        except OSError:
            control.emit(Note(f"nobody knows the address of the peer {host}"))
            continue
        found += [(str(info[4][0]), port) for info in infos]
    return replace(
        link,
        peers=tuple(dict.fromkeys(found)),
        trackers=tuple(dict.fromkeys((*link.trackers, *trackers))),
    )


def ticks(
    torrent: MultiFileTorrent, link: Link, around: Neighbourhood, control: Control
) -> Iterator[None]:
    """Four times a second, until cancelled. Neighbours are told to the torrent as they come, and
    all that a link names again and again: who was away may be back.
    """
    connected: set[tuple[str, int]] = set()
    again = time.monotonic() + _CONNECT_AGAIN
    while True:
        control.cancel.check()
        near = {neighbour.swarm_address for neighbour in around.near()}
        if time.monotonic() > again:
            connected.clear()
            torrent.connect(link.peers)
            again = time.monotonic() + _CONNECT_AGAIN
        torrent.connect(near - connected)
        connected |= near
        for address in torrent.take_banned():
            control.emit(Note(f"peer banned: {address} had a part in wrong pieces"))
        yield
        control.cancel.wait(_TICK)


def may_be_restricted(
    around: Neighbourhood, givers: Iterable[str], link: Link, control: Control
) -> bool:
    """Whether what came may be for static peers alone: nobody else (by IP addresses, "" for one
    that is not known) gave it, and none of them says that everybody may have it.
    """
    node = around.node
    known = [host for host in givers if host]
    if not node.settings.peers or not all(map(node.contacts.is_static, known)):
        return False
    for neighbour in around.near():
        if not neighbour.static:
            continue
        ask = partial(neighbour.source.models, "", _ASK_SECONDS)
        try:
            rows = interruptible(ask, control.cancel)
        except SOURCE_FAULTS:
            continue
        if any(row.commit.hex == link.name and not row.restricted for row in rows):
            return False
    return True


class Waiting:
    """How long nothing came, and what a person should hear of that."""

    def __init__(self, patience: float | None, control: Control) -> None:
        """`patience` in seconds; None: for ever."""
        self._patience = patience
        self._control = control
        self._last = self._told = time.monotonic()
        self._have = -1

    def saw(self, standing: MultiFileView, what: str) -> None:
        """Takes note of how it stands. Raises :class:`UnreachableError` when the patience ends."""
        now = time.monotonic()
        if standing.have != self._have or standing.checks:
            self._have, self._last, self._told = standing.have, now, now + _TELL_AFTER
            return
        waited = now - self._last
        if self._patience is not None and waited > self._patience:
            raise UnreachableError(
                f"{_situation(standing)}; nothing came for {waited:.0f} seconds",
                hint="the same command resumes; a link with a tracker or a peer (x.pe) helps",
            )
        if now > self._told:
            self._told = now + _TELL_AGAIN
            self._control.emit(Note(f"{_situation(standing)}; waiting for {what}, Ctrl-C stops"))


def _situation(standing: MultiFileView) -> str:
    if not standing.peers:
        return "no peer was found"
    peers = "1 peer is" if standing.peers == 1 else f"{standing.peers} peers are"
    if standing.copies < 1:
        return f"{peers} there, and there are pieces that none of them has"
    return f"{peers} there, and none sends anything"
