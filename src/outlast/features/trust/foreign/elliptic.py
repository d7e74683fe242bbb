"""ECDSA as OpenSSF model signatures use it: the curve says which digest is signed."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from outlast.core.errors import IntegrityError, MalformedError, one_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        EllipticCurve,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.x509 import Certificate


def algorithm_of(curve: "EllipticCurve") -> "ECDSA | None":
    """What a key on this curve signs with; None where the format has no such keys."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415

    found: dict[str, hashes.HashAlgorithm] = {
        "secp256r1": hashes.SHA256(),
        "secp384r1": hashes.SHA384(),
        "secp521r1": hashes.SHA512(),
    }
    return ECDSA(found[curve.name]) if curve.name in found else None


def is_signed(key: "EllipticCurvePublicKey", message: bytes, signature: bytes) -> bool:
    """Whether `key` signed `message`."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

    algorithm = algorithm_of(key.curve)
    if algorithm is None:
        return False
    try:
        key.verify(signature, message, algorithm)
    except InvalidSignature:
        return False
    return True


def sign(key: "EllipticCurvePrivateKey", message: bytes) -> bytes:
    """A signature that :func:`is_signed` takes."""
    algorithm = algorithm_of(key.curve)
    if algorithm is None:
        raise MalformedError(f"no model is signed by a key on the curve {key.curve.name}")
    return key.sign(message, algorithm)


def hint_of(key: "EllipticCurvePublicKey") -> str:
    """What names a key in a bundle: the sha256 of its PEM."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - an extra
        Encoding,
        PublicFormat,
    )

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def certified_key(
    chain: Sequence[bytes], roots: "Sequence[Certificate]"
) -> "tuple[EllipticCurvePublicKey, Certificate]":
    """The key of the first certificate of a chain to one of `roots`. The chain has to be valid when
    the first certificate begins to be: nothing in the file says when it was signed. Raises
    :class:`IntegrityError` where it does not lead there, and :class:`MalformedError`.
    """
    from cryptography import x509  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ec import (  # noqa: PLC0415
        EllipticCurvePublicKey,
    )
    from cryptography.x509.verification import (  # noqa: PLC0415
        ExtensionPolicy,
        PolicyBuilder,
        Store,
        VerificationError,
    )

    try:
        leaf, *others = map(x509.load_der_x509_certificate, chain)
        key = leaf.public_key()
        may_sign = _may_sign(leaf)
    except ValueError as error:
        raise MalformedError(f"not a certificate: {one_line(str(error), 200)}") from None
    if not isinstance(key, EllipticCurvePublicKey):
        raise MalformedError("the certificate is of a key that is not on an elliptic curve")
    if not may_sign:
        raise IntegrityError("the certificate is not one that may sign")
    policies = ExtensionPolicy.permit_all(), ExtensionPolicy.webpki_defaults_ca()
    builder = PolicyBuilder().store(Store(list(roots))).time(leaf.not_valid_before_utc)
    builder = builder.extension_policies(ee_policy=policies[0], ca_policy=policies[1])
    try:
        builder.build_client_verifier().verify(leaf, others)
    except VerificationError as error:
        why = one_line(str(error), 200)
        raise IntegrityError(f"its certificate does not lead to your roots: {why}") from None
    return key, leaf


def _may_sign(leaf: "Certificate") -> bool:
    """Whether a certificate is for signatures, by its key usage or its extended one."""
    from cryptography import x509  # noqa: PLC0415 - an extra

    extensions = leaf.extensions
    try:
        if extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return x509.oid.ExtendedKeyUsageOID.CODE_SIGNING in usage
