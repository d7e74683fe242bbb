"""Signatures as `ssh-keygen -Y` makes them (OpenSSH's PROTOCOL.sshsig), checked here.

The signature is over a frame of its own that has the namespace in it, so one that was made for
something else (a commit of git, an e-mail) does not pass for a statement of outlast.
"""

import hashlib
from typing import TYPE_CHECKING, Final

from outlast.core.errors import MalformedError
from outlast.features.trust.keys import wire
from outlast.features.trust.keys.public import KeyKind, PublicKey, decode_base64
from outlast.features.trust.keys.raw import is_ed25519

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

MAGIC: Final = b"SSHSIG"
NAMESPACE: Final = b"outlast@attestation-v1"
_VERSION: Final = 1
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_HASHES: Final = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}
_RSA_HASHES: Final = (b"rsa-sha2-512", b"rsa-sha2-256")


def unarmored(text: str) -> bytes:
    """The bytes of a signature that `ssh-keygen -Y sign` wrote as text."""
    lines = text.strip().splitlines()
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise MalformedError("not a signature of SSH")
    return decode_base64("".join(lines[1:-1]))


def verify(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether `key` signed `message` for outlast. Raises :class:`MalformedError` for what is not a
    signature of SSH.
    """
    reader = wire.WireReader(signature, "the signature")
    if reader.raw(len(MAGIC)) != MAGIC or reader.uint32() != _VERSION:
        raise MalformedError("not a signature of SSH, or of another version")
    blob, namespace, reserved = reader.text(), reader.text(), reader.text()
    hash_name, inner = reader.text(), reader.text()
    reader.end()
    if hash_name not in _HASHES:
        raise MalformedError(f"a signature of SSH over another hash: {hash_name[:20]!r}")
    if blob != key.blob or namespace != NAMESPACE:
        return False
    signed = MAGIC + b"".join(
        map(wire.text, (namespace, reserved, hash_name, _HASHES[hash_name](message).digest()))
    )
    return _verify_inner(key, signed, inner)


def _verify_inner(key: PublicKey, signed: bytes, inner: bytes) -> bool:
    reader = wire.WireReader(inner, "the signature")
    algorithm, raw = reader.text(), reader.text()
    reader.end()
    if key.kind is KeyKind.ED25519:
        return algorithm == key.kind.encode() and is_ed25519(key.raw, signed, raw)
    if key.kind.is_elliptic:
        return algorithm == key.kind.encode() and _is_ecdsa(key, signed, raw)
    return algorithm in _RSA_HASHES and _is_rsa(key, signed, raw, algorithm)


def _is_ecdsa(key: PublicKey, signed: bytes, raw: bytes) -> bool:
    """The curve says which digest is signed (RFC 5656, 6.2.1)."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import (  # noqa: PLC0415
        encode_dss_signature,
    )
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512  # noqa: PLC0415

    hashes: dict[KeyKind, HashAlgorithm] = {
        KeyKind.ECDSA: SHA256(),
        KeyKind.ECDSA_384: SHA384(),
        KeyKind.ECDSA_521: SHA512(),
    }
    reader = wire.WireReader(raw, "the signature")
    found = encode_dss_signature(reader.number(), reader.number())
    reader.end()
    loaded = key.loaded()
    assert isinstance(loaded, ec.EllipticCurvePublicKey)
    try:
        loaded.verify(found, signed, ec.ECDSA(hashes[key.kind]))
    except InvalidSignature:
        return False
    return True


def _is_rsa(key: PublicKey, signed: bytes, raw: bytes, algorithm: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256, SHA512  # noqa: PLC0415

    loaded = key.loaded()
    assert isinstance(loaded, rsa.RSAPublicKey)
    hashed: HashAlgorithm = SHA512() if algorithm == _RSA_HASHES[0] else SHA256()
    try:
        loaded.verify(raw, signed, padding.PKCS1v15(), hashed)
    except InvalidSignature:
        return False
    return True
