"""What weights become when they are stored in fewer bits and read back: the alternatives of an
audit. Needs numpy.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"

_BLOCK: Final = 32
_FP8_MOST: Final = 448.0
_FP8_LEAST_EXPONENT: Final = -6
_FP8_BITS: Final = 4
"""Of a mantissa, the leading one included."""


def round_int8(rows: Floats) -> Floats:
    """One scale a row, 255 levels. Shapes here and below: (rows, weights), float32."""
    return _levels(rows, 127)


def round_int4(rows: Floats) -> Floats:
    """One scale for each 32 weights of a row, 15 levels. A row of other length has one scale."""
    if rows.shape[1] % _BLOCK:
        return _levels(rows, 7)
    return _levels(rows.reshape(-1, _BLOCK), 7).reshape(rows.shape)


def round_fp8(rows: Floats) -> Floats:
    """E4M3 with one scale a row."""
    scale = _scale(rows, _FP8_MOST)
    values = rows / scale
    _, exponents = np.frexp(values)
    steps = np.ldexp(1.0, np.maximum(exponents - 1, _FP8_LEAST_EXPONENT) - (_FP8_BITS - 1))
    found: Floats = (np.round(values / steps) * steps * scale).astype(np.float32)
    return found


def _scale(rows: Floats, most: float) -> Floats:
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(most)
    found: Floats = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    return found


def _levels(rows: Floats, most: int) -> Floats:
    scale = _scale(rows, most)
    return (np.round(rows / scale) * scale).astype(np.float32)


ROUNDINGS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "int8": round_int8,
    "fp8": round_fp8,
    "int4": round_int4,
}
"""By the name of the alternative."""
