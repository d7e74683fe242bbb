"""Sessions of libtorrent in one process, on loopback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from outlast.codec.hashing import names_of
from outlast.codec.merkle import PIECE, Tree
from outlast.swarm.client.events import SessionEvent
from outlast.swarm.client.session import TorrentSession
from outlast.swarm.client.torrent import Torrent
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.tuning import TUNING, ClientTuning
from tests.noise import noise

DATA = noise(3, 20 * PIECE + 4321)
HOST = "127.0.0.1"


def tree_of(data: bytes) -> Tree:
    names = names_of(data)
    assert names.merkle_root is not None
    return Tree(len(data), names.merkle_root, names.layer)


TREE = tree_of(DATA)


@dataclass(slots=True)
class Peer:
    """A session, and a folder for its files; `noted` are the pieces that it heard were written."""

    session: TorrentSession
    folder: Path
    events: list[SessionEvent] = field(default_factory=list)
    noted: list[int] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.session.port

    @property
    def path(self) -> Path:
        return self.folder / "payload"

    def seed(self, data: bytes = DATA, *, restricted: bool = False) -> Torrent:
        """Seeds `data` as what the tree describes, whether it is that or not."""
        self.path.write_bytes(data)
        self.path.chmod(0o444)
        return self.session.seed(TREE, self.path, restricted=restricted)

    def fetch(self, have: bytes = bytes(TREE.count), *, restricted: bool = False) -> Torrent:
        """Begins to fetch it; of the pieces in `have` what is there is kept."""
        if not self.path.exists():
            self.path.touch()
            os.truncate(self.path, TREE.size)
        return self.session.fetch(TREE, self.path, have, self.noted.extend, restricted=restricted)

    @property
    def whole(self) -> bool:
        return len(set(self.noted)) == TREE.count

    def of(self, kind: type[SessionEvent]) -> list[SessionEvent]:
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def peer(
    folder: Path,
    *,
    static: tuple[str, ...] = (HOST,),
    settings: SwarmSettings | None = None,
    tuning: ClientTuning = TUNING.client,
) -> Iterator[Peer]:
    folder.mkdir()
    events: list[SessionEvent] = []
    settings = settings or SwarmSettings()
    with TorrentSession(settings, static, events.append, tuning=tuning) as session:
        yield Peer(session, folder, events)


def connect(torrent: Torrent, *others: Peer) -> None:
    torrent.connect(other.address for other in others)


def flushed(torrent: Torrent) -> bool:
    """As a fetch does now and then."""
    torrent.flush()
    return True
