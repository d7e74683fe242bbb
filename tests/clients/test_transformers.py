"""transformers and sentence-transformers load models from an endpoint as from the hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.run import client_env, run_driver
from tests.hubsim import HubRepo, HubSim

pytestmark = pytest.mark.clients

SCRIPT = "drive_transformers.py"


class TransformersContract:
    """Tests that hold at every endpoint: subclass it, and give a class-scoped `endpoint`."""

    @pytest.fixture(scope="class")
    @classmethod
    def root(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A hub's root with tiny models under org/."""
        return tmp_path_factory.mktemp("transformers")

    @pytest.fixture(scope="class")
    @classmethod
    def computed(cls, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        """What the models compute where they were made, by repo id."""
        made = root / "made"
        environment = client_env("http://127.0.0.1:9", tmp_path_factory.mktemp("home"))
        told = run_driver("transformers", SCRIPT, ["make", str(made)], environment)
        for folder in made.iterdir():
            files = {
                path.relative_to(folder).as_posix(): path
                for path in folder.rglob("*")
                if path.is_file()
            }
            HubRepo(root, f"org/{folder.name}").commit(files)
        return {f"org/{name}": value for name, value in told.items() if name.startswith("tiny-")}

    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path, computed: dict[str, Any]) -> Iterator[str]:
        raise NotImplementedError

    def test_models_loaded_compute_what_they_did(
        self, endpoint: str, computed: dict[str, Any], tmp_path: Path
    ) -> None:
        environment = client_env(endpoint, tmp_path)
        told = run_driver("transformers", SCRIPT, ["load", *computed], environment)
        assert len(computed) == 3
        assert {name: told[name] for name in computed} == computed


class TestHubSim(TransformersContract):
    @pytest.fixture(scope="class")
    @classmethod
    def endpoint(cls, root: Path, computed: dict[str, Any]) -> Iterator[str]:
        assert computed
        with HubSim(root, mode="thread", cdn=True, resolve_cache=True) as hub:
            yield hub.url
