"""How two models are alike, in figures that are no tests: equal tensors, distance, structure,
zeros, rank of the difference.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from outlast.codec.memory import read
from outlast.codec.tensors import Tensor
from outlast.core.cancel import Cancel
from outlast.features.lineage.roles import TensorPlace, TensorRole, common_width, layer_pairs
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.features.lineage.weights import Matrix, Weights, spread

_SAMPLED_ROWS: Final = 16
_CHUNK: Final = 4 << 20
_BIT_TYPES: Final = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
_SPARSE: Final = 0.1
_DENSE: Final = 0.01
_KEPT: Final = 0.99
_ENERGY: Final = 0.9
_MOST_RANK: Final = 32


@dataclass(frozen=True, slots=True)
class EqualTensors:
    """Of `of` matrices of the same name, type and shape `sampled` have equal sampled rows, and
    `hashed` of these were read whole: their SHA-256 are equal.
    """

    sampled: int
    hashed: int
    of: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """`cosine` and `bits` are means over sampled rows that stand at the same place: the cosine, and
    the share of bits that differ where both are of one float type; None where there is nothing to
    compare. `rank`: of the difference, that has 90 % of its energy, where it is low; else None.
    `pruned`: 1 where the one has zeros in place of weights that the other has, and else the same;
    -1 the other way round; else 0. `vocabulary`: rows of both embeddings, where they differ and the
    rows that both have are alike.
    """

    equal: EqualTensors
    cosine: float | None
    bits: float | None
    rank: int | None
    pruned: int
    vocabulary: tuple[int, int] | None


def likeness(one: Weights, other: Weights, *, cancel: Cancel, tuning: Tuning = TUNING) -> Likeness:
    """Reads a few rows of each matrix."""
    cosines: list[float] = []
    bits: list[float] = []
    zeros = _Zeros()
    for first, second in _matched(one, other):
        cancel.check()
        at = spread(min(first.rows, second.rows), _SAMPLED_ROWS)
        mine, theirs = first.take(at), second.take(at)
        cosines.append(_cosine(mine, theirs))
        zeros.add(mine, theirs)
        if first.dtype == second.dtype and first.dtype in _BIT_TYPES:
            bits.append(_bits(first.raw(at), second.raw(at)))
    return Likeness(
        equal_tensors(one, other, cancel=cancel, tuning=tuning),
        float(np.mean(cosines)) if cosines else None,
        float(np.mean(bits)) if bits else None,
        _rank(one, other, tuning),
        zeros.pruned(),
        _vocabulary(one, other),
    )


def _matched(one: Weights, other: Weights) -> Iterator[tuple[Matrix, Matrix]]:
    """Matrices of the layers that are compared, and the embeddings."""
    layers = layer_pairs(one.places, other.places, 2)
    for part, mine, theirs in layers:
        for role in TensorRole:
            first, second = one.matrix(part, mine, role), other.matrix(part, theirs, role)
            if first is not None and second is not None and first.columns == second.columns:
                yield first, second
    embedding = TensorPlace("", -1, TensorRole.EMBEDDING)
    if embedding in one.places and embedding in other.places:
        first, second = one.of(one.places[embedding]), other.of(other.places[embedding])
        if first.columns == second.columns and first.rows == second.rows:
            yield first, second


def _cosine(mine: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> float:
    a, b = mine.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    scale = (
        max(float(np.abs(a).max(initial=0)), 1e-300),
        max(float(np.abs(b).max(initial=0)), 1e-300),
    )
    a, b = a / scale[0], b / scale[1]
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length else 0.0


def _bits(mine: list[bytes], theirs: list[bytes]) -> float:
    a = np.frombuffer(b"".join(mine), np.uint8)
    b = np.frombuffer(b"".join(theirs), np.uint8)
    return float(np.bitwise_count(a ^ b).sum()) / (8 * a.size) if a.size else 0.0


class _Zeros:
    """Counts zeros of one side where the other has none, and what is equal elsewhere."""

    def __init__(self) -> None:
        self._total = 0
        self._zero = [0, 0]
        self._equal = [0, 0]

    def add(self, mine: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> None:
        self._total += mine.size
        near = np.isclose(mine, theirs, rtol=0.01, atol=0.0)
        for side, values in enumerate((mine, theirs)):
            zero = values == 0
            self._zero[side] += int(zero.sum())
            self._equal[side] += int((near & ~zero).sum())

    def pruned(self) -> int:
        """See :class:`Likeness`."""
        for side, sign in ((0, 1), (1, -1)):
            zero, left = self._zero[side], self._total - self._zero[side]
            sparse = zero >= _SPARSE * self._total and self._zero[1 - side] <= _DENSE * self._total
            if self._total and sparse and left and self._equal[side] >= _KEPT * left:
                return sign
        return 0


def _rank(one: Weights, other: Weights, tuning: Tuning) -> int | None:
    """Of the difference of the matrix that differs most: a merged adapter leaves a low one."""
    best: npt.NDArray[np.float64] | None = None
    most = 0.0
    for part, mine, theirs in layer_pairs(one.places, other.places, tuning.layers):
        for role in TensorRole:
            first, second = one.matrix(part, mine, role), other.matrix(part, theirs, role)
            if first is None or second is None or first.columns != second.columns:
                continue
            if first.rows != second.rows:
                continue
            at = spread(first.rows, tuning.rows)
            a, b = first.take(at).astype(np.float64), second.take(at).astype(np.float64)
            size = float(np.abs(a).mean())
            distance = float(np.abs(a - b).mean()) / size if size > 0 else 0.0
            if distance > most:
                best, most = a - b, distance
    if best is None or not np.isfinite(best).all():
        return None
    energy = np.linalg.svd(best, compute_uv=False) ** 2
    rank = int(np.searchsorted(np.cumsum(energy), _ENERGY * energy.sum()) + 1)
    return rank if rank <= min(_MOST_RANK, len(energy) // 4) else None


def _vocabulary(one: Weights, other: Weights) -> tuple[int, int] | None:
    embedding = TensorPlace("", -1, TensorRole.EMBEDDING)
    if embedding not in one.places or embedding not in other.places:
        return None
    first, second = one.of(one.places[embedding]), other.of(other.places[embedding])
    if first.columns != second.columns or first.rows == second.rows:
        return None
    at = spread(min(first.rows, second.rows), 64)
    alike = _cosine(first.take(at), second.take(at)) > 0.9
    return (first.rows, second.rows) if alike else None


def equal_tensors(
    one: Weights, other: Weights, *, cancel: Cancel, tuning: Tuning = TUNING
) -> EqualTensors:
    """Matrices only: vectors of ones are the same in models that have nothing in common. One with
    a constant sample does not count.
    """
    left = tuning.hashed
    sampled = hashed = of = 0
    for name in sorted(one.tensors.keys() & other.tensors.keys()):
        cancel.check()
        (_, mine), (_, theirs) = one.tensors[name], other.tensors[name]
        if (mine.dtype, mine.shape) != (theirs.dtype, theirs.shape) or len(mine.shape) < 2:
            continue
        of += 1
        at = spread(mine.shape[-2], 4)
        raw = one.of(mine).raw(at)
        if raw != other.of(theirs).raw(at) or _is_constant(b"".join(raw)):
            continue
        if mine.length > left:
            sampled += 1
            continue
        left -= mine.length
        if _sha256(one, mine, cancel) == _sha256(other, theirs, cancel):
            sampled += 1
            hashed += 1
    return EqualTensors(sampled, hashed, of)


def _is_constant(raw: bytes) -> bool:
    return len(set(raw)) <= 8


def _sha256(weights: Weights, tensor: Tensor, cancel: Cancel) -> bytes:
    blob, _ = weights.tensors[tensor.name]
    hasher = hashlib.sha256()
    for at in range(0, tensor.length, _CHUNK):
        cancel.check()
        hasher.update(read(blob, tensor.offset + at, min(_CHUNK, tensor.length - at)))
    return hasher.digest()


def structure(weights: Weights) -> str:
    """For people: ``30 layers of width 576, 49152 tokens, Q4_1``."""
    layers = {(place.part, place.layer) for place in weights.places if place.layer >= 0}
    tensors = [tensor for _, tensor in weights.tensors.values()]
    sizes: dict[str, int] = {}
    for tensor in tensors:
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.length
    dtype = max(sorted(sizes), key=lambda one: sizes[one], default="no tensors")
    embedding = weights.places.get(TensorPlace("", -1, TensorRole.EMBEDDING))
    words = [f"{len(layers)} layers of width {common_width(tensors)}"]
    words += [f"{embedding.shape[0]} tokens"] if embedding is not None else []
    return ", ".join([*words, dtype])
