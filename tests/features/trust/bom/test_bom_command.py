"""`outlast bom`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from outlast.core.digest import Digest
from outlast.features.trust.bom.signature import signer
from outlast.features.trust.keys.public import PublicKey
from tests.cli.call import inside
from tests.features.trust.bom.conftest import BASE, HUB, TUNED


def parts(document: dict[str, Any]) -> dict[str, Any]:
    return {part["name"]: part for part in document["components"]}


def test_it_says_what_the_archive_knows(home: Path, validate: Callable[[str], None]) -> None:
    call = inside("bom", "--all", home=home).ok()
    validate(call.out)
    document = json.loads(call.out)
    tuned, base = parts(document)[TUNED.name.split("/")[1]], parts(document)["base-7b"]
    assert tuned["licenses"] == [{"expression": "Apache-2.0", "acknowledgement": "declared"}]
    [ancestor] = tuned["pedigree"]["ancestors"]
    assert ancestor["version"] == base["version"]
    assert base["supplier"]["name"] != "unknown"
    assert tuned["modelCard"]["modelParameters"] == {
        "task": "text-generation",
        "architectureFamily": "qwen2",
        "modelArchitecture": "Qwen2ForCausalLM",
        "datasets": [{"type": "dataset", "name": "org/words"}],
    }
    assert tuned["externalReferences"] == [{"type": "distribution", "url": HUB}]
    said = {one["name"]: one["value"] for one in tuned["properties"]}
    assert said["outlast:licence:text:sub/LICENCE.txt"] == f"sha256:{Digest.of(b'Text').hex}"
    assert {one["ref"]: len(one["dependsOn"]) for one in document["dependencies"]} == {
        tuned["bom-ref"]: 1,
        base["bom-ref"]: 0,
    }


def test_one_model_to_a_file_signed(home: Path, validate: Callable[[str], None]) -> None:
    key = Ed25519PrivateKey.generate()
    path, output = home / "key.pem", home / "bom.json"
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    line = ("bom", str(TUNED), "--output", output, "--sign", path, "--json")
    result = inside(*map(str, line), home=home).ok().result
    text = output.read_text()
    validate(text)
    public = key.public_key().public_bytes_raw()
    assert signer(json.loads(text)) == public
    assert result["key"] == PublicKey.of_ed25519(public).fingerprint
    assert inside("bom", "--check", output, "--json", home=home).ok().result["key"] == result["key"]
    assert result["key"] in inside("bom", "--check", output, home=home).ok().out
    output.write_text(text.replace('"version":1', '"version":2'))
    inside("bom", "--check", output, home=home).failed("bad-signature")
    output.write_text("[]")
    inside("bom", "--check", output, home=home).failed("malformed")
    inside("bom", "--check", output, "--all", home=home).failed("usage")
    assert (result["models"], result["incomplete"]) == (1, 0)
    assert result["bytes"] == len(text)
    assert [path.name for path in home.iterdir() if path.name.startswith(".bom")] == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("bom",), "usage"),
        (("bom", str(BASE), "--all"), "usage"),
        (("bom", "org/other"), "not-found"),
        (("bom", str(BASE), "--sign", "/nowhere/key.pem"), "not-found"),
    ],
)
def test_what_cannot_be_done_is_said(home: Path, line: tuple[Any, ...], code: str) -> None:
    call = inside(*line, home=home)
    call.failed(code)
    assert call.out == ""


def test_it_is_signed_by_a_key_of_the_user(home: Path) -> None:
    inside("key", "new", "me", "--no-passphrase", home=home).ok()
    output = home / "bom.json"
    inside("bom", "--all", "--output", output, "--sign", "me", home=home).ok()
    listed = inside("key", "list", home=home).ok().out
    assert inside("bom", "--check", output, "--json", home=home).ok().result["key"] in listed


def test_json_alone_does_not_say_where_to_write(home: Path) -> None:
    call = inside("bom", str(BASE), "--json", home=home)
    assert (call.code, call.result["code"]) == (2, "usage")


def test_a_damaged_configuration_says_nothing(home: Path) -> None:
    [config] = {
        path for path in (home / "archive" / "blobs").rglob("*") if b"qwen2" in _bytes(path)
    }
    config.chmod(0o644)
    config.write_bytes(b"x" * config.stat().st_size)
    document = json.loads(inside("bom", str(BASE), home=home).ok().out)
    assert parts(document)["base-7b"]["modelCard"] == {}


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
