"""transformers and sentence-transformers load models from `outlast serve` as from the hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.test_transformers import TransformersContract
from tests.hubsim import HubSim
from tests.serve.node import Node, pull

pytestmark = pytest.mark.clients


class TestArchive(TransformersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path, computed: dict[str, Any]) -> Iterator[str]:
        with HubSim(root, mode="thread") as hub:
            pull(root / "archive", hub.url, *computed)
        with Node(root / "archive") as node:
            yield node.url


class TestMirror(TransformersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path, computed: dict[str, Any]) -> Iterator[str]:
        assert computed
        with (
            HubSim(root, mode="thread", cdn=True, resolve_cache=True) as hub,
            Node(root / "mirror", "--upstream", hub.url) as node,
        ):
            yield node.url
