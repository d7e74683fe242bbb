"""Signed bills of materials: what openssl checks, and what is refused."""

import base64
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from outlast.core.errors import BadSignatureError
from outlast.features.trust.bom.signature import sign, signer

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DOCUMENT = {"bomFormat": "CycloneDX", "components": [{"name": "ü"}], "version": 1}


def signed() -> dict[str, Any]:
    return sign(DOCUMENT, KEY)


def test_the_signer_is_known() -> None:
    assert signer(signed()) == KEY.public_key().public_bytes_raw()
    assert signer(json.loads(json.dumps(signed(), indent=2))) == signer(signed())
    assert sign(signed(), KEY) == signed()


def test_openssl_checks_it(tmp_path: Path) -> None:
    document = signed()
    value = document["signature"].pop("value")
    (tmp_path / "text").write_bytes(rfc8785.dumps(document))
    (tmp_path / "sig").write_bytes(base64.urlsafe_b64decode(value + "=="))
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key").write_bytes(pem)
    line = "openssl pkeyutl -verify -rawin -in text -sigfile sig -pubin -inkey key"
    done = subprocess.run(
        shlex.split(line), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Verified Successfully" in done.stdout


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(version=2),
        lambda d: d["signature"].update(value=d["signature"]["value"][:-2] + "AA"),
        lambda d: d["signature"].update(value="*"),
        lambda d: d["signature"].update(value=7),
        lambda d: d["signature"].update(algorithm="none"),
        lambda d: d["signature"].update(keyId="other"),
        lambda d: d["signature"]["publicKey"].update(x="AAAA"),
        lambda d: d["signature"].update(publicKey="x"),
        lambda d: d["signature"].pop("value"),
        lambda d: d.pop("signature"),
        lambda d: d.update(version=float("nan")),
    ],
)
def test_what_was_changed_is_refused(change: Any) -> None:
    document = json.loads(json.dumps(signed()))
    change(document)
    with pytest.raises(BadSignatureError):
        signer(document)
