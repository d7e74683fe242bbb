"""`outlast serve` is to the three majors of huggingface_hub what the hub is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.contract import DATASET, MODEL, HubContract, Sample
from tests.hubsim import HubSim
from tests.serve.node import Node, pull

pytestmark = pytest.mark.clients


class TestArchive(HubContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        home = tmp_path_factory.mktemp("archive") / "home"
        with HubSim(sample.root, mode="thread") as hub:
            pull(home, hub.url, MODEL, f"{MODEL}@v1", f"{MODEL}@feature/x", f"datasets/{DATASET}")
        with Node(home) as node:
            yield node.url


class TestMirror(HubContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        home = tmp_path_factory.mktemp("archive") / "home"
        with HubSim(sample.root, mode="thread") as hub, Node(home, "--upstream", hub.url) as node:
            yield node.url
