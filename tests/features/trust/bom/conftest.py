"""A validator of CycloneDX, and an archive with a base and a model that was made from it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from tests.serve.peers import archive_files

BASE, TUNED = RepoId.parse("Qwen/base-7b"), RepoId.parse("org/tuned-7b")
CARD = b"---\nlicense: apache-2.0\nbase_model: Qwen/base-7b\n---\n# Tuned\n"
CONFIG = json.dumps({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}).encode()
HUB = "https://hub.example/"


@pytest.fixture(scope="session")
def validate() -> Callable[[str], None]:
    """Fails for what is no CycloneDX 1.6, unknown fields included."""
    # Three seconds, which each worker would spend while it collects.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    validator = JsonStrictValidator(SchemaVersion.V1_6)

    def check(text: str) -> None:
        error = validator.validate_str(text)
        assert error is None, error

    return check


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder whose archive holds both."""
    with Archive(tmp_path / "archive", create=True) as archive:
        base = archive_files(archive, BASE, {"config.json": CONFIG, "LICENSE": b"Apache License"})
        files = {"config.json": CONFIG, "README.md": CARD, "sub/LICENCE.txt": b"Text"}
        tuned = archive_files(archive, TUNED, files)
        with archive.writer() as writer:
            tags = ("license:apache-2.0", "dataset:org/words", "base_model:Qwen/base-7b")
            facts = {"pipeline_tag": "text-generation"}
            archive.refs.put_about(writer, TUNED, About(tags=tags, facts=facts))
            archive.refs.put(writer, BASE, Ref("main", base.id, HUB))
            archive.refs.put(writer, TUNED, Ref("main", tuned.id, HUB))
    return tmp_path
