"""transformers and sentence-transformers load models from `outlast serve` as from the hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_transformers import MODELS, TransformersContract, only_long
from tests.hubsim import HubSim
from tests.serve.forms import pack_all
from tests.serve.node import Node, pull

pytestmark = pytest.mark.clients


class TestCapsules(TransformersContract):
    packed = True

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path) -> Iterator[str]:
        with HubSim(root, mode="thread") as hub:
            pull(root / cls.__name__, hub.url, *MODELS)
        if cls.packed:
            pack_all(root / cls.__name__)
        with Node(root / cls.__name__) as node:
            yield node.url


@only_long
@pytest.mark.torture
class TestArchive(TestCapsules):
    packed = False


class TestMirror(TransformersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path) -> Iterator[str]:
        with (
            HubSim(root, mode="thread", cdn=True, resolve_cache=True) as hub,
            Node(root / "mirror", "--upstream", hub.url) as node,
        ):
            yield node.url
