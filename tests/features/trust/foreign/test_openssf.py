"""OpenSSF model signatures: those of model-signing are checked, and what each comes to is said.

The vectors were made by model-signing 1.1.1 over `FILES`, and their secret keys are gone: `key.sig`
by the key of `key.pub.pem` (P-256), `shards.sig` by the same over pieces of 50 bytes, and
`certificate.sig` by a certificate (P-384) below `root.pem`.
"""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import MalformedError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.features.trust.foreign.elliptic import is_signed
from outlast.features.trust.foreign.openssf_bundle import OpenssfBundle
from outlast.features.trust.foreign.openssf_signing import openssf_sign
from outlast.features.trust.foreign.openssf_statement import ModelStatement, statement_of
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref
from tests.cli.call import inside
from tests.features.trust.evidence.authority import make_authority
from tests.serve.peers import archive_files

VECTORS = Path(__file__).with_name("vectors")
FILES = {
    ".gitattributes": b"* text\n",
    "config.json": b"{}",
    "sub/a.txt": b"a",
    "weights.txt": b"w" * 100,
}
REPO = RepoId.parse("acme/m")
PIN = ("key", "pin", "acme", VECTORS / "key.pub.pem")
Change = Callable[[dict[str, Any]], object]


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.sig").read_bytes()


def archived(home: Path, files: Mapping[str, bytes], repo: RepoId = REPO) -> Revision:
    with Archive(home / "archive", create=True) as archive:
        revision = archive_files(archive, repo, dict(files))
        with archive.writer() as writer:
            archive.refs.put(writer, repo, Ref("main", revision.id, "https://hub.example"))
    return revision


def said(home: Path, repo: RepoId = REPO, env: Mapping[str, str] | None = None) -> Any:
    """What the signature comes to; the claim *published* is as it is without any."""
    [line] = inside("verify", "--who", str(repo), "--json", home=home, env=env).ok().documents
    claims = {one["claim"]: one["standing"] for one in line["claims"]}
    assert claims["published"] == "absent"
    [found] = line["foreign"]
    return found


def test_a_pinned_key_and_all_files(tmp_path: Path) -> None:
    archived(tmp_path, {**FILES, "model.sig": vector("key")})
    found = said(tmp_path)
    assert found["standing"] == "not checked"
    assert "a key that is not pinned here" in found["why"]
    inside(*PIN, "--name", "Acme", home=tmp_path).ok()
    found = said(tmp_path)
    assert (found["path"], found["format"]) == ("model.sig", "OpenSSF model signature")
    assert found["standing"] == "signed"
    assert found["who"].startswith("Acme (SHA256:")
    assert found["why"].startswith("3 files, not .gitattributes; it binds no name, revision or")
    text = inside("verify", "--who", str(REPO), home=tmp_path).ok().out
    assert "model.sig  OpenSSF model signature: signed by Acme" in text
    assert "verified" not in text
    assert "published  no" in text
    line = next(one for one in text.splitlines() if "model.sig" in one).strip()
    assert line in inside("show", str(REPO), home=tmp_path).ok().out.splitlines()
    assert inside("show", str(REPO), "--json", home=tmp_path).ok().result["foreign"] == [found]


def test_a_key_of_another_publisher_does_not_count(tmp_path: Path) -> None:
    archived(tmp_path, {**FILES, "model.sig": vector("key")})
    inside("key", "pin", "other", VECTORS / "key.pub.pem", home=tmp_path).ok()
    inside(*PIN, "--role", "observer", home=tmp_path).ok()
    assert said(tmp_path)["standing"] == "not checked"


def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    archived(tmp_path, {**FILES, "model.sig": vector("key")})
    inside(*PIN, home=tmp_path).ok()
    inside("key", "revoke", VECTORS / "key.pub.pem", "--reason", "Stolen.", home=tmp_path).ok()
    found = said(tmp_path)
    assert (found["standing"], "revoked" in found["why"]) == ("refused", True)


def test_a_renamed_copy_passes_and_that_is_said(tmp_path: Path) -> None:
    other = RepoId.parse("acme/another")
    archived(tmp_path, {**FILES, "model.sig": vector("key")}, other)
    inside(*PIN, home=tmp_path).ok()
    found = said(tmp_path, other)
    assert found["standing"] == "signed"
    assert "it binds no name" in found["why"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"weights.txt": b"v" * 100}, "other bytes: weights.txt"),
        ({"more.py": b"run()"}, "does not sign all files: more.py"),
        ({"weights.txt": None}, "files that the revision does not have: weights.txt"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, files: dict[str, bytes | None], why: str) -> None:
    changed = {**FILES, "model.sig": vector("key"), **files}
    archived(tmp_path, {path: data for path, data in changed.items() if data is not None})
    inside(*PIN, home=tmp_path).ok()
    found = said(tmp_path)
    assert (found["standing"], why in found["why"]) == ("refused", True), found


def test_a_certificate_leads_to_roots(tmp_path: Path) -> None:
    archived(tmp_path, {**FILES, "model.sig": vector("certificate")})
    assert said(tmp_path)["standing"] == "not checked"
    config = tmp_path / "outlast.toml"
    env = {"OUTLAST_CONFIG": str(config)}
    config.write_text(f'[trust]\nsignature-roots = "{VECTORS / "root.pem"}"\n')
    found = said(tmp_path, env=env)
    assert found["standing"] == "signed", found
    assert found["who"].startswith("CN=Models,O=Acme, by a certificate below your roots (to ")


def test_other_roots_are_refused(tmp_path: Path) -> None:
    archived(tmp_path, {**FILES, "model.sig": vector("certificate")})
    other = make_authority(tmp_path / "other").roots
    config = tmp_path / "outlast.toml"
    config.write_text(f'[trust]\nsignature-roots = "{other}"\n')
    found = said(tmp_path, env={"OUTLAST_CONFIG": str(config)})
    assert (found["standing"], "your roots" in found["why"]) == ("refused", True)


def test_pieces_of_files_are_not_checked(tmp_path: Path) -> None:
    archived(tmp_path, {**FILES, "model.sig": vector("shards")})
    inside(*PIN, home=tmp_path).ok()
    found = said(tmp_path)
    assert (found["standing"], "pieces of files" in found["why"]) == ("not checked", True)


def payload_changed(change: Change) -> bytes:
    """A bundle whose statement was changed after it was signed."""
    bundle = json.loads(vector("key"))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    data = json.dumps(statement).encode()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(data).decode()
    return json.dumps(bundle).encode()


def _other_digest(statement: dict[str, Any]) -> None:
    rows = statement["predicate"]["resources"]
    rows[2]["digest"] = hashlib.sha256(b"v" * 100).hexdigest()
    root = hashlib.sha256(b"".join(bytes.fromhex(row["digest"]) for row in rows))
    statement["subject"][0]["digest"]["sha256"] = root.hexdigest()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_other_digest, "does not match the key"),
        (lambda s: s["predicate"]["resources"].pop(), "digest of the whole"),
        (lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]), "twice"),
        (lambda s: s["subject"].append(s["subject"][0]), "more or less than one"),
        (lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"), "another type"),
        (lambda s: s["predicate"].update(resources=[]), "without files"),
        (lambda s: s["predicate"]["resources"][0].update(digest="zz"), "without a digest"),
        (lambda s: s["predicate"].update(serialization=7), "no JSON object"),
    ],
)
def test_a_statement_that_was_changed_is_refused(tmp_path: Path, change: Change, why: str) -> None:
    files = {**FILES, "weights.txt": b"v" * 100} if change is _other_digest else FILES
    archived(tmp_path, {**files, "model.sig": payload_changed(change)})
    inside(*PIN, home=tmp_path).ok()
    found = said(tmp_path)
    assert (found["standing"], why in found["why"]) == ("refused", True), found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"dsseEnvelope": 1}',
        b"[" * 100_000,
        b'{"a": 1, "a": 1}',
        b'{"a": NaN}',
        vector("key").replace(b"publicKey", b"x509CertificateChain"),
        vector("key").replace(b'"payload"', b'"Payload"'),
        vector("key")[:-9],
    ],
    ids=range(10),
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    archived(tmp_path, {**FILES, "model.sig": data})
    inside(*PIN, home=tmp_path).ok()
    assert said(tmp_path)["standing"] == "refused"


@given(st.binary(max_size=300))
def test_noise_is_malformed(data: bytes) -> None:
    for read in (OpenssfBundle.read, ModelStatement.read):
        with pytest.raises(MalformedError):
            read(data)


def secret_key(path: Path, curve: ec.EllipticCurve) -> Path:
    key = ec.generate_private_key(curve)
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def test_what_we_sign_we_check(tmp_path: Path) -> None:
    revision = archived(tmp_path, FILES)
    key = secret_key(tmp_path / "ec.pem", ec.SECP256R1())
    words = ("sign", "--openssf", "--key", key, str(REPO), "--output", tmp_path / "model.sig")
    line = inside(*words, "--json", home=tmp_path).ok().result
    assert (line["files"], line["left_out"]) == (3, 1)
    bundle = OpenssfBundle.read((tmp_path / "model.sig").read_bytes())
    assert bundle.payload == statement_of(revision)[0]
    assert ModelStatement.read(bundle.payload).has_whole_files
    assert "model.sig" in inside(*words, home=tmp_path).ok().out


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_each_curve_signs_with_its_digest(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    revision = archived(tmp_path, FILES)
    key = ec.generate_private_key(curve)
    bundle = OpenssfBundle.read(openssf_sign(revision, key).data)
    assert is_signed(key.public_key(), bundle.message, bundle.signature)
    assert not is_signed(key.public_key(), bundle.message + b" ", bundle.signature)


def test_what_cannot_sign_is_said(tmp_path: Path) -> None:
    archived(tmp_path, FILES)
    out = ("--output", tmp_path / "model.sig")
    wrong = secret_key(tmp_path / "k1.pem", ec.SECP256K1())
    inside("sign", "--openssf", str(REPO), "--key", wrong, *out, home=tmp_path).failed("bad-key")
    inside("sign", "--openssf", str(REPO), *out, home=tmp_path).failed("usage")
    inside("sign", "--openssf", str(REPO), "--key", wrong, home=tmp_path).failed("usage")
    os.chmod(wrong, 0o644)
    inside("sign", "--openssf", str(REPO), "--key", wrong, *out, home=tmp_path).failed("bad-key")
    assert not (tmp_path / "model.sig").exists()
