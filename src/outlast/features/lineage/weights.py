"""The tensors of an archived revision, whatever its form, read by rows."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from outlast.codec.claims import BLOCKS
from outlast.codec.memory import Readable, read
from outlast.codec.tensors import Tensor, parse
from outlast.core.closing import Closing
from outlast.core.manifest import FileEntry, Revision
from outlast.features.lineage.dequant import DECODED, Floats, decode
from outlast.features.lineage.roles import TensorPlace, TensorRole, places
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.store.archive import Archive

_SUFFIXES: Final = (".safetensors", ".gguf")
MOST_FILES: Final = 1024
"""Files of weights of one revision that are opened. The largest models have 200."""

_NEAR: Final = 64 << 10
"""Bytes between two rows that are read along: one more read costs as much. A guess."""
_MOST_READ: Final = 4 << 20


class Matrix:
    """Rows `first` up to `first + rows` of a tensor in a blob; of a tensor of three dimensions
    those of its first matrix. No more is read than the rows that are asked for, and of these no
    more than `tuning.seen_columns` columns.
    """

    def __init__(
        self, blob: Readable, tensor: Tensor, first: int, rows: int, tuning: Tuning = TUNING
    ) -> None:
        self._blob = blob
        self._tensor = tensor
        self._first = first
        self.rows: Final = rows
        self.columns: Final = tensor.shape[-1]
        self.dtype: Final = tensor.dtype
        block, size = BLOCKS[tensor.dtype]
        self._row_bytes = self.columns // block * size
        self._kept = min(self.columns, tuning.columns)

    def raw(self, indices: Iterable[int]) -> list[bytes]:
        """The bytes of rows; rows that stand near each other are read in one go."""
        size, found = self._row_bytes, []
        near, most = max(1, _NEAR // max(1, size)), max(1, _MOST_READ // max(1, size))
        for run in _runs(indices, near, most):
            start = run[0]
            length = (run[-1] - start + 1) * size
            window = read(self._blob, self._tensor.offset + (self._first + start) * size, length)
            found += [window[(at - start) * size : (at - start + 1) * size] for at in run]
        return found

    def take(self, indices: Iterable[int]) -> Floats:
        """(number of indices, columns, at most `tuning.columns`) as float32; what is no number is
        0.
        """
        found = self.raw(indices)
        values = decode(self.dtype, b"".join(found)).reshape(len(found), self.columns)
        return np.nan_to_num(values[:, : self._kept], nan=0.0, posinf=0.0, neginf=0.0)

    def chunks(self, size: int) -> Iterator[tuple[int, Floats]]:
        """All rows, in order: the number of the first, and as many as take `size` bytes."""
        step = max(1, size // (4 * self.columns))
        for at in range(0, self.rows, step):
            yield at, self.take(range(at, min(self.rows, at + step)))


class Weights(Closing):
    """The tensors of a revision's files of weights; close it. `skipped` counts tensors that are of
    a type that is not read, or whose rows are too long.
    """

    def __init__(self, archive: Archive, revision: Revision, tuning: Tuning = TUNING) -> None:
        self._tuning = tuning
        self.revision: Final = revision
        self.skipped = 0
        self.kinds: set[str] = set()
        self._closing: list[Closing] = []
        self.tensors: Final[dict[str, tuple[Readable, Tensor]]] = {}
        try:
            for entry in weight_files(revision):
                self._open(archive, entry)
        except BaseException:
            self.close()
            raise
        self.places: Final = places([tensor for _, tensor in self.tensors.values()])

    def _open(self, archive: Archive, entry: FileEntry) -> None:
        if entry.sha256 is None or not archive.lies_here(entry):
            return
        blob = archive.open_blob(entry.sha256)
        self._closing.append(blob)

        def window(offset: int, length: int) -> bytes:
            return read(blob, offset, max(0, min(length, blob.size - offset)))

        container = parse(window, blob.size)
        if container is None:
            return
        self.kinds.add(container.kind)
        for tensor in container.tensors:
            if self._is_read(tensor):
                self.tensors.setdefault(tensor.name, (blob, tensor))
            else:
                self.skipped += 1

    def _is_read(self, tensor: Tensor) -> bool:
        if tensor.dtype not in DECODED or not tensor.shape:
            return False
        columns = tensor.shape[-1]
        return columns <= self._tuning.seen_columns and columns % BLOCKS[tensor.dtype][0] == 0

    def close(self) -> None:
        for one in self._closing:
            one.close()

    @property
    def parameters(self) -> int:
        """Weights of the tensors that are read."""
        return sum(int(np.prod(t.shape, dtype=object)) for _, t in self.tensors.values())

    def matrix(self, part: str, layer: int, role: TensorRole) -> Matrix | None:
        """What stands at a place, whether it has a tensor of its own there or not."""
        tensor = self.places.get(TensorPlace(part, layer, role))
        if tensor is not None:
            return self.of(tensor)
        if role not in (TensorRole.GATE, TensorRole.UP):
            return None
        both = self.places.get(TensorPlace(part, layer, TensorRole.GATE_UP))
        if both is None or both.shape[-2] % 2:
            return None
        half = both.shape[-2] // 2
        blob, _ = self.tensors[both.name]
        return Matrix(blob, both, 0 if role is TensorRole.GATE else half, half, self._tuning)

    def of(self, tensor: Tensor) -> Matrix:
        """The rows of a tensor of :attr:`tensors`; of one dimension: one row."""
        blob, _ = self.tensors[tensor.name]
        rows = tensor.shape[-2] if len(tensor.shape) > 1 else 1
        return Matrix(blob, tensor, 0, rows, self._tuning)


def weight_files(revision: Revision) -> list[FileEntry]:
    """Files of weights by their names, the first :data:`MOST_FILES` by path. Where a revision has
    both safetensors and GGUF, it is the safetensors; of several GGUF files (one quantisation
    each) it is the largest and its other parts.
    """
    for suffix in _SUFFIXES:
        found = sorted(
            (entry for entry in revision.files if entry.path.endswith(suffix)),
            key=lambda entry: entry.path,
        )
        if found and suffix == ".gguf":
            stems = {_stem(entry.path) for entry in found}
            size = {s: sum(e.size for e in found if _stem(e.path) == s) for s in stems}
            best = max(sorted(stems), key=lambda stem: size[stem])
            found = [entry for entry in found if _stem(entry.path) == best]
        if found:
            return found[:MOST_FILES]
    return []


def _stem(path: str) -> str:
    """The path without the number of a part: ``-00001-of-00003.gguf``."""
    stem = path.removesuffix(".gguf")
    parts = stem.rsplit("-", 3)
    return parts[0] if len(parts) == 4 and parts[2] == "of" and parts[3].isdigit() else stem


def _runs(indices: Iterable[int], near: int, most: int) -> Iterator[list[int]]:
    """Ascending indices in groups: no step in one is longer than `near`, and it spans at most
    `most`.
    """
    run: list[int] = []
    for at in indices:
        if run and not (run[-1] <= at <= run[-1] + near and at - run[0] < most):
            yield run
            run = []
        run.append(at)
    if run:
        yield run


def spread(count: int, most: int) -> list[int]:
    """At most `most` numbers of 0 … count - 1, evenly spread."""
    if count <= most:
        return list(range(count))
    return [at * count // most for at in range(most)]


def directions(values: Floats) -> Floats:
    """Rows of length 1; those without a direction are 0."""
    wide = values.astype(np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    wide = np.divide(wide, largest, out=np.zeros_like(wide), where=largest > 0)
    length = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    unit = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
    found: Floats = unit.astype(np.float32)
    return found
