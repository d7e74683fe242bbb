"""`outlast convert`: what the converter gets, what comes of it, and what is refused."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from outlast.core.names import RepoId, RunTarget
from outlast.core.records.lineage import AncestorRole, LineageRecord, Making
from outlast.ops.run_adapter import resolve
from outlast.store.archive import Archive
from outlast.store.records.lineage import lineage_of
from tests.cli.call import inside
from tests.features.tune.adapters import write_adapter, write_base

SCRIPTS = Path(__file__).with_name("converter")
WITH = ("--gguf", "--converter", SCRIPTS)

pytestmark = pytest.mark.usefixtures("packages")


@pytest.fixture(name="given")
def _given(tmp_path: Path) -> Path:
    """A home with a base and an adapter of it."""
    inside("add", write_base(tmp_path / "base"), "--as", "org/base", home=tmp_path).ok()
    with Archive(tmp_path / "archive") as archive:
        base = archive.revision(RepoId.parse("org/base"))
    inside("add", write_adapter(tmp_path / "a", base), "--as", "me/fact", home=tmp_path).ok()
    return tmp_path


def record_of(home: Path, name: str) -> LineageRecord:
    with Archive(home / "archive") as archive:
        found = lineage_of(archive, archive.revision(RepoId.parse(name)))
    assert found is not None
    return found


def test_a_base_and_its_adapter(given: Path) -> None:
    said = inside("convert", "org/base", *WITH, "--type", "f16", "--json", home=given).ok().result
    assert (said["repo"], said["source"], said["adapter"]) == ("org/base-gguf", "org/base", False)
    record = record_of(given, "org/base-gguf")
    assert record.making is Making.CONVERSION
    assert record.parameters == {"format": "gguf", "type": "f16"}
    script = (SCRIPTS / "convert_hf_to_gguf.py").read_bytes()
    assert record.versions["converter"] == f"sha256:{hashlib.sha256(script).hexdigest()}"
    again = inside("convert", "org/base", *WITH, "--type", "f16", "--json", home=given).ok().result
    assert again["manifest"] == said["manifest"]

    said = inside("convert", "me/fact", *WITH, "--json", home=given).ok().result
    assert (said["repo"], said["source"], said["adapter"]) == ("me/fact-gguf", "me/fact", True)
    record = record_of(given, "me/fact-gguf")
    assert [(one.repo.name, one.role) for one in record.ancestors] == [
        ("me/fact", AncestorRole.ADAPTER),
        ("org/base", AncestorRole.BASE),
    ]
    # It runs on the conversion of its base, and not on the safetensors.
    with Archive(given / "archive") as archive:
        found = resolve(archive, RunTarget.parse("me/fact-gguf"))
    assert str(found.model.repo) == "org/base-gguf"
    shown = inside("show", "org/base", home=given).ok().out
    assert "org/base-gguf" in shown
    assert "converted" in shown
    call = inside("convert", "me/fact-gguf", *WITH, home=given)
    assert call.code == 9, call.err


@pytest.mark.parametrize(
    ("fill", "why"),
    [(2, "exit status 1"), (3, "may not use socket"), (4, "package_that_is_not_there")],
)
def test_a_converter_that_cannot(tmp_path: Path, fill: int, why: str) -> None:
    base = write_base(tmp_path / "base", fill=fill)
    inside("add", base, "--as", "org/base", home=tmp_path).ok()
    call = inside("convert", "org/base", *WITH, home=tmp_path)
    assert call.code == 9
    assert why in call.err
    assert "org/base-gguf" not in inside("ls", home=tmp_path).out
    assert not list((tmp_path / "archive" / "tuning").iterdir())


def test_what_is_missing_is_said(given: Path, tmp_path: Path) -> None:
    call = inside("convert", "org/base", "--gguf", home=given)
    assert call.code == 9
    assert "llama.cpp's convert_hf_to_gguf.py, which is not installed" in call.err
    assert "--converter" in call.err
    empty = tmp_path / "empty"
    empty.mkdir()
    call = inside("convert", "me/fact", "--gguf", "--converter", empty, home=given)
    assert "there is no convert_lora_to_gguf.py" in call.err
    assert inside("convert", "org/base", home=given).code == 2


def test_scales_that_gguf_does_not_have(given: Path) -> None:
    config = json.loads((given / "a" / "adapter_config.json").read_text())
    config["use_rslora"] = True
    # One module alone: the same factor can be said with another alpha.
    (given / "a" / "adapter_config.json").write_text(json.dumps(config))
    inside("add", given / "a", "--as", "me/rooted", home=given).ok()
    inside("convert", "me/rooted", *WITH, home=given).ok()
    config["use_dora"] = True
    (given / "a" / "adapter_config.json").write_text(json.dumps(config))
    inside("add", given / "a", "--as", "me/dora", home=given).ok()
    assert inside("convert", "me/dora", *WITH, home=given).code != 0


@pytest.mark.torture
@pytest.mark.skipif(
    not os.environ.get("OUTLAST_LLAMA_CPP"), reason="names no checkout of llama.cpp"
)
def test_llama_cpp_s_own_scripts(home: Path) -> None:
    """An adapter of the tiny model; its tokenizer is one that llama.cpp does not know."""
    scripts = ("--gguf", "--converter", os.environ["OUTLAST_LLAMA_CPP"])
    with Archive(home / "archive") as archive:
        base = archive.revision(RepoId.parse("me/tiny"))
    inside("add", write_adapter(home / "a", base), "--as", "me/fact", home=home).ok()
    said = inside("convert", "me/fact", *scripts, "--json", home=home).ok().result
    assert said["adapter"]
    call = inside("convert", "me/tiny", *scripts, home=home)
    assert call.code == 9, "llama.cpp does not know its tokenizer"
