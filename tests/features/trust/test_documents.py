"""What the guide to trust and the format of statements show is what happens."""

import re
import shlex
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from outlast.core.digest import Digest
from outlast.features.trust.keys.public import PublicKey
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import PAYLOAD_TYPE, DsseEnvelope, Signature
from outlast.features.trust.records.statement import (
    OBSERVATION,
    PUBLICATION,
    REVOCATION,
    Publication,
    Statement,
)
from outlast.features.trust.rules.data_files import packaged
from tests.cli.call import inside
from tests.cli.conftest import write
from tests.hubsim import HubRepo, HubSim

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "guide" / "trust.md").read_text()
FORMAT = (DOCS / "format" / "attestation.md").read_text()


def test_each_command_of_the_guide(tmp_path: Path) -> None:
    write(tmp_path / "folder")
    inside("add", tmp_path / "folder", "--as", "me/model", home=tmp_path).ok()
    HubRepo(tmp_path / "hub", "org/name").commit({"config.json": b"{}"})
    env = {"XDG_CONFIG_HOME": str(tmp_path / "else")}
    inside("key", "new", "observer", home=tmp_path, env=env).ok()
    public = inside("key", "export", "observer", home=tmp_path, env=env).ok().out
    (tmp_path / "observer.pub").write_text(public)
    rules = "signed-or-observed-by-two.cedar"
    (tmp_path / rules).write_text(packaged(f"examples/{rules}"))
    said = []
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        env = {"OUTLAST_SOURCES": hub.url, "HF_ENDPOINT": hub.url}
        inside("pull", "org/name", home=tmp_path, env=env).ok()
        for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL):
            for line in re.findall(r"^\$ outlast (.*)$", block, re.MULTILINE):
                words, _, file = line.partition(" > ")
                call = inside(*shlex.split(words), home=tmp_path, env=env).ok()
                told = re.sub(r"at [0-9a-f]{12}\b", "at COMMIT", call.out)
                said.append(re.sub(r"at [0-9]{4}-\S+", "at TIME", told))
                if file:
                    (tmp_path / file).write_text(call.out)
    shown = re.search(r"\$ outlast verify --who me/model\n(.*?)```", GUIDE, re.DOTALL)
    assert shown is not None
    assert shown[1] in said
    inside("run", "me/model", "hello", home=tmp_path).failed("revoked")


def test_the_example_of_the_format_is_what_we_write() -> None:
    (example,) = re.findall(r"```text\npayload:\n(.*)\n\nenvelope:\n(.*)\n```", FORMAT)
    payload, envelope = (text.encode() for text in example)
    secret = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = PublicKey.of_ed25519(secret.public_key().public_bytes_raw())
    found = DsseEnvelope.read(envelope)
    assert found.payload == payload
    said = Statement.read(payload)
    assert said.manifest == Digest.of(b"a manifest")
    assert said.predicate == Publication("main", 1, "2026-11-30T12:00:00Z", (key,))
    (signature,) = found.signatures
    assert signature == Signature(key.fingerprint, secret.sign(found.message))
    assert verify(key, found.message, signature.data)
    assert DsseEnvelope.of(said.to_bytes(), [signature]).to_bytes() == envelope


def test_the_format_names_the_types() -> None:
    for name in (OBSERVATION, PUBLICATION, REVOCATION, PAYLOAD_TYPE):
        assert f"`{name}`" in FORMAT
