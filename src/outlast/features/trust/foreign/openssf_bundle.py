"""The file of an OpenSSF model signature (model-signing 1.x): a bundle of sigstore, version 0.3,
with a DSSE envelope, as JSON. Nothing in it is believed yet.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final, Self

from outlast.core.errors import MalformedError
from outlast.core.manifest import load_json
from outlast.features.trust.records.dsse import PAYLOAD_TYPE, pae

MAX_SIGNATURE_FILE: Final = 16 * 1024 * 1024
"""Bytes: some 80,000 files take that. Guess: the largest models on hubs have 10,000."""
MOST_PARTS: Final = 250_000
"""Objects and arrays of one JSON document in it."""
MOST_CERTIFICATES: Final = 8
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MOST_RAW: Final = 1024
"""Bytes of a signature: ECDSA on P-521 takes 139."""


@dataclass(frozen=True, slots=True)
class OpenssfBundle:
    """`payload` and the `signature` over it; what checks that is a key (`hint`: the sha256 of its
    PEM, "" in older files), a `chain` of certificates (DER, the signer's first), or a certificate
    of sigstore with the entry of a log: `is_sigstore`.
    """

    payload: bytes
    signature: bytes
    hint: str = ""
    chain: tuple[bytes, ...] = ()
    is_sigstore: bool = False

    @property
    def message(self) -> bytes:
        """What is signed."""
        return pae(PAYLOAD_TYPE, self.payload)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises :class:`MalformedError`."""
        document = _object(load_json(data, MAX_SIGNATURE_FILE, containers=MOST_PARTS), "bundle")
        envelope = _object(document.get("dsseEnvelope"), "envelope")
        if envelope.get("payloadType") != PAYLOAD_TYPE:
            raise MalformedError("the signature is over a payload of another type")
        rows = envelope.get("signatures")
        if not isinstance(rows, list) or len(rows) != 1:
            raise MalformedError("the envelope does not have one signature")
        signature = _base64(_object(rows[0], "signature").get("sig"))
        if len(signature) > _MOST_RAW:
            raise MalformedError("the signature is too long")
        payload = _base64(envelope.get("payload"))
        material = _object(document.get("verificationMaterial"), "verification material")
        if "publicKey" in material:
            hint = _object(material["publicKey"], "key").get("hint") or ""
            if not isinstance(hint, str) or len(hint) > _MOST_RAW:
                raise MalformedError("the name of the key is no short text")
            return cls(payload, signature, hint=hint)
        if "x509CertificateChain" in material and not material.get("tlogEntries"):
            return cls(payload, signature, chain=_chain(material["x509CertificateChain"]))
        return cls(payload, signature, is_sigstore=True)

    def to_bytes(self) -> bytes:
        """The file of a bundle that a key signed."""
        document = {
            "mediaType": _MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": self.hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(self.signature).decode(), "keyid": ""}],
            },
        }
        return json.dumps(document).encode()


def _chain(value: object) -> tuple[bytes, ...]:
    rows = _object(value, "chain").get("certificates")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_CERTIFICATES:
        raise MalformedError(f"a chain has 1 to {MOST_CERTIFICATES} certificates")
    return tuple(_base64(_object(row, "certificate").get("rawBytes")) for row in rows)


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"the {what} is no JSON object")
    return value


def _base64(value: object) -> bytes:
    if not isinstance(value, str):
        raise MalformedError("a part of the signature is missing")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("a part of the signature is not base64") from None
