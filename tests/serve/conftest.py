"""What the tests of the server share: an archive filled by `outlast pull`, and a node over it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.contract import DATASET, MODEL, Sample, build_sample
from tests.hubsim import HubSim
from tests.serve.forms import pack_all
from tests.serve.node import Node, pull
from tests.serve.peers import Peer, fill


@dataclass(frozen=True)
class Served:
    """A node over an archive of the sample; its hub is gone."""

    node: Node
    sample: Sample

    @property
    def url(self) -> str:
        return self.node.url


@contextmanager
def _serving(root: Path, *, packed: bool) -> Iterator[Served]:
    sample = build_sample(root / "hub")
    with HubSim(sample.root, mode="thread") as hub:
        pull(root / "home", hub.url, MODEL, f"{MODEL}@v1", f"{MODEL}@feature/x")
        pull(root / "home", hub.url, f"datasets/{DATASET}")
    if packed:
        pack_all(root / "home")
    with Node(root / "home") as node:
        yield Served(node, sample)


@pytest.fixture(scope="session")
def served_plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For tests that only read. Its log is shared: look for lines of your own."""
    with _serving(tmp_path_factory.mktemp("served"), packed=False) as served:
        yield served


@pytest.fixture(scope="session")
def served(served_plain: Served) -> Served:
    """The same, under a name that a module may give to another one. (pytest would end a fixture of
    the session after each test that overrides its name.)
    """
    return served_plain


@pytest.fixture(scope="session")
def served_packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same, over an archive that holds every blob as a capsule."""
    with _serving(tmp_path_factory.mktemp("packed"), packed=True) as served:
        yield served


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    peer = fill(tmp_path_factory.mktemp("peer") / "home")
    with peer.archive, peer.serving():
        yield peer


@pytest.fixture
def peer(_filled: Peer) -> Iterator[Peer]:
    """A peer port that tests share, as it was when each began."""
    yield _filled
    _filled.trusts = False
    _filled.copies = None
    _filled.in_flight.clear()
    _filled.arriving.clear()
