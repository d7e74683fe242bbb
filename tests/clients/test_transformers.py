"""transformers and sentence-transformers load models from an endpoint as from the hub.

They ask through huggingface_hub, which its own contract tests at each endpoint; so `make test` has
them load from one endpoint, and `make torture` from all.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign import LONG
from tests.clients.envs import cache_folder, env_folder, make_once
from tests.clients.run import HERE, client_env, run_driver
from tests.hubsim import HubRepo, HubSim

pytestmark = pytest.mark.clients

SCRIPT = "drive_transformers.py"
MODELS = ("org/tiny-bert", "org/tiny-llama", "org/tiny-sentence")
only_long = pytest.mark.skipif(not LONG, reason="a variant of another endpoint: make torture")


def tiny_models() -> Path:
    """Folders of the models; they are made once, and kept in the cache."""
    key = hashlib.sha256((HERE / SCRIPT).read_bytes() + env_folder("transformers").name.encode())
    return make_once(cache_folder() / f"tiny-models-{key.hexdigest()[:16]}", _make)


def _make(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = client_env("http://127.0.0.1:9", Path(home))
        run_driver("transformers", SCRIPT, ["make", str(folder)], environment)


class TransformersContract:
    """Tests that hold at every endpoint: subclass it, and give a class-scoped `endpoint`."""

    @pytest.fixture(scope="class")
    @classmethod
    def root(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A hub's root with tiny models under org/."""
        root = tmp_path_factory.mktemp("transformers")
        for name in MODELS:
            folder = tiny_models() / name.removeprefix("org/")
            files = {
                path.relative_to(folder).as_posix(): path
                for path in folder.rglob("*")
                if path.is_file()
            }
            HubRepo(root, name).commit(files)
        return root

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path) -> Iterator[str]:
        raise NotImplementedError

    def test_models_loaded_compute_what_they_did(self, endpoint: str, tmp_path: Path) -> None:
        made = {name: str(tiny_models() / name.removeprefix("org/")) for name in MODELS}
        names = [*made.values(), *made]
        told = run_driver("transformers", SCRIPT, ["load", *names], client_env(endpoint, tmp_path))
        for name, folder in made.items():
            assert told[name] == told[folder], name
        assert len({tuple(told[name]) for name in MODELS}) == len(MODELS)


@only_long
@pytest.mark.torture
class TestHubSim(TransformersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path) -> Iterator[str]:
        with HubSim(root, mode="thread", cdn=True, resolve_cache=True) as hub:
            yield hub.url
