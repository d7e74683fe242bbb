"""A sketch of a model: 64 KiB of its weights, by which its relatives are found among many.

The values of the first rows of a few matrices, as float16, each named by its place. Two sketches
are compared by the correlation of what stands at equal places. Sketches are derived data: each is
a file named by the manifest, and one that is damaged or of another version is made again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from outlast.core.digest import Digest
from outlast.features.lineage.roles import TensorPlace, TensorRole, layer_pairs
from outlast.features.lineage.weights import Weights

MAGIC: Final = b"outlast-sketch-1\n"
ROWS: Final = 8
COLUMNS: Final = 256
SLOTS: Final = 16
VALUES: Final = ROWS * COLUMNS
MOST_BYTES: Final = 128 << 10
_ROLES: Final = (
    TensorRole.VALUE,
    TensorRole.UP,
    TensorRole.OUTPUT,
    TensorRole.GATE,
    TensorRole.DOWN,
)
_DIGEST: Final = 32
_LEAST_VALUES: Final = 256

Slot = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sketch:
    """Of a model: what stands at each place, by its name (``up.0``; ``up.-1`` in the last layer):
    :data:`ROWS` by :data:`COLUMNS` values, with a mean of 0 and a length of 1.
    """

    slots: Mapping[str, Slot]


def nearness(one: Sketch, other: Sketch) -> float:
    """The largest correlation of two slots of one name, from -1 to 1; 0 where no name is shared.
    Embeddings count only where there is nothing else: those of one tokenizer resemble each other.
    """
    found = {
        name: float(one.slots[name] @ other.slots[name])
        for name in one.slots.keys() & other.slots.keys()
    }
    inner = [value for name, value in found.items() if not name.startswith(TensorRole.EMBEDDING)]
    return max(inner or found.values(), default=0.0)


def sketch_of(weights: Weights) -> dict[str, npt.NDArray[np.float16]]:
    """What is kept of a model: at most :data:`SLOTS` slots of float16, scaled to at most 1."""
    found: dict[str, npt.NDArray[np.float16]] = {}
    layers = [
        layer for part, layer, _ in layer_pairs(weights.places, weights.places, 1) if not part
    ]
    named = [(f"{TensorRole.EMBEDDING}", "", -1, TensorRole.EMBEDDING)]
    named += [
        (f"{role}.{'-1' if at else '0'}", "", layer, role)
        for role in _ROLES
        for at, layer in enumerate(layers)
    ]
    for name, part, layer, role in named:
        values = _values(weights, TensorPlace(part, layer, role))
        if values is not None and len(found) < SLOTS:
            found[name] = values
    if not found:
        found = _unnamed(weights)
    return found


def _values(weights: Weights, place: TensorPlace) -> npt.NDArray[np.float16] | None:
    if place.role is TensorRole.EMBEDDING:
        tensor = weights.places.get(place)
        matrix = None if tensor is None else weights.of(tensor)
    else:
        matrix = weights.matrix(place.part, place.layer, place.role)
    if matrix is None or matrix.rows < ROWS:
        return None
    return _scaled(matrix.take(range(ROWS)))


def _scaled(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float16] | None:
    values = np.zeros((ROWS, COLUMNS), np.float32)
    kept = rows[:, :COLUMNS]
    values[:, : kept.shape[1]] = kept
    largest = float(np.abs(values).max())
    if kept.size < _LEAST_VALUES or largest == 0.0 or not np.isfinite(largest):
        return None
    return (values / largest).astype(np.float16).ravel()


def _unnamed(weights: Weights) -> dict[str, npt.NDArray[np.float16]]:
    """Of a model whose names say nothing: the first matrix of each shape."""
    found: dict[str, npt.NDArray[np.float16]] = {}
    for _, tensor in weights.tensors.values():
        name = "x".join(map(str, tensor.shape))
        if len(tensor.shape) == 2 and tensor.shape[0] >= ROWS and name not in found:
            values = _scaled(weights.of(tensor).take(range(ROWS)))
            if values is not None:
                found[name] = values
        if len(found) == SLOTS:
            break
    return found


def to_bytes(slots: Mapping[str, npt.NDArray[np.float16]]) -> bytes:
    """The file of a sketch: the magic, the length of the names as 2 bytes, the names as JSON, the
    values (little-endian), and the sha256 of all that.
    """
    names = msgspec.json.encode(list(slots))
    body = MAGIC + len(names).to_bytes(2, "little") + names
    body += b"".join(values.astype("<f2").tobytes() for values in slots.values())
    return body + hashlib.sha256(body).digest()


def from_bytes(data: bytes) -> Sketch | None:
    """The inverse, ready to compare; None for what is no sketch of this version."""
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if not body.startswith(MAGIC) or hashlib.sha256(body).digest() != digest:
        return None
    start = len(MAGIC) + 2
    end = start + int.from_bytes(body[len(MAGIC) : start], "little")
    try:
        names = msgspec.json.decode(body[start:end], type=list[str])
    except msgspec.MsgspecError:
        return None
    if len(names) > SLOTS or len(body) - end != 2 * VALUES * len(names):
        return None
    values = np.frombuffer(body[end:], "<f2").astype(np.float32).reshape(len(names), VALUES)
    values = values - values.mean(axis=1, keepdims=True)
    length = np.sqrt((values * values).sum(axis=1, keepdims=True))
    unit = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    return Sketch(dict(zip(names, np.nan_to_num(unit), strict=True)))


def file_name(manifest: Digest) -> str:
    """Of the sketch of a revision."""
    return f"{manifest.hex}.sketch"
