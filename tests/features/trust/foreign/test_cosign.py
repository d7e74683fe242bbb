"""Signatures of cosign beside images of registries: found, kept, checked, written."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.names import RepoId
from outlast.features.trust.foreign.cosign import CosignPayload, CosignRecord
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.statement import read_statement
from outlast.sources.registries.signatures import ANNOTATION, MEDIA_TYPE, RegistrySignature
from tests.cli.call import inside
from tests.registrysim import RegistrySim, modelpack
from tests.registrysim.images import Image, image_of

FILES = {"config.json": b"{}", "model.safetensors": b"w" * 300}
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
pytestmark = needs_openssl
PLACE = "registry.example/org/name"


def openssl(*arguments: str | Path, given: bytes = b"") -> bytes:
    words = ["openssl", *map(str, arguments)]
    return subprocess.run(words, input=given, capture_output=True, check=True).stdout


def key_pair(folder: Path, *how: str) -> tuple[Path, Path]:
    """The secret and the public key, by OpenSSL."""
    secret, public = folder / "secret.pem", folder / "public.pem"
    folder.mkdir(exist_ok=True)
    openssl("genpkey", *(how or EC), "-out", secret)
    secret.chmod(0o600)
    openssl("pkey", "-in", secret, "-pubout", "-out", public)
    return secret, public


EC = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
ED25519 = ("-algorithm", "ed25519")
RSA = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")


def signed(secret: Path, payload: bytes, *, plain: bool = False) -> str:
    """A signature by OpenSSL, as cosign writes it."""
    if plain:
        message = secret.with_name("message")
        message.write_bytes(payload)
        raw = openssl("pkeyutl", "-sign", "-rawin", "-inkey", secret, "-in", message)
    else:
        raw = openssl("dgst", "-sha256", "-sign", secret, given=payload)
    return base64.b64encode(raw).decode()


def payload_of(digest: str, **critical: Any) -> bytes:
    """As cosign writes it."""
    said = {
        "identity": {"docker-reference": PLACE},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": said | critical, "optional": {"creator": "me"}}).encode()


def push_signatures(sim: RegistrySim, digest: str, *found: tuple[bytes, str]) -> None:
    """As `cosign sign` does."""
    made: Image = image_of(b"{}", "application/vnd.oci.image.config.v1+json")
    for payload, signature in found:
        made.add(payload, MEDIA_TYPE, annotations={ANNOTATION: signature})
    sim.push("org/name", made, digest.replace(":", "-") + ".sig")


@pytest.fixture
def sim() -> Iterator[RegistrySim]:
    with RegistrySim(login="own") as sim:
        yield sim


@pytest.fixture
def digest(sim: RegistrySim) -> str:
    return sim.push("org/name", modelpack(FILES), "latest")


def pulled(home: Path, sim: RegistrySim) -> None:
    inside("pull", "org/name", "--from", f"oci+{sim.url}", home=home).ok()


def foreign(home: Path) -> list[Any]:
    call = inside("verify", "--who", "org/name", "--json", home=home)
    found: list[Any] = call.documents[0]["foreign"]
    return found


def states(home: Path) -> list[str]:
    return [one["standing"] for one in foreign(home)]


@pytest.mark.parametrize("how", [EC, ED25519, RSA], ids=["ec", "ed25519", "rsa"])
def test_a_signature_by_a_pinned_key(
    tmp_path: Path, sim: RegistrySim, digest: str, how: tuple[str, ...]
) -> None:
    secret, public = key_pair(tmp_path / "keys", *how)
    payload = payload_of(digest)
    push_signatures(sim, digest, (payload, signed(secret, payload, plain=how is ED25519)))
    pulled(tmp_path, sim)
    assert states(tmp_path) == ["not checked"]
    inside("key", "pin", "org", public, home=tmp_path).ok()
    [one] = foreign(tmp_path)
    assert (one["standing"], one["path"]) == ("signed", "oci-manifest.json")
    assert PLACE in one["why"]
    assert "binds no name" in one["why"]
    text = inside("verify", "--who", "org/name", home=tmp_path).ok().out
    assert "cosign signature: signed by" in text
    assert "published  no" in text
    pulled(tmp_path, sim)  # again: nothing is added
    assert states(tmp_path) == ["signed"]


def test_it_survives_the_registry_and_a_bundle(
    tmp_path: Path, sim: RegistrySim, digest: str
) -> None:
    secret, public = key_pair(tmp_path / "keys")
    payload = payload_of(digest)
    push_signatures(sim, digest, (payload, signed(secret, payload)))
    pulled(tmp_path, sim)
    inside("export", "org/name", "--to", tmp_path / "disk", home=tmp_path).ok()
    other = tmp_path / "other"
    other.mkdir()
    inside("import", tmp_path / "disk", home=other).ok()
    inside("key", "pin", "org", public, home=other).ok()
    assert states(other) == ["signed"]


def test_one_of_another_image_is_not_kept(tmp_path: Path, sim: RegistrySim, digest: str) -> None:
    secret, public = key_pair(tmp_path / "keys")
    payload = payload_of(f"sha256:{'1' * 64}")
    push_signatures(sim, digest, (payload, signed(secret, payload)))
    pulled(tmp_path, sim)
    inside("key", "pin", "org", public, home=tmp_path).ok()
    assert foreign(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "standing"),
    [
        (lambda p, s: (p + b" ", s), "not checked"),
        (lambda p, s: (p, s[:-8] + "AAAAAAA="), "not checked"),
        (lambda p, _: (p, "no base64!"), "refused"),
    ],
    ids=["another text", "another signature", "no signature"],
)
def test_what_was_changed_is_signed_by_no_key(
    tmp_path: Path,
    sim: RegistrySim,
    digest: str,
    change: Callable[[bytes, str], tuple[bytes, str]],
    standing: str,
) -> None:
    secret, public = key_pair(tmp_path / "keys")
    payload = payload_of(digest)
    push_signatures(sim, digest, change(payload, signed(secret, payload)))
    pulled(tmp_path, sim)
    inside("key", "pin", "org", public, home=tmp_path).ok()
    assert states(tmp_path) == [standing]


def test_a_registry_without_any_and_one_that_fails(
    tmp_path: Path, sim: RegistrySim, digest: str
) -> None:
    pulled(tmp_path, sim)
    assert foreign(tmp_path) == []
    sim.put("org/name", b"not json", digest.replace(":", "-") + ".sig")
    pulled(tmp_path, sim)
    assert foreign(tmp_path) == []


def test_a_revoked_key_is_refused(tmp_path: Path, sim: RegistrySim, digest: str) -> None:
    secret, public = key_pair(tmp_path / "keys")
    payload = payload_of(digest)
    push_signatures(sim, digest, (payload, signed(secret, payload)))
    pulled(tmp_path, sim)
    inside("key", "pin", "org", public, home=tmp_path).ok()
    inside("key", "revoke", public, "--reason", "lost", home=tmp_path).ok()
    [one] = foreign(tmp_path)
    assert one["standing"] == "refused"
    assert "revoked" in one["why"]


def test_what_we_sign_openssl_checks(tmp_path: Path, sim: RegistrySim, digest: str) -> None:
    secret, public = key_pair(tmp_path / "keys")
    pulled(tmp_path, sim)
    out = tmp_path / "payload.json"
    words = ("sign", "org/name", "--cosign", PLACE, "--key", secret, "--out", out)
    line = inside(*words, "--json", home=tmp_path).ok().result
    assert f"sha256:{line['image']}" == digest
    raw = tmp_path / "raw"
    raw.write_bytes(base64.b64decode((tmp_path / "payload.json.sig").read_bytes()))
    said = openssl("dgst", "-sha256", "-verify", public, "-signature", raw, out)
    assert b"OK" in said
    assert json.loads(out.read_bytes())["critical"]["image"]["docker-manifest-digest"] == digest
    signature = (tmp_path / "payload.json.sig").read_text()
    push_signatures(sim, digest, (out.read_bytes(), signature))
    pulled(tmp_path, sim)
    inside("key", "pin", "org", public, home=tmp_path).ok()
    assert states(tmp_path) == ["signed"]
    assert "signed the image" in inside(*words, home=tmp_path).ok().err
    inside("sign", "org/name", "--cosign", PLACE, home=tmp_path).failed("usage")


RECORD = CosignRecord(RepoId.parse("org/name"), Digest("1" * 64), RegistrySignature(b"{}", "AAAA"))


def test_a_record_is_read_as_it_was_written() -> None:
    payload = DsseEnvelope.read(RECORD.to_bytes(), unsigned=True).payload
    document = read_statement(payload)
    assert CosignRecord.of(document) == RECORD
    for change in ({"payload": 1}, {"payload": "="}, {"signature": "A" * 5000}, {"more": 1}):
        wrong = document | {"predicate": document["predicate"] | change}
        with pytest.raises(MalformedError):
            CosignRecord.of(wrong)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"critical": 1}',
        payload_of("sha512:" + "1" * 128),
        payload_of("sha256:12"),
        payload_of("sha256:" + "1" * 64, type="atomic container signature"),
        payload_of("sha256:" + "1" * 64, identity={}),
        b"[" * 1000,
        b" " * 70_000 + b"{}",
        b'{"critical": {}, "critical": {}}',
    ],
)
def test_a_payload_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        CosignPayload.read(data)
