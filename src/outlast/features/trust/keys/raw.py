"""Plain signatures of Ed25519 (RFC 8032), which take 64 bytes."""

from typing import Final

LENGTH: Final = 64


def is_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the key with these 32 bytes signed `message`."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - when it is needed
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    if len(signature) != LENGTH:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
