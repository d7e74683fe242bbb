"""Proof before p-value: one model's weights, rounded or quantised again, give the other's bytes."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from outlast.codec.claims import BLOCKS
from outlast.core.cancel import Cancel
from outlast.features.lineage.dequant import ENCODED, Bytes, Floats, decode, encode
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.features.lineage.weights import Matrix, Weights, spread

_BITS: Final = {"F64": 64, "F32": 32, "BF16": 16, "F16": 16}
_WAYS: Final = ("", "F16", "BF16")
"""What a conversion rounds to before it quantises: nothing, or one of these."""


@dataclass(frozen=True, slots=True)
class Requantised:
    """Of `blocks` that were made again of the original, `equal` have the same bytes. `dtype` is
    the type that was made; `way` the type that the weights were rounded to before, "" for none.
    `both_ways`: the quantised weights give the original's bytes too, so that nothing tells which
    one was there first.
    """

    dtype: str
    way: str
    equal: int
    blocks: int
    both_ways: bool

    @property
    def share(self) -> float:
        return self.equal / self.blocks


def requantised(
    original: Weights, made: Weights, *, cancel: Cancel, tuning: Tuning = TUNING
) -> Requantised | None:
    """Whether `made` is `original` in another type: the type with most blocks that are equal, if
    that is a proof; a sample of rows of each matrix whose place is known.
    """
    pairs: dict[str, list[tuple[Matrix, Matrix]]] = {}
    for place in sorted(original.places.keys() & made.places.keys()):
        first, second = original.of(original.places[place]), made.of(made.places[place])
        if first.columns != second.columns or second.dtype not in ENCODED:
            continue
        bits = BLOCKS[second.dtype][1] * 8 / BLOCKS[second.dtype][0]
        if first.dtype in _BITS and bits <= _BITS[first.dtype] and first.dtype != second.dtype:
            pairs.setdefault(second.dtype, []).append((first, second))
    proofs = [
        proof
        for dtype, matrices in sorted(pairs.items())
        for way in _WAYS
        if (proof := _proof(dtype, way, matrices, cancel, tuning)) is not None
    ]
    return max(proofs, key=lambda proof: (proof.equal, proof.share), default=None)


def _proof(
    dtype: str, way: str, matrices: list[tuple[Matrix, Matrix]], cancel: Cancel, tuning: Tuning
) -> Requantised | None:
    equal = blocks = 0
    both_ways = True
    for first, second in matrices:
        cancel.check()
        at = spread(min(first.rows, second.rows), tuning.proof_rows)
        theirs = np.frombuffer(b"".join(second.raw(at)), np.uint8).reshape(-1, BLOCKS[dtype][1])
        source = b"".join(first.raw(at))
        values = decode(first.dtype, source)
        same = (_again(dtype, way, values) == theirs).all(axis=1)
        # A block of zeros is the same whatever was there.
        told = theirs.any(axis=1)
        equal += int((same & told).sum())
        blocks += int(told.sum())
        both_ways = both_ways and _back(first.dtype, decode(dtype, theirs.tobytes()), source)
        if blocks > 2000 and equal < blocks // 2:
            return None
    if blocks < tuning.least_blocks or equal < tuning.proof_share * blocks:
        return None
    return Requantised(dtype, way, equal, blocks, both_ways)


def _again(dtype: str, way: str, values: Floats) -> Bytes:
    if way:
        values = decode(way, encode(way, values).tobytes())
    return encode(dtype, values)


def _back(dtype: str, values: Floats, source: bytes) -> bool:
    """Whether the quantised weights, as floats, are the bytes of the original."""
    if dtype in ENCODED:
        return encode(dtype, values).tobytes() == source
    kind = "<f4" if dtype == "F32" else "<f8"
    return values.astype(kind).tobytes() == source
