"""The peers of a torrent link, and how long to wait for them."""

import socket
import time
from collections.abc import Generator, Iterable
from dataclasses import replace
from functools import partial

from outlast.core.control import Control
from outlast.core.errors import UnreachableError
from outlast.core.events import Note
from outlast.core.threads import interruptible
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.node.scope import Neighbourhood
from outlast.p2p.tuning import TUNING, Tuning
from outlast.swarm.client.multi_file import MultiFileTorrent, MultiFileView
from outlast.swarm.torrent.magnet import Link


def resolved(link: Link, control: Control) -> Link:
    """`link` with the addresses of its peers in place of their names."""
    found: list[tuple[str, int]] = []
    for host, port in link.peers:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            infos = interruptible(ask, control.cancel)
        except OSError:
            control.emit(Note(f"the address of the peer {host} is unknown"))
            continue
        found += [(str(info[4][0]), port) for info in infos]
    return replace(link, peers=tuple(dict.fromkeys(found)))


def ticks(
    torrent: MultiFileTorrent,
    link: Link,
    around: Neighbourhood,
    control: Control,
    tuning: Tuning = TUNING,
) -> Generator[None]:
    """Four times a second, until cancelled. Tells the torrent of neighbours as they come, and again
    and again of all peers of the link: one that was away may be back. Meanwhile the trackers of the
    link are asked.
    """

    def near_trackers() -> frozenset[tuple[str, int]]:
        return frozenset((neighbour.host, neighbour.peer_port) for neighbour in around.near())

    with torrent.announce(link.trackers, near_trackers):
        yield from _ticks(torrent, link, around, control, tuning)


def _ticks(
    torrent: MultiFileTorrent,
    link: Link,
    around: Neighbourhood,
    control: Control,
    tuning: Tuning,
) -> Generator[None]:
    connected: set[tuple[str, int]] = set()
    again = time.monotonic() + tuning.link_connect_again
    while True:
        control.cancel.check()
        near = {neighbour.swarm_address for neighbour in around.near()}
        if time.monotonic() > again:
            connected.clear()
            torrent.connect(link.peers)
            again = time.monotonic() + tuning.link_connect_again
        torrent.connect(near - connected)
        connected |= near
        for address in torrent.take_banned():
            control.emit(Note(f"peer banned: {address} sent wrong pieces"))
        yield
        control.cancel.wait(tuning.link_tick)


def may_be_restricted(
    around: Neighbourhood,
    givers: Iterable[str],
    link: Link,
    control: Control,
    tuning: Tuning = TUNING,
) -> bool:
    """Whether what came may be for static peers alone: all that gave some of it (IP addresses, ""
    for an unknown one) are static peers, and none of them says that it is open.
    """
    node = around.node
    known = [host for host in givers if host]
    if not node.settings.peers or not all(map(node.contacts.is_static, known)):
        return False
    for neighbour in around.near():
        if not neighbour.static:
            continue
        ask = partial(neighbour.source.models, "", tuning.link_ask_timeout)
        try:
            rows = interruptible(ask, control.cancel)
        except SOURCE_FAULTS:
            continue
        if any(row.commit.hex == link.name and not row.restricted for row in rows):
            return False
    return True


class Waiting:
    """How long nothing came, and what a person is told of it."""

    def __init__(self, patience: float | None, control: Control, tuning: Tuning = TUNING) -> None:
        """`patience` in seconds; None: for ever."""
        self._tuning = tuning
        self._patience = patience
        self._control = control
        self._last = self._told = time.monotonic()
        self._have = -1

    def saw(self, standing: MultiFileView, what: str) -> None:
        """Notes the state of the torrent. Raises :class:`UnreachableError` if patience ends."""
        now = time.monotonic()
        if standing.have != self._have or standing.checks:
            self._have, self._last, self._told = (
                standing.have,
                now,
                now + self._tuning.link_tell_after,
            )
            return
        waited = now - self._last
        if self._patience is not None and waited > self._patience:
            raise UnreachableError(
                f"{_situation(standing)}; nothing came for {waited:.0f} seconds",
                hint="the same command resumes; a link with a tracker or a peer (x.pe) helps",
            )
        if now > self._told:
            self._told = now + self._tuning.link_tell_again
            self._control.emit(Note(f"{_situation(standing)}; waiting for {what}, Ctrl-C stops"))


def _situation(standing: MultiFileView) -> str:
    if not standing.peers:
        return "no peer was found"
    peers = "1 peer is" if standing.peers == 1 else f"{standing.peers} peers are"
    if standing.copies < 1:
        return f"{peers} connected, and some pieces none of them has"
    return f"{peers} connected, and none sends anything"
