"""Bytes that do not compress, alike in every run, made as fast as they are copied: a module's files
are made in each process that collects its tests.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR


def noise(seed: int, size: int) -> bytes:
    """Each seed has other bytes."""
    return Cipher(AES(seed.to_bytes(16, "little")), CTR(bytes(16))).encryptor().update(bytes(size))


def exclusive_or(one: bytes | bytearray, other: bytes) -> bytes:
    """Of two values of one length."""
    both = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")
