"""What the tests of the server share: an archive filled by `outlast pull`, and a node over it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.clients.contract import DATASET, MODEL, Sample, build_sample
from tests.hubsim import HubSim
from tests.serve.node import Node, pull


@dataclass(frozen=True)
class Served:
    """A node over an archive of the sample; its hub is gone."""

    node: Node
    sample: Sample

    @property
    def url(self) -> str:
        return self.node.url


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For tests that only read. Its log is shared: look for lines of your own."""
    root = tmp_path_factory.mktemp("served")
    sample = build_sample(root / "hub")
    with HubSim(sample.root, mode="thread") as hub:
        pull(root / "home", hub.url, MODEL, f"{MODEL}@v1", f"{MODEL}@feature/x")
        pull(root / "home", hub.url, f"datasets/{DATASET}")
    with Node(root / "home") as node:
        yield Served(node, sample)
