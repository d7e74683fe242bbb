"""transformers and sentence-transformers load models from `outlast serve` as from the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.test_transformers import MODELS, TransformersContract, only_long
from tests.hubsim import HubSim
from tests.serve.forms import pack_all
from tests.serve.node import Node, pull

pytestmark = pytest.mark.clients


@contextmanager
def archive(root: Path, home: Path, *, packed: bool) -> Iterator[str]:
    """The URL of a node that has the models, after the hub has gone."""
    with HubSim(root, mode="thread") as hub:
        pull(home, hub.url, *MODELS)
    if packed:
        pack_all(home)
    with Node(home) as node:
        yield node.url


class TestMirrorOfCapsules(TransformersContract):
    """Both at once: what an archive of capsules answers comes through a mirror of it."""

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path) -> Iterator[str]:
        with (
            archive(root, root / "capsules", packed=True) as url,
            Node(root / "mirror", "--upstream", url) as node,
        ):
            yield node.url


@only_long
@pytest.mark.torture
class TestCapsules(TransformersContract):
    packed = True

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path) -> Iterator[str]:
        with archive(root, root / cls.__name__, packed=cls.packed) as url:
            yield url


@only_long
@pytest.mark.torture
class TestArchive(TestCapsules):
    packed = False


@only_long
@pytest.mark.torture
class TestMirror(TransformersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path) -> Iterator[str]:
        with (
            HubSim(root, mode="thread", cdn=True, resolve_cache=True) as hub,
            Node(root / "mirror", "--upstream", hub.url) as node,
        ):
            yield node.url
