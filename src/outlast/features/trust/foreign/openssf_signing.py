"""Writes an OpenSSF model signature, for other people's tools."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outlast.core.errors import BadKeyError
from outlast.core.manifest import Revision
from outlast.features.trust.foreign.elliptic import algorithm_of, hint_of, sign
from outlast.features.trust.foreign.openssf_bundle import OpenssfBundle
from outlast.features.trust.foreign.openssf_statement import statement_of
from outlast.features.trust.keys.extra import require_cryptography
from outlast.features.trust.keys.secret import AskPassphrase, read_private

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class OpenssfSigned:
    """The file of a signature, the name of the key in it, and how many files it signs."""

    data: bytes
    hint: str
    files: int


def openssf_sign(revision: Revision, key: "EllipticCurvePrivateKey") -> OpenssfSigned:
    """Signs the digests that the manifest has."""
    payload, files = statement_of(revision)
    hint = hint_of(key.public_key())
    unsigned = OpenssfBundle(payload, b"", hint=hint)
    bundle = OpenssfBundle(payload, sign(key, unsigned.message), hint=hint)
    return OpenssfSigned(bundle.to_bytes(), hint, files)


def load_elliptic(path: Path, ask: AskPassphrase) -> "EllipticCurvePrivateKey":
    """The secret key on an elliptic curve in a PEM file. Raises :class:`BadKeyError`."""
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ec import (  # noqa: PLC0415
        EllipticCurvePrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_private_key,
    )

    data = read_private(path)
    try:
        passphrase = ask(path.stem) if b"ENCRYPTED" in data else None
        found = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKeyError(f"{path} holds no key that can be read") from None
    if not isinstance(found, EllipticCurvePrivateKey) or algorithm_of(found.curve) is None:
        raise BadKeyError(
            f"{path} is not a key on P-256, P-384 or P-521",
            hint="openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one",
        )
    return found
