"""Public keys, whatever program made them: Ed25519, ECDSA on P-256, P-384 and P-521, and RSA of
2048 bits or more.

Each has one form here, that of SSH, and so one fingerprint, which `ssh-keygen -l` prints too.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from outlast.core.errors import BadKeyError, MalformedError, one_line
from outlast.features.trust.keys import wire
from outlast.features.trust.keys.extra import require_cryptography

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

MAX_KEY_TEXT: Final = 16 * 1024
"""Bytes of a file with a public key."""
_MOST_COMMENT: Final = 100
_RAW: Final = 32
LEAST_RSA_BITS: Final = 2048
MOST_RSA_BITS: Final = 8192
"""Bounds the time that a signature takes to check: 1 ms."""
_MOST_EXPONENT: Final = (1 << 32) - 1
_MINISIGN: Final = b"Ed"
_MINISIGN_LENGTH: Final = 42
_PEM: Final = "-----BEGIN PUBLIC KEY-----"


class KeyKind(StrEnum):
    """What a key signs with; the value is SSH's name of it."""

    ED25519 = "ssh-ed25519"
    ECDSA = "ecdsa-sha2-nistp256"
    ECDSA_384 = "ecdsa-sha2-nistp384"
    ECDSA_521 = "ecdsa-sha2-nistp521"
    RSA = "ssh-rsa"

    @property
    def is_elliptic(self) -> bool:
        """Whether it is ECDSA, on whichever curve."""
        return self in _CURVES


_CURVES: Final = {
    KeyKind.ECDSA: (b"nistp256", 32),
    KeyKind.ECDSA_384: (b"nistp384", 48),
    KeyKind.ECDSA_521: (b"nistp521", 66),
}
"""SSH's names of the curves, and the bytes of a coordinate."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: `blob` is its form in SSH, which was checked. A `comment` does not tell two
    keys apart.
    """

    blob: bytes
    comment: str = field(default="", compare=False)

    @classmethod
    def of(cls, blob: bytes, comment: str = "") -> Self:
        """The key with this form in SSH. Raises :class:`MalformedError`."""
        kind = _kind_of(blob)
        reader = wire.WireReader(blob, "the key")
        reader.text()
        if kind is KeyKind.ED25519:
            if len(reader.text()) != _RAW:
                raise MalformedError("a key of Ed25519 has 32 bytes")
        elif kind.is_elliptic:
            name, size = _CURVES[kind]
            curve, point = reader.text(), reader.text()
            if curve != name or len(point) != 1 + 2 * size or point[0] != 4:
                raise MalformedError(f"not a point of the curve {name.decode()}")
        else:
            exponent, modulus = reader.number(), reader.number()
            if not LEAST_RSA_BITS <= modulus.bit_length() <= MOST_RSA_BITS:
                raise MalformedError(
                    f"a key of RSA with {modulus.bit_length()} bits; {LEAST_RSA_BITS} to "
                    f"{MOST_RSA_BITS} are accepted"
                )
            if not 3 <= exponent <= _MOST_EXPONENT or not exponent % 2 or not modulus % 2:
                raise MalformedError("a key of RSA with a number that no such key has")
        reader.end()
        return cls(blob, one_line(comment.strip(), _MOST_COMMENT))

    @classmethod
    def of_ed25519(cls, raw: bytes, comment: str = "") -> Self:
        """The key of Ed25519 with these 32 bytes."""
        return cls.of(wire.text(KeyKind.ED25519.encode()) + wire.text(raw), comment)

    @property
    def kind(self) -> KeyKind:
        return _kind_of(self.blob)

    @property
    def fingerprint(self) -> str:
        """Names the key: ``SHA256:`` and 43 characters."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def short(self) -> str:
        """The start of the fingerprint, for messages."""
        return f"{self.fingerprint[:19]}…"

    @property
    def line(self) -> str:
        """As one line, without the comment: what a statement carries."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def raw(self) -> bytes:
        """The 32 bytes of a key of Ed25519."""
        reader = wire.WireReader(self.blob, "the key")
        reader.text()
        return reader.text()

    def loaded(self) -> "PublicKeyTypes":
        """The key as `cryptography` has it. Raises :class:`MalformedError` for a point that is not
        on its curve.
        """
        require_cryptography()
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_ssh_public_key,
        )

        try:
            return load_ssh_public_key(self.line.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise MalformedError(f"not a key: {error}") from None


def parse_public_key(text: str) -> PublicKey:
    """Reads a public key as SSH, minisign or OpenSSL (PEM) write it. Raises
    :class:`BadKeyError`.
    """
    try:
        return _parsed(text.strip())
    except MalformedError as error:
        raise BadKeyError(
            f"not a public key: {error}",
            hint="give a file of ssh-keygen (.pub), minisign (.pub) or 'outlast key export'",
        ) from None


def parse_line(text: object) -> PublicKey:
    """The inverse of `PublicKey.line`, and nothing else. Raises :class:`MalformedError`."""
    if not isinstance(text, str) or len(text) > MAX_KEY_TEXT:
        raise MalformedError("a key that is no text")
    key = _of_ssh(text)
    if key.line != text:
        raise MalformedError("a key that is not written in the one way")
    return key


def _parsed(text: str) -> PublicKey:
    if len(text) > MAX_KEY_TEXT:
        raise MalformedError(f"more than {MAX_KEY_TEXT} characters")
    if text.startswith(_PEM):
        return _of_pem(text)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if lines and lines[0].startswith("untrusted comment:"):
        comment = lines.pop(0).partition(":")[2].strip()
        return _of_minisign(lines[0] if len(lines) == 1 else "", comment)
    if len(lines) != 1:
        raise MalformedError("it is not one key")
    words = lines[0].split()
    return _of_minisign(words[0], "") if len(words) == 1 else _of_ssh(lines[0])


def _of_ssh(line: str) -> PublicKey:
    kind, _, rest = line.partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    key = PublicKey.of(decode_base64(encoded), comment)
    if key.kind != kind:
        raise MalformedError(f"it says to be of {one_line(kind, 40)}, and is of {key.kind}")
    return key


def _of_minisign(encoded: str, comment: str) -> PublicKey:
    data = decode_base64(encoded)
    if len(data) != _MINISIGN_LENGTH or not data.startswith(_MINISIGN):
        raise MalformedError("neither of SSH nor of minisign")
    return PublicKey.of_ed25519(data[-_RAW:], comment)


def _of_pem(text: str) -> PublicKey:
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )

    try:
        found = load_pem_public_key(text.encode())
        line = found.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedError(str(error)) from None
    return _of_ssh(line.decode())


def _kind_of(blob: bytes) -> KeyKind:
    name = wire.WireReader(blob, "the key").text()
    try:
        return KeyKind(name.decode("ascii", "replace"))
    except ValueError:
        raise MalformedError(f"a key of a kind that is not accepted: {name[:40]!r}") from None


def decode_base64(text: str) -> bytes:
    """Base64 that is written in the one way. Raises :class:`MalformedError`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise MalformedError("base64 that is not canonical")
    return data
