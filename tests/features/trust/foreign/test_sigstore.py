"""The matrix of OpenSSF model signatures by certificates of sigstore: each thing that can be wrong,
with its exact verdict. Authority, logs and keys are a private sigstore's, made here;
`sigstore.sig` and `sigstore-root.json` are what model-signing 1.1.1 made over `FILES` against one
(`tests/clients/test_model_signing.py` does it anew).
"""

import base64
import copy
import datetime as dt
import json
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from outlast.core.errors import BadConfigError, IntegrityError, MalformedError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.features.trust.foreign.openssf_statement import statement_of
from outlast.features.trust.foreign.sigstore import SigstoreBundle
from outlast.features.trust.foreign.sigstore_root import SigstoreRoot
from tests.cli.call import inside
from tests.features.trust.foreign.private_sigstore import (
    DAY,
    ISSUER,
    NOW,
    SIGNER,
    PrivateSigstore,
    b64,
    dsse_body,
    encoded,
    new_key,
)
from tests.features.trust.foreign.test_openssf import FILES, REPO, VECTORS, archived, said

PIN = ("key", "pin", "acme", "--identity", SIGNER, "--issuer", ISSUER)
WHO = f"{SIGNER} (issuer {ISSUER})"
SIGNED_AT = "2026-11-01T12:00:01Z"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return statement_of(archived(tmp_path_factory.mktemp("payload"), FILES))[0]


@pytest.fixture(scope="module")
def sigstore() -> PrivateSigstore:
    return PrivateSigstore()


class Lab:
    """An archive with a model and its signature, and the operator's trust root."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "trusted_root.json"
        self.config = home / "outlast.toml"

    def trusts(self, document: object) -> None:
        self.root.write_text(json.dumps(document))
        self.config.write_text(f'[trust]\nsigstore-root = "{self.root}"\n')

    def holds(self, signature: bytes, repo: RepoId = REPO) -> Revision:
        return archived(self.home, {**FILES, "model.sig": signature}, repo)

    def verdict(self, repo: RepoId = REPO) -> tuple[str, str, str]:
        """How the signature stands, who signed it, and why."""
        found = said(self.home, repo, {"OUTLAST_CONFIG": str(self.config)})
        assert (found["path"], found["format"]) == ("model.sig", "OpenSSF model signature")
        return found["standing"], found["who"], found["why"]


@pytest.fixture
def lab(tmp_path: Path, sigstore: PrivateSigstore) -> Lab:
    found = Lab(tmp_path)
    found.trusts(sigstore.trusted_root())
    return found


def test_a_pinned_identity(lab: Lab, sigstore: PrivateSigstore, payload: bytes) -> None:
    lab.holds(encoded(sigstore.bundle(payload)))
    why = f"it is by {WHO}, an identity that is not pinned here"
    assert lab.verdict() == ("not checked", "", why)
    assert inside(*PIN, "--name", "Releases", home=lab.home).ok().out == f"{WHO}\n"
    who = f"Releases, {WHO}, an identity pinned for acme, at {SIGNED_AT}"
    why = "3 files, not .gitattributes; it binds no name, revision or time, so the model is not "
    assert lab.verdict() == ("signed", who, f"{why}published by it")
    text = inside("verify", "--who", str(REPO), home=lab.home, env=env(lab)).ok().out
    assert f"model.sig  OpenSSF model signature: signed by Releases, {WHO}" in text
    assert "verified" not in text


def env(lab: Lab) -> dict[str, str]:
    return {"OUTLAST_CONFIG": str(lab.config)}


def test_what_model_signing_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket is opened."""

    def refuse(*_: object) -> None:
        raise AssertionError("it is to be checked offline")

    lab = Lab(tmp_path)
    lab.trusts(json.loads((VECTORS / "sigstore-root.json").read_text()))
    lab.holds((VECTORS / "sigstore.sig").read_bytes())
    inside(*PIN, home=lab.home).ok()
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    standing, who, why = lab.verdict()
    assert (standing, who.partition(", ")[0]) == ("signed", WHO)
    assert why.startswith("3 files, not .gitattributes")


def test_pins_of_others_do_not_count(lab: Lab, sigstore: PrivateSigstore, payload: bytes) -> None:
    """Another publisher's, another name's, another issuer's, and one that looks alike."""
    lab.holds(encoded(sigstore.bundle(payload)))
    for org, name, issuer in (
        ("other", SIGNER, ISSUER),
        ("acme/mm", SIGNER, ISSUER),
        ("acme", "other@acme.example", ISSUER),
        ("acme", SIGNER, "https://other.example"),
        ("acme", SIGNER, f"{ISSUER}/"),
        ("acme", SIGNER.upper(), ISSUER),
        ("acme", f"{SIGNER}.example", ISSUER),
    ):
        inside("key", "pin", org, "--identity", name, "--issuer", issuer, home=lab.home).ok()
    why = f"it is by {WHO}, an identity that is not pinned here"
    assert lab.verdict() == ("not checked", "", why)


def test_a_revoked_identity(lab: Lab, sigstore: PrivateSigstore, payload: bytes) -> None:
    lab.holds(encoded(sigstore.bundle(payload)))
    inside(*PIN, home=lab.home).ok()
    assert lab.verdict()[0] == "signed"
    end = ("key", "revoke", "--identity", SIGNER, "--issuer", ISSUER, "--reason", "Stolen.")
    inside(*end, home=lab.home).ok()
    standing, _, why = lab.verdict()
    assert standing == "refused"
    assert why.startswith(f"the identity {WHO} was revoked at 20")
    [line] = inside("key", "list", "--json", home=lab.home).ok().of_type("pinned_identity")
    assert (line["identity"], line["state"], line["why"]) == (SIGNER, "revoked", "Stolen.")
    assert "Stolen." in inside("key", "list", home=lab.home).ok().out
    assert "is revoked: Stolen." in inside(*PIN, home=lab.home).failed("policy")
    inside(*end, home=lab.home).failed("not-found")


def test_without_a_trust_root(tmp_path: Path, sigstore: PrivateSigstore, payload: bytes) -> None:
    lab = Lab(tmp_path)
    lab.config.write_text("")
    lab.holds(encoded(sigstore.bundle(payload)))
    inside(*PIN, home=lab.home).ok()
    why = "it is by sigstore, and no 'sigstore-root' is set"
    assert lab.verdict() == ("not checked", "", why)
    lab.trusts({"mediaType": "text/plain"})
    standing, _, why = lab.verdict()
    assert (standing, why.startswith("the trust root cannot be used: ")) == ("not checked", True)
    lab.root.unlink()
    assert lab.verdict()[2].startswith("the trust root cannot be used: no trust root ")


def test_another_sigstore(lab: Lab, payload: bytes) -> None:
    """The public one, for one, where the operator trusts a private one alone."""
    other = PrivateSigstore()
    lab.holds(encoded(other.bundle(payload)))
    inside(*PIN, home=lab.home).ok()
    why = f"it is in a log that your trust root does not have: {other.log.id.hex()[:16]}"
    assert lab.verdict() == ("not checked", "", why)


# Each part of it, checked without commands


@pytest.fixture(scope="module")
def root(sigstore: PrivateSigstore) -> SigstoreRoot:
    return read_root(sigstore.trusted_root())


def read_root(document: object) -> SigstoreRoot:
    return SigstoreRoot.read(json.dumps(document).encode())


def refused(bundle: dict[str, Any], root: SigstoreRoot) -> str:
    """Why it is refused."""
    with pytest.raises((IntegrityError, MalformedError)) as found:
        SigstoreBundle.read(encoded(bundle)).verified(root)
    return str(found.value)


UNLED = "its certificate does not lead to your trust root"
PROOF = "the proof of its log does not match"
OTHER = "its log has another signature"
WRITTEN = "it is not written as a bundle is"
UNSIGNED = "the signature does not match its certificate"
ONE_ENTRY = "expected exactly one log entry in bundle"
ONE_SIGNATURE = "envelope must contain exactly one signature"
TIMELESS = "bundle must contain an inclusion promise or signed timestamp(s)"
KIND = "Integrated time only supported for dsse/hashedrekord 0.0.1 types"


@pytest.mark.parametrize(
    ("certified", "why"),
    [
        ({"at_log": NOW + dt.timedelta(minutes=11)}, "its certificate was not valid at 2026-11-01"),
        ({"at_log": NOW - dt.timedelta(minutes=1)}, "its certificate was not valid at 2026-11-01"),
        ({"logged": False}, "no log of certificates in your trust root has its certificate"),
        ({"issuer": ISSUER, "old_issuer": "https://b.example"}, "its certificate has 2 issuers"),
        ({"name": [x509.RFC822Name(SIGNER)] * 2}, "its certificate has 2 names of signers"),
        ({"name": [x509.DNSName("acme.example")]}, "its certificate has a name of another kind"),
        (
            {"name": [x509.RFC822Name(SIGNER), x509.RFC822Name("b@acme.example")]},
            "its certificate has 2 names of signers",
        ),
    ],
)
def test_a_certificate_with_something_wrong(
    sigstore: PrivateSigstore, root: SigstoreRoot, certified: dict[str, Any], why: str
) -> None:
    words = dict(certified)
    at = words.pop("at_log", None)
    assert refused(sigstore.bundle(b"{}", at=at, **words), root).startswith(why)


def test_the_last_second_of_a_certificate_counts(
    sigstore: PrivateSigstore, root: SigstoreRoot
) -> None:
    bundle = sigstore.bundle(b"{}", at=NOW + dt.timedelta(minutes=10))
    signed = SigstoreBundle.read(encoded(bundle)).verified(root)
    assert (str(signed.identity), signed.payload) == (WHO, b"{}")


@pytest.mark.parametrize("name", ["https://github.com/acme/m/.github/workflows/r.yml@refs/heads/m"])
def test_a_pipeline_signs(sigstore: PrivateSigstore, root: SigstoreRoot, name: str) -> None:
    uri = x509.UniformResourceIdentifier(name)
    bundle = sigstore.bundle(b"{}", name=[uri], old_issuer=ISSUER)
    assert SigstoreBundle.read(encoded(bundle)).verified(root).identity.name == name


@pytest.mark.parametrize(
    ("began", "ended", "fits"),
    [
        (NOW - DAY, NOW + DAY, True),
        (NOW - DAY, None, True),
        (NOW + DAY, None, False),
        (NOW - 2 * DAY, NOW - DAY, False),
    ],
    ids=["within", "no end", "before it began", "after it ended"],
)
def test_the_dates_of_a_trust_root(
    sigstore: PrivateSigstore, began: dt.datetime, ended: dt.datetime | None, fits: bool
) -> None:
    """Its certificates and keys are right at that time: the file's dates alone decide."""
    whole = sigstore.trusted_root()
    sigstore.began, sigstore.ended = began, ended
    dated = sigstore.trusted_root()
    sigstore.began, sigstore.ended = NOW - 100 * DAY, None
    bundle = sigstore.bundle(b"{}")
    for kind, called in (
        ("tlogs", "log"),
        ("certificateAuthorities", "authority for certificates"),
        ("ctlogs", "log of certificates"),
    ):
        root = read_root({**whole, kind: dated[kind]})
        if fits:
            assert SigstoreBundle.read(encoded(bundle)).verified(root)
        else:
            why = f"no {called} of your trust root counts at 2026-11-01T12:00:01+00:00"
            assert refused(bundle, root) == why


def test_another_authority_and_another_log_of_certificates(sigstore: PrivateSigstore) -> None:
    other, whole = PrivateSigstore().trusted_root(), sigstore.trusted_root()
    bundle = sigstore.bundle(b"{}")
    for kind, why in (
        ("certificateAuthorities", UNLED),
        ("ctlogs", "no log of certificates in your trust root has its certificate"),
    ):
        assert refused(bundle, read_root({**whole, kind: other[kind]})) == why


def test_another_log_that_says_to_be_the_right_one(sigstore: PrivateSigstore) -> None:
    whole = sigstore.trusted_root()
    tlog = copy.deepcopy(PrivateSigstore().trusted_root()["tlogs"][0])
    tlog["logId"] = whole["tlogs"][0]["logId"]
    bundle = sigstore.bundle(b"{}")
    assert refused(bundle, read_root({**whole, "tlogs": [tlog]})) == PROOF


def entry_of(bundle: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = bundle["verificationMaterial"]["tlogEntries"][0]
    return entry


def _flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return b64(bytes(data))


def _at(bundle: dict[str, Any], *path: str | int) -> tuple[Any, Any]:
    place: Any = bundle
    for step in path[:-1]:
        place = place[step]
    return place, path[-1]


def _changed(*path: str | int, to: Callable[[Any], Any] = _flip) -> Change:
    def change(bundle: dict[str, Any]) -> None:
        place, last = _at(bundle, *path)
        place[last] = to(place[last])

    return change


ENTRY = ("verificationMaterial", "tlogEntries", 0)
CHECKPOINT = (*ENTRY, "inclusionProof", "checkpoint", "envelope")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_changed(*ENTRY, "inclusionProof", "hashes", 0), PROOF),
        (_changed(*ENTRY, "inclusionProof", "hashes", to=lambda rows: rows[:-1]), PROOF),
        (_changed(*ENTRY, "inclusionProof", "hashes", to=lambda rows: rows * 2), PROOF),
        (_changed(*ENTRY, "inclusionProof", "logIndex", to=lambda _: "0"), PROOF),
        (_changed(*ENTRY, "inclusionProof", "treeSize", to=lambda _: "4"), WRITTEN),
        (_changed(*ENTRY, "inclusionProof", "rootHash"), PROOF),
        (_changed(*CHECKPOINT, to=lambda text: text.replace("log", "lag", 1)), PROOF),
        (_changed(*CHECKPOINT, to=lambda text: text[:-2]), PROOF),
        (_changed(*ENTRY, "inclusionProof", to=lambda _: None), WRITTEN),
        (_changed(*ENTRY, "inclusionPromise", "signedEntryTimestamp"), PROOF),
        (_changed(*ENTRY, "inclusionPromise", to=lambda _: None), TIMELESS),
        (_changed(*ENTRY, "integratedTime", to=lambda text: str(int(text) + 1)), PROOF),
        (_changed(*ENTRY, "integratedTime", to=lambda _: "9" * 30), WRITTEN),
        (_changed(*ENTRY, "logIndex", to=lambda text: str(int(text) + 1)), PROOF),
        (_changed(*ENTRY, "canonicalizedBody"), PROOF),
        (_changed(*ENTRY, "kindVersion", "kind", to=lambda _: "intoto"), KIND),
        (_changed("verificationMaterial", "tlogEntries", to=lambda _: []), ONE_ENTRY),
        (_changed("verificationMaterial", "tlogEntries", to=lambda rows: rows * 2), ONE_ENTRY),
        (_changed("verificationMaterial", "certificate", "rawBytes"), ""),
        (_changed("dsseEnvelope", "payload"), UNSIGNED),
        (_changed("dsseEnvelope", "payloadType", to=lambda text: text + "x"), UNSIGNED),
        (_changed("dsseEnvelope", "signatures", 0, "sig"), UNSIGNED),
        (_changed("dsseEnvelope", "signatures", to=lambda _: []), ONE_SIGNATURE),
        (_changed("dsseEnvelope", "signatures", to=lambda rows: rows * 2), ONE_SIGNATURE),
        (_changed("mediaType", to=lambda _: "x"), WRITTEN),
    ],
    ids=range(25),
)
def test_what_was_altered_is_refused(
    sigstore: PrivateSigstore, root: SigstoreRoot, change: Change, why: str
) -> None:
    bundle = sigstore.bundle(b'{"a":1}')
    assert SigstoreBundle.read(encoded(bundle)).verified(root)
    change(bundle)
    found = refused(bundle, root)
    assert found == why or not why


def test_the_proof_of_another_signature(sigstore: PrivateSigstore, root: SigstoreRoot) -> None:
    """Of another one by the same signer, each of them right for itself."""
    one, other = sigstore.bundle(b"1"), sigstore.bundle(b"2")
    one["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    assert refused(one, root) == OTHER


def test_a_log_that_has_another_certificate(sigstore: PrivateSigstore, root: SigstoreRoot) -> None:
    bundle = sigstore.bundle(b"{}")
    other = sigstore.certify(new_key().public_key())
    signature = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    body = dsse_body(b"{}", signature, other)
    entry = sigstore.log.add(body, NOW + dt.timedelta(seconds=1))
    bundle["verificationMaterial"]["tlogEntries"] = [entry]
    assert refused(bundle, root) == OTHER


def mutants(choose: random.Random, bundle: dict[str, Any]) -> Iterator[bytes]:
    data = encoded(bundle)
    for _ in range(150):
        changed = bytearray(data)
        at = choose.randrange(len(changed))
        match choose.randrange(3):
            case 0:
                changed[at] = choose.randrange(32, 127)
            case 1:
                del changed[at : at + choose.randrange(1, 40)]
            case _:
                del changed[at:]
        yield bytes(changed)


def test_random_changes_change_nothing_or_are_refused(
    sigstore: PrivateSigstore, root: SigstoreRoot
) -> None:
    """No error of a library comes through, and nothing else is believed."""
    bundle = sigstore.bundle(b'{"a":1}')
    for data in mutants(random.Random(15), bundle):
        try:
            signed = SigstoreBundle.read(data).verified(root)
        except (IntegrityError, MalformedError):
            continue
        assert (str(signed.identity), signed.payload) == (WHO, b'{"a":1}')


@pytest.mark.parametrize(
    "change",
    [
        lambda root: root.update(mediaType="application/json"),
        lambda root: root.update(tlogs=7),
        lambda root: root["tlogs"][0].pop("publicKey"),
        lambda root: root["certificateAuthorities"][0].update(certChain=[]),
    ],
    ids=range(4),
)
def test_what_is_no_trust_root(sigstore: PrivateSigstore, change: Change) -> None:
    document = copy.deepcopy(sigstore.trusted_root())
    change(document)
    with pytest.raises(BadConfigError, match="no trust root"):
        read_root(document)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 100_000, b'{"a":1,"a":1}', b" " * (1 << 20) + b"1"]
)
def test_noise_is_no_trust_root(data: bytes) -> None:
    with pytest.raises(BadConfigError, match="no trust root"):
        SigstoreRoot.read(data)


@pytest.mark.parametrize(
    "words",
    [
        ("pin", "acme", "--identity", SIGNER),
        ("pin", "acme", "--issuer", ISSUER),
        ("pin", "acme", "--identity", "a b", "--issuer", ISSUER),
        ("pin", "acme", "--identity", "", "--issuer", ISSUER),
        ("pin", "acme", "--identity", SIGNER, "--issuer", "issuer.example"),
        ("pin", "acme", "key.pub", "--identity", SIGNER, "--issuer", ISSUER),
        ("pin", "acme", "--identity", SIGNER, "--issuer", ISSUER, "--role", "observer"),
        ("pin", "acme", "--identity", SIGNER, "--issuer", ISSUER, "--first-use"),
        ("pin", "acme", "--identity", SIGNER, "--issuer", ISSUER, "--also"),
        ("revoke", "--identity", SIGNER, "--issuer", ISSUER),
        ("list", "--identity", SIGNER, "--issuer", ISSUER),
    ],
    ids=" ".join,
)
def test_what_is_no_identity_is_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    inside("key", *words, home=tmp_path).failed("usage")
    assert not inside("key", "list", "--json", home=tmp_path).ok().documents


def test_a_damaged_pin_of_an_identity_does_not_count(
    lab: Lab, sigstore: PrivateSigstore, payload: bytes
) -> None:
    lab.holds(encoded(sigstore.bundle(payload)))
    inside(*PIN, home=lab.home).ok()
    pins = list((lab.home / "archive").rglob("identities/acme/*"))
    assert len(pins) == 2
    pins[0].write_bytes(b"x")
    assert lab.verdict()[0] == "signed"
    pins[1].write_bytes(b"x")
    assert "1 pins are damaged" in inside("doctor", home=lab.home).out
