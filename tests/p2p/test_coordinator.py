"""Whom a transfer asks for its files."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.fetch.job import Job
from outlast.node.peers import Neighbour
from outlast.node.scope import Neighbourhood
from outlast.p2p.coordinator import PeerCoordinator

BLOB = Digest.of(b"weights")


@dataclass
class Peer:
    """A node that has nothing, and keeps what it was asked for."""

    name: str
    asked: set[Digest] = field(default_factory=set)
    heard: threading.Event = field(default_factory=threading.Event)

    def payloads(self, blobs: Iterable[Digest], timeout: float | None = None) -> dict[Digest, Any]:
        del timeout
        self.asked |= set(blobs)
        self.heard.set()
        return {}


@pytest.mark.parametrize("restricted", [False, True])
def test_a_stranger_is_not_asked_for_what_is_restricted(*, restricted: bool) -> None:
    """The question itself names private files."""
    stranger, friend = Peer("stranger"), Peer("friend")
    near = [
        Neighbour(bytes([static]) * 20, peer.name, 1, 2, static, peer)  # type: ignore[arg-type]
        for static, peer in ((False, stranger), (True, friend))
    ]
    contacts = SimpleNamespace(neighbours=lambda: near)
    node: Any = SimpleNamespace(
        contacts=contacts, wake=lambda: None, tuning=SimpleNamespace(tick=0.1)
    )
    job = Job(FileEntry("a", 7, sha256=BLOB), small=False)
    work: Any = SimpleNamespace(jobs=[job], first_open=0, state=threading.Condition(), sources=[])
    around = Neighbourhood(node, http=False)
    coordinator = PeerCoordinator(around, work, restricted=restricted)
    coordinator._look_around()
    assert friend.heard.wait(60)
    assert friend.asked == {BLOB}
    if not restricted:
        assert stranger.heard.wait(60)
    assert stranger.asked == (set() if restricted else {BLOB})
    assert (stranger.name in {n.host for n in coordinator._around.near()}) != restricted
