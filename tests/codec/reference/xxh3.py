"""XXH3 with 64 bits and seed 0 in plain Python, for the reference decoder.

Source: Y. Collet, the XXH3 algorithm, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

import struct
from typing import Final

_P32_1, _P32_2, _P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_P64_1, _P64_2, _P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P64_4, _P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MIX_1, _MIX_2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
_MASK = (1 << 64) - 1
_STRIPE, _STRIPES = 64, 16

SECRET: Final = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_START = (_P32_3, _P64_1, _P64_2, _P64_3, _P64_4, _P32_2, _P64_5, _P32_1)


def xxh3(data: bytes) -> int:
    """The checksum of `data`."""
    if len(data) <= 16:
        return _up_to_16(data)
    if len(data) <= 128:
        return _up_to_128(data)
    if len(data) <= 240:
        return _up_to_240(data)
    return _long(data)


def _word(data: bytes, at: int, width: int = 8) -> int:
    return int.from_bytes(data[at : at + width], "little")


def _folded(a: int, b: int) -> int:
    product = a * b
    return (product ^ product >> 64) & _MASK


def _avalanche(h: int) -> int:
    h = ((h ^ h >> 37) * _MIX_1) & _MASK
    return h ^ h >> 32


def _avalanche64(h: int) -> int:
    h = ((h ^ h >> 33) * _P64_2) & _MASK
    h = ((h ^ h >> 29) * _P64_3) & _MASK
    return h ^ h >> 32


def _rotated(h: int, bits: int) -> int:
    return (h << bits | h >> (64 - bits)) & _MASK


def _up_to_16(data: bytes) -> int:
    length = len(data)
    if length > 8:
        low = _word(data, 0) ^ _word(SECRET, 24) ^ _word(SECRET, 32)
        high = _word(data, length - 8) ^ _word(SECRET, 40) ^ _word(SECRET, 48)
        swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
        return _avalanche((length + swapped + high + _folded(low, high)) & _MASK)
    if length >= 4:
        h = _word(data, length - 4, 4) + (_word(data, 0, 4) << 32)
        h ^= _word(SECRET, 8) ^ _word(SECRET, 16)
        h ^= _rotated(h, 49) ^ _rotated(h, 24)
        h = (h * _MIX_2) & _MASK
        h ^= (h >> 35) + length
        h = (h * _MIX_2) & _MASK
        return h ^ h >> 28
    if length:
        joined = data[0] << 16 | data[length >> 1] << 24 | data[-1] | length << 8
        return _avalanche64(joined ^ _word(SECRET, 0, 4) ^ _word(SECRET, 4, 4))
    return _avalanche64(_word(SECRET, 56) ^ _word(SECRET, 64))


def _mixed(data: bytes, at: int, key: int) -> int:
    return _folded(
        _word(data, at) ^ _word(SECRET, key), _word(data, at + 8) ^ _word(SECRET, key + 8)
    )


def _up_to_128(data: bytes) -> int:
    length = len(data)
    total = length * _P64_1
    for i in range((length - 1) // 32 + 1):
        total += _mixed(data, 16 * i, 32 * i)
        total += _mixed(data, length - 16 * (i + 1), 32 * i + 16)
    return _avalanche(total & _MASK)


def _up_to_240(data: bytes) -> int:
    length = len(data)
    total = length * _P64_1 + sum(_mixed(data, 16 * i, 16 * i) for i in range(8))
    total = _avalanche(total & _MASK)
    total += sum(_mixed(data, 16 * i, 16 * (i - 8) + 3) for i in range(8, length // 16))
    return _avalanche((total + _mixed(data, length - 16, 136 - 17)) & _MASK)


def _accumulate(acc: list[int], data: bytes, at: int, key: int) -> None:
    words = struct.unpack_from("<8Q", data, at)
    keys = struct.unpack_from("<8Q", SECRET, key)
    for i in range(8):
        keyed = words[i] ^ keys[i]
        acc[i ^ 1] = (acc[i ^ 1] + words[i]) & _MASK
        acc[i] = (acc[i] + (keyed & 0xFFFFFFFF) * (keyed >> 32)) & _MASK


def _long(data: bytes) -> int:
    length = len(data)
    acc = list(_START)
    for stripe in range((length - 1) // _STRIPE):
        _accumulate(acc, data, _STRIPE * stripe, 8 * (stripe % _STRIPES))
        if stripe % _STRIPES == _STRIPES - 1:
            for i in range(8):
                acc[i] ^= acc[i] >> 47 ^ _word(SECRET, 128 + 8 * i)
                acc[i] = (acc[i] * _P32_1) & _MASK
    _accumulate(acc, data, length - _STRIPE, 121)
    total = length * _P64_1
    for i in range(4):
        total += _folded(
            acc[2 * i] ^ _word(SECRET, 11 + 16 * i), acc[2 * i + 1] ^ _word(SECRET, 19 + 16 * i)
        )
    return _avalanche(total & _MASK)
