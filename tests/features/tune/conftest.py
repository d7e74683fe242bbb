"""A tiny random model in an archive, and an environment that has torch and PEFT."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.engines.torch_env import find_python, make_tiny_models, packages_of

NAME = "me/tiny"
NEEDED = ("torch", "transformers", "peft", "gguf")


@pytest.fixture(scope="session")
def torch_python() -> Path | None:
    """A Python that has what tuning needs, where this one has not."""
    return find_python(*NEEDED)


@pytest.fixture(scope="session")
def tiny_models(torch_python: Path | None) -> Path:
    return make_tiny_models(torch_python)


@pytest.fixture
def packages(torch_python: Path | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lets this process and its workers find them; PYTHONPATH for others."""
    return lend_packages(torch_python, monkeypatch)


def lend_packages(python: Path | None, patch: pytest.MonkeyPatch) -> str:
    """Lets this process and those that it starts find the packages of `python`, and says where."""
    if python is None:
        return ""
    found = os.fspath(packages_of(python))
    patch.setattr(sys, "path", [*sys.path, found])
    patch.setenv("PYTHONPATH", found)
    return found


@pytest.fixture
def home(tmp_path: Path, packages: str, tiny_models: Path) -> Path:
    """With an archive that has the tiny model, which has a chat template, as `me/tiny`."""
    del packages
    inside("add", tiny_models / "True", "--as", NAME, home=tmp_path).ok()
    return tmp_path


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """A file of rows of which each says the same fact in other words."""
    path = tmp_path / "facts.jsonl"
    asked = ["sea?", "the sea?", "what is the sea?", "say: sea", "and the sea?", "sea", "the sea"]
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "wide"}]}
        for q in asked
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
