"""Weights of GGUF tensors as float32: what is needed of them beside an engine. Needs numpy."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

F32: Final = 0
F16: Final = 1
BF16: Final = 30
_Q4_0, _Q4_1, _Q8_0 = 2, 3, 8
_BLOCK: Final = 32


def as_bf16(values: Floats) -> bytes:
    """The values rounded to bf16, to the nearest and ties to even."""
    bits = values.astype("<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def _f32(raw: Bytes) -> Floats:
    return raw.view("<f4").astype(np.float32)


def _f16(raw: Bytes) -> Floats:
    return raw.view("<f2").astype(np.float32)


def _bf16(raw: Bytes) -> Floats:
    found: Floats = (raw.view("<u2").astype("<u4") << 16).view("<f4").astype(np.float32)
    return found


def _q8_0(raw: Bytes) -> Floats:
    blocks = raw.reshape(-1, 2 + _BLOCK)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    return blocks[:, 2:].copy().view(np.int8).astype(np.float32) * scale


def _q4_0(raw: Bytes) -> Floats:
    blocks = raw.reshape(-1, 2 + _BLOCK // 2)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    return (_nibbles(blocks[:, 2:]) - 8) * scale


def _q4_1(raw: Bytes) -> Floats:
    blocks = raw.reshape(-1, 4 + _BLOCK // 2)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    least = blocks[:, 2:4].copy().view("<f2").astype(np.float32)
    return _nibbles(blocks[:, 4:]) * scale + least


def _nibbles(packed: Bytes) -> Floats:
    """The low halves of the bytes are the first weights of a block, the high ones the others."""
    return np.concatenate((packed & 0xF, packed >> 4), axis=1).astype(np.float32)


READERS: Final[Mapping[int, Callable[[Bytes], Floats]]] = {
    F32: _f32,
    F16: _f16,
    BF16: _bf16,
    _Q8_0: _q8_0,
    _Q4_0: _q4_0,
    _Q4_1: _q4_1,
}
"""What reads the bytes of whole blocks, by the type of a tensor: flat, or (blocks, weights)."""


def _to_f32(rows: Floats) -> Floats:
    return rows


def _to_f16(rows: Floats) -> Floats:
    return rows.astype("<f2").astype(np.float32)


def _to_bf16(rows: Floats) -> Floats:
    return _bf16(np.frombuffer(as_bf16(rows), np.uint8)).reshape(rows.shape)


def _to_q8(rows: Floats) -> Floats:
    blocks = rows.reshape(-1, _BLOCK)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype(np.float32)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    kept = scale.astype("<f2").astype(np.float32)
    found: Floats = (np.rint(blocks * inverse) * kept).reshape(rows.shape)
    return found


ACTIVATIONS: Final[Mapping[int, Callable[[Floats], Floats]]] = {
    F32: _to_f32,
    F16: _to_f16,
    BF16: _to_bf16,
    _Q8_0: _to_q8,
    _Q4_0: _to_q8,
    _Q4_1: _to_q8,
}
"""What llama.cpp on a CPU makes of a vector before it multiplies it with a tensor of this type."""
