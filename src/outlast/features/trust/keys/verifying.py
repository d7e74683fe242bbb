"""Checks a signature of any program whose keys are accepted."""

from outlast.core.errors import MalformedError
from outlast.features.trust.keys import minisign, sshsig
from outlast.features.trust.keys.extra import require_cryptography
from outlast.features.trust.keys.public import KeyKind, PublicKey
from outlast.features.trust.keys.raw import LENGTH, is_ed25519

MAX_SIGNATURE = 8192
"""Bytes of one: RSA of 8192 bits in SSH's form has 2.1 KB."""


def verify(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether `key` signed `message`: in plain Ed25519 (64 bytes), in SSH's form or in minisign's,
    which tell themselves apart by their first bytes. What is none of them was signed by no key.
    """
    require_cryptography()
    if len(signature) > MAX_SIGNATURE:
        return False
    try:
        if signature.startswith(sshsig.MAGIC) and len(signature) != LENGTH:
            return sshsig.verify(key, message, signature)
        if signature.startswith(minisign.BEGIN) and len(signature) != LENGTH:
            return minisign.verify(key, message, signature)
    except MalformedError:
        return False
    return key.kind is KeyKind.ED25519 and is_ed25519(key.raw, message, signature)
