"""The signature of a bill of materials: JSON Signature Format 0.82, as CycloneDX takes it in, by an
Ed25519 key.

What is signed is the canonical JSON (RFC 8785) of the document with all of `signature` but its
`value`.
"""

import base64
from typing import TYPE_CHECKING, Any, Final

import rfc8785

from outlast.core.errors import BadSignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ALGORITHM: Final = "Ed25519"


def sign(document: dict[str, Any], key: "Ed25519PrivateKey") -> dict[str, Any]:
    """The document with a signature by `key`, in place of any that it has."""
    public = key.public_key().public_bytes_raw()
    signature: dict[str, Any] = {
        "algorithm": _ALGORITHM,
        "publicKey": {"kty": "OKP", "crv": _ALGORITHM, "x": _encode(public)},
    }
    unsigned = {**document, "signature": signature}
    value = key.sign(rfc8785.dumps(unsigned))
    return {**document, "signature": {**signature, "value": _encode(value)}}


def signer(document: dict[str, Any]) -> bytes:
    """The public key (32 bytes) that signed a document. Raises :class:`BadSignatureError`."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    signature = document.get("signature")
    if not isinstance(signature, dict) or signature.get("algorithm") != _ALGORITHM:
        raise BadSignatureError("the document has no Ed25519 signature")
    key = signature.get("publicKey")
    public = _decode(key.get("x") if isinstance(key, dict) else None, 32)
    value = _decode(signature.get("value"), 64)
    rest = {name: part for name, part in signature.items() if name != "value"}
    try:
        text = rfc8785.dumps({**document, "signature": rest})
        Ed25519PublicKey.from_public_bytes(public).verify(value, text)
    except (InvalidSignature, rfc8785.CanonicalizationError):
        raise BadSignatureError("the signature does not match the document") from None
    return public


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: object, size: int) -> bytes:
    if not isinstance(text, str):
        raise BadSignatureError("a part of the signature is missing")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        raise BadSignatureError("a part of the signature is not base64url") from None
    if len(data) != size or _encode(data) != text:
        raise BadSignatureError("a part of the signature has another length")
    return data
