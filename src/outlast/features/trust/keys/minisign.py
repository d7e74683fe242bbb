"""Signatures and key files of minisign.

A signature is the text of a ``.minisig`` file: the signature (``Ed`` over the message, ``ED`` over
its BLAKE2b-512), and a second one over the first and the trusted comment. Both are checked.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Final

from outlast.core.errors import BadKeyError, MalformedError
from outlast.features.trust.keys.extra import require_cryptography
from outlast.features.trust.keys.public import KeyKind, PublicKey, decode_base64
from outlast.features.trust.keys.raw import LENGTH, is_ed25519

BEGIN: Final = b"untrusted comment:"
_TRUSTED: Final = "trusted comment: "
_LEGACY: Final = b"Ed"
_PREHASHED: Final = b"ED"
_NUMBER: Final = 8
MAX_SIGNATURE: Final = 4096
"""Bytes of a signature with its comments."""
_SECRET_LENGTH: Final = 158
_NO_KDF: Final = b"\0\0"
_CHECKSUM: Final = b"B2"


@dataclass(frozen=True, slots=True)
class MinisignSecret:
    """A secret key of minisign that is not encrypted: `number` names it in signatures."""

    number: bytes
    seed: bytes = field(repr=False)
    public: PublicKey

    def sign(self, message: bytes, comment: str) -> bytes:
        """The text of a ``.minisig`` file."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PrivateKey,
        )

        secret = Ed25519PrivateKey.from_private_bytes(self.seed)
        signature = secret.sign(_hashed(message))
        whole = secret.sign(signature + comment.encode())
        first = base64.b64encode(_PREHASHED + self.number + signature).decode()
        last = base64.b64encode(whole).decode()
        title = f"{BEGIN.decode()} signature by outlast"
        return f"{title}\n{first}\n{_TRUSTED}{comment}\n{last}\n".encode()


def is_encrypted(text: str) -> bool:
    """Whether a file of minisign with a secret key is. Raises :class:`BadKeyError`."""
    return _secret_bytes(text)[2:4] != _NO_KDF


def read_secret(text: str) -> MinisignSecret:
    """The key in a file that is not encrypted. Raises :class:`BadKeyError`."""
    require_cryptography()
    data = _secret_bytes(text)
    if data[2:4] != _NO_KDF:
        raise BadKeyError("the secret key of minisign is encrypted")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    # The checksum at the end is 0 in these; the public key, which is there too, tells as much.
    number, seed, public = data[54:62], data[62:94], data[94:126]
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    if secret.public_key().public_bytes_raw() != public:
        raise BadKeyError("the secret key of minisign is damaged")
    return MinisignSecret(number, seed, PublicKey.of_ed25519(public))


def _secret_bytes(text: str) -> bytes:
    lines = text.strip().splitlines()
    try:
        data = decode_base64(lines[1]) if len(lines) == 2 else b""
    except MalformedError:
        data = b""
    if len(data) != _SECRET_LENGTH or data[:2] != _LEGACY or data[4:6] != _CHECKSUM:
        raise BadKeyError("not a secret key of minisign")
    return data


def verify(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether `key` signed `message`. Raises :class:`MalformedError` for what is not a signature of
    minisign.
    """
    if len(signature) > MAX_SIGNATURE:
        raise MalformedError("the signature of minisign is too long")
    try:
        lines = signature.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise MalformedError("the signature of minisign is not UTF-8") from None
    if len(lines) != 4 or not lines[2].startswith(_TRUSTED):
        raise MalformedError("not a signature of minisign: it has four lines")
    first, whole = decode_base64(lines[1]), decode_base64(lines[3])
    algorithm, raw = first[:2], first[2 + _NUMBER :]
    if algorithm not in {_LEGACY, _PREHASHED} or len(raw) != LENGTH:
        raise MalformedError("a signature of minisign of another kind")
    if key.kind is not KeyKind.ED25519:
        return False
    signed = _hashed(message) if algorithm == _PREHASHED else message
    comment = lines[2].removeprefix(_TRUSTED).encode()
    return is_ed25519(key.raw, signed, raw) and is_ed25519(key.raw, raw + comment, whole)


def _hashed(message: bytes) -> bytes:
    return hashlib.blake2b(message).digest()
