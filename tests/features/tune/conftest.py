"""A tiny random model in an archive, and an environment that has torch and PEFT."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.call import inside
from tests.clients.run import python_of
from tests.engines.conftest import tiny_models  # noqa: F401 - the fixtures are for all tests here

NAME = "me/tiny"
NEEDED = ("torch", "transformers", "peft", "gguf")


@pytest.fixture(scope="session")
def torch_python() -> Path | None:
    """A Python that has what tuning needs, where this one has not."""
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return None
    return python_of("transformers")


@pytest.fixture
def packages(torch_python: Path | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lets this process and its workers find them; PYTHONPATH for others."""
    if torch_python is None:
        return ""
    [found] = torch_python.parents[1].glob("lib/python3*/site-packages")
    monkeypatch.setattr(sys, "path", [*sys.path, os.fspath(found)])
    monkeypatch.setenv("PYTHONPATH", os.fspath(found))
    return os.fspath(found)


@pytest.fixture
def home(tmp_path: Path, packages: str, tiny_models: Path) -> Path:  # noqa: F811 - above
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
