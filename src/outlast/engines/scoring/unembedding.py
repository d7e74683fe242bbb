"""From the last hidden states of a model to log probabilities: its output matrix, in numpy.

llama.cpp's server tells the likeliest tokens at the end of a text alone; but it tells the hidden
state of each of its tokens. With the output matrix those give all distributions of a text in one
pass. Some models do more after that matrix (a cap, a scale, a bias): the caller compares with what
the server says at one place, and uses this where they agree.
"""

import math
import os
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from outlast.codec.claims import OpaqueError
from outlast.codec.gguf import TYPES, Description, read_header
from outlast.engines.scoring.gguf_weights import ACTIVATIONS, READERS, Floats

_OUTPUT: Final = ("output.weight", "token_embd.weight")
"""Of a model without the first, the embedding is the output matrix."""
_MOST_BYTES: Final = 4 * 1024**3
"""Of the matrix as float32. A guess: 256,000 tokens of 4,096 dimensions."""
_ROWS: Final = 64
"""States that are multiplied at once: with a vocabulary of 256,000, 64 MB."""


class TopTokens(NamedTuple):
    """The likeliest tokens at a position, in order, and their log probabilities in nats."""

    ids: "array[int]"
    logprobs: "array[float]"


class Unembedding:
    """`matrix`: (vocabulary, dimensions). `rounds` does to states what the engine does to them
    before it multiplies them with a matrix of that type.
    """

    def __init__(self, matrix: Floats, rounds: Callable[[Floats], Floats]) -> None:
        self._matrix = matrix
        self._rounds = rounds

    def tops(self, states: Sequence[Sequence[float]], keep: int) -> list[TopTokens]:
        """The `keep` likeliest tokens after each state. Raises :class:`ValueError` for states of
        other dimensions, or that are not finite.
        """
        rows = np.asarray(states, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self._matrix.shape[1] or not np.isfinite(rows).all():
            raise ValueError("states that do not fit the model")
        found: list[TopTokens] = []
        rows = self._rounds(rows)
        for start in range(0, len(rows), _ROWS):
            logits = rows[start : start + _ROWS] @ self._matrix.T
            found += [_top(row, keep) for row in logits]
        return found


def _top(logits: Floats, keep: int) -> TopTokens:
    highest = float(logits.max())
    total = highest + math.log(float(np.exp(logits - highest).sum(dtype=np.float64)))
    count = min(keep, len(logits))
    kept = np.argpartition(logits, -count)[-count:]
    kept = kept[np.lexsort((kept, -logits[kept]))]
    values = logits[kept].astype(np.float64) - total
    return TopTokens(array("q", kept.tolist()), array("d", values.tolist()))


def read_unembedding(paths: Sequence[str]) -> Unembedding | None:
    """That of the model in these files; None where it is of a type that is not read here, or too
    large.
    """
    found: dict[str, Any] = {}
    for path in paths:
        with open(path, "rb") as file:
            descriptor = file.fileno()

            def read(offset: int, length: int, descriptor: int = descriptor) -> bytes:
                return os.pread(descriptor, length, offset)

            try:
                header = read_header(read, os.fstat(descriptor).st_size)
            except OpaqueError:
                return None
            for tensor in header.tensors:
                if tensor.name in _OUTPUT and _fits(tensor):
                    start = header.data + tensor.offset
                    raw = read(start, tensor.end - tensor.offset)
                    whole = len(raw) == tensor.end - tensor.offset
                    found[tensor.name] = (tensor, raw) if whole else None
                elif tensor.name in _OUTPUT:
                    found[tensor.name] = None
    chosen = next((found[name] for name in _OUTPUT if name in found), None)
    return None if chosen is None else _unembedding(*chosen)


def _fits(tensor: Description) -> bool:
    if len(tensor.dimensions) != 2 or tensor.kind not in READERS or tensor.kind not in TYPES:
        return False
    return 4 * math.prod(tensor.dimensions) <= _MOST_BYTES


def _unembedding(tensor: Description, raw: bytes) -> Unembedding:
    width, rows = tensor.dimensions
    matrix = READERS[tensor.kind](np.frombuffer(raw, np.uint8)).reshape(rows, width)
    return Unembedding(matrix, ACTIVATIONS[tensor.kind])
