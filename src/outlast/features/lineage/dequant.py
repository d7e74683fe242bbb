"""Values of tensors as float32, and blocks of GGUF made of them again.

The layouts and roundings are those of ggml (https://github.com/ggml-org/ggml, ggml-quants.c: the
`_ref` functions, which `llama-quantize` uses where there is no importance matrix). Little-endian.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from outlast.codec.claims import BLOCKS

Floats: TypeAlias = npt.NDArray[np.float32]
Bytes: TypeAlias = npt.NDArray[np.uint8]


def decode(dtype: str, raw: bytes) -> Floats:
    """The weights of whole blocks of a dtype of :data:`DECODED`, flat. What is no number (NaN,
    infinities) comes as it is.
    """
    size = BLOCKS[dtype][1]
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, size)
    with np.errstate(all="ignore"):
        return DECODED[dtype](blocks).astype(np.float32, copy=False).reshape(-1)


def encode(dtype: str, values: Floats) -> Bytes:
    """Blocks of a dtype of :data:`ENCODED`: (number of blocks, bytes of a block). `values` are
    whole blocks, flat.
    """
    with np.errstate(all="ignore"):
        return ENCODED[dtype](values.astype(np.float32).reshape(-1, BLOCKS[dtype][0]))


def _plain(kind: str) -> Callable[[Bytes], Floats]:
    def read(blocks: Bytes) -> Floats:
        return np.frombuffer(blocks.tobytes(), kind).astype(np.float32)

    return read


def _bf16(blocks: Bytes) -> Floats:
    high = np.frombuffer(blocks.tobytes(), "<u2").astype(np.uint32)
    return (high << 16).view(np.float32)


def _e5m2(blocks: Bytes) -> Floats:
    return (blocks.reshape(-1).astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _e4m3_table() -> Floats:
    """As PyTorch's float8_e4m3fn: no infinities, 0x7F and 0xFF are NaN."""
    code = np.arange(256)
    exponent, mantissa = (code >> 3) & 15, code & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    size = np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal)
    size[(code & 127) == 127] = np.nan
    return np.where(code > 127, -size, size).astype(np.float32)


_E4M3: Final = _e4m3_table()


def _e4m3(blocks: Bytes) -> Floats:
    return _E4M3[blocks.reshape(-1)]


def _half(blocks: Bytes, at: int) -> Floats:
    """A float16 of each block, as a column."""
    return blocks[:, at : at + 2].copy().view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """Low nibbles, then high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits(packed: Bytes) -> Bytes:
    return np.unpackbits(packed, axis=1, bitorder="little")


def _q8_0(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _q4_0(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8)


def _q4_1(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _half(blocks, 2)


def _q5_0(blocks: Bytes) -> Floats:
    q = _nibbles(blocks[:, 6:]) | (_fifth_bits(blocks[:, 2:6]) << 4)
    return _half(blocks, 0) * (q.astype(np.float32) - 16)


def _q5_1(blocks: Bytes) -> Floats:
    q = _nibbles(blocks[:, 8:]) | (_fifth_bits(blocks[:, 4:8]) << 4)
    return _half(blocks, 0) * q.astype(np.float32) + _half(blocks, 2)


def _k_scales(packed: Bytes) -> tuple[Floats, Floats]:
    """Scales and minima of the 8 sub-blocks, 6 bits each."""
    low, middle, high = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([low & 63, (high & 15) | ((low >> 2) & 48)], axis=1)
    minima = np.concatenate([middle & 63, (high >> 4) | ((middle >> 2) & 48)], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _k_values(blocks: Bytes, q: Bytes) -> Floats:
    """`q`: (blocks, 8, 32)."""
    scales, minima = _k_scales(blocks[:, 4:16])
    d = (_half(blocks, 0) * scales)[:, :, None]
    least = (_half(blocks, 2) * minima)[:, :, None]
    return d * q.astype(np.float32) - least


def _q4_k(blocks: Bytes) -> Floats:
    packed = blocks[:, 16:].reshape(-1, 4, 1, 32)
    q = np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32)
    return _k_values(blocks, q)


def _q5_k(blocks: Bytes) -> Floats:
    packed = blocks[:, 48:].reshape(-1, 4, 1, 32)
    q = np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32)
    shifts = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
    fifth = (blocks[:, 16:48].reshape(-1, 1, 32) >> shifts) & 1
    return _k_values(blocks, q | (fifth << 4))


def _q6_k(blocks: Bytes) -> Floats:
    packed = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([packed & 15, packed >> 4], axis=2).reshape(-1, 8, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    high = ((blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts) & 3).reshape(-1, 8, 32)
    q = (low | (high << 4)).astype(np.float32).reshape(-1, 16, 16) - 32
    scales = blocks[:, 192:208].view(np.int8).astype(np.float32)
    found: Floats = (_half(blocks, 208) * scales)[:, :, None] * q
    return found


DECODED: Final[dict[str, Callable[[Bytes], Floats]]] = {
    "F64": _plain("<f8"),
    "F32": _plain("<f4"),
    "F16": _plain("<f2"),
    "BF16": _bf16,
    "F8_E4M3": _e4m3,
    "F8_E5M2": _e5m2,
    "I8": _plain("i1"),
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
"""How each dtype is read. Whole numbers of 8 bits are read without their scales, which stand in
other tensors: the direction of a row is the same where a row has one scale."""


def _bytes_of(values: Floats, kind: str) -> Bytes:
    return values.astype(kind).view(np.uint8).reshape(values.shape[0], -1)


def _inverse(d: Floats) -> Floats:
    return np.where(d == 0, np.float32(0), np.float32(1) / d).astype(np.float32)


def _pack(q: Bytes) -> Bytes:
    found: Bytes = np.bitwise_or(q[:, :16], q[:, 16:] << 4, dtype=np.uint8)
    return found


def _pack_fifth(q: Bytes) -> Bytes:
    return np.packbits((q >> 4).astype(np.uint8), axis=1, bitorder="little")


def _to_bf16(values: Floats) -> Bytes:
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return rounded.view(np.uint8).reshape(-1, 2)


def _to_f16(values: Floats) -> Bytes:
    return _bytes_of(values, "<f2")


def _to_q8_0(values: Floats) -> Bytes:
    d = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
    scaled = values * _inverse(d)
    size = np.abs(scaled)
    floor = np.floor(size)
    q = np.sign(scaled) * (floor + np.floor(2 * (size - floor)))
    return np.concatenate([_bytes_of(d, "<f2"), q.astype(np.int8).view(np.uint8)], axis=1)


def _extreme(values: Floats) -> Floats:
    """The value of each block that is farthest from 0, with its sign."""
    at = np.abs(values).argmax(axis=1, keepdims=True)
    return np.take_along_axis(values, at, axis=1)


def _around_zero(values: Floats, half: int) -> tuple[Floats, Bytes]:
    d = (_extreme(values) / np.float32(-half)).astype(np.float32)
    scaled = values.astype(np.float64) * _inverse(d).astype(np.float64)
    q = np.trunc((scaled + (half + 0.5)).astype(np.float32))
    return d, np.clip(q, 0, 2 * half - 1).astype(np.uint8)


def _from_least(values: Floats, most: int) -> tuple[Floats, Floats, Bytes]:
    least = values.min(axis=1, keepdims=True)
    d = ((values.max(axis=1, keepdims=True) - least) / np.float32(most)).astype(np.float32)
    q = np.trunc((values - least) * _inverse(d) + np.float32(0.5))
    return d, least, np.clip(q, 0, most).astype(np.uint8)


def _to_q4_0(values: Floats) -> Bytes:
    d, q = _around_zero(values, 8)
    return np.concatenate([_bytes_of(d, "<f2"), _pack(q)], axis=1)


def _to_q5_0(values: Floats) -> Bytes:
    d, q = _around_zero(values, 16)
    return np.concatenate(
        [_bytes_of(d, "<f2"), _pack_fifth(q), _pack(np.bitwise_and(q, 15, dtype=np.uint8))], axis=1
    )


def _to_q4_1(values: Floats) -> Bytes:
    d, least, q = _from_least(values, 15)
    return np.concatenate([_bytes_of(d, "<f2"), _bytes_of(least, "<f2"), _pack(q)], axis=1)


def _to_q5_1(values: Floats) -> Bytes:
    d, least, q = _from_least(values, 31)
    parts = [
        _bytes_of(d, "<f2"),
        _bytes_of(least, "<f2"),
        _pack_fifth(q),
        _pack(np.bitwise_and(q, 15, dtype=np.uint8)),
    ]
    return np.concatenate(parts, axis=1)


ENCODED: Final[dict[str, Callable[[Floats], Bytes]]] = {
    "BF16": _to_bf16,
    "F16": _to_f16,
    "Q8_0": _to_q8_0,
    "Q4_0": _to_q4_0,
    "Q4_1": _to_q4_1,
    "Q5_0": _to_q5_0,
    "Q5_1": _to_q5_1,
}
"""How blocks are made. K-quants are not here: their search has no bytes that are the same in all
versions of the program."""
