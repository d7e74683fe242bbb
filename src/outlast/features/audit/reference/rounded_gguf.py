"""A GGUF model with its weights changed: rounded to fewer bits, or only stored as other floats.

What is written has the same header, but for the types and places of tensors. Weights of quantised
types are dequantised first. Tensors of one dimension, and of types that are not read here, stay as
they are.
"""

import math
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from outlast.codec.claims import MAX_HEADER_BYTES
from outlast.codec.gguf import TYPES, Description, Header, read_header
from outlast.core.errors import EngineError
from outlast.engines.scoring.gguf_weights import BF16, F16, READERS, Floats, as_bf16
from outlast.engines.scoring.rounding import ROUNDINGS

KERNELS: Final = "kernels"
"""What honest engines differ by: computed in the other 16-bit float, and of 16 weights
:data:`_OF_16` rounded to :data:`_MANTISSA` bits. That stands for the activations that a server in
bf16 rounds after each step, which llama.cpp does not."""
_MANTISSA: Final = 5
_OF_16: Final = 9
"""Measured with SmolLM2-135M, whose published precision is bf16, as mean distances from its own
weights in llama.cpp: transformers in bf16 .054 nats, in float32 .015, int8 .108; all weights
rounded so .073. Errors add up as squares, so 9 of 16 make .75 of it."""
_AT_ONCE: Final = 1 << 22
"""Weights that are changed at once."""


def write_changed(paths: Sequence[Path], folder: Path, change: str) -> list[Path]:
    """Writes the model (all its shards, in order) to `folder`, changed by :data:`KERNELS` or a
    name of :data:`~outlast.engines.scoring.rounding.ROUNDINGS`; the new files, in order. Raises
    :class:`EngineError` where a file cannot be read or has no weights that are changed.
    """
    count = len(paths)
    names = ["model.gguf"] if count == 1 else [_shard(n, count) for n in range(1, count + 1)]
    written = [folder / name for name in names]
    changed = sum(_write(path, new, change) for path, new in zip(paths, written, strict=True))
    if not changed:
        raise EngineError(f"{paths[0].name} has no weights of a type that can be changed")
    return written


def _shard(number: int, count: int) -> str:
    return f"model-{number:05}-of-{count:05}.gguf"


def _write(path: Path, new: Path, change: str) -> int:
    with open(path, "rb") as file, open(new, "wb") as out:
        size = os.fstat(file.fileno()).st_size

        def read(offset: int, length: int) -> bytes:
            return os.pread(file.fileno(), length, offset)

        header = read_header(read, size)
        kinds = {t.name: _new_kind(t, change) for t in header.tensors}
        before = b"".join(_description(t, t.kind, t.offset) for t in header.tensors)
        head = read(0, min(header.data, MAX_HEADER_BYTES))
        at = head.find(before) if before else len(head)
        if at < 0:
            raise EngineError(f"{path.name} describes its tensors in another way")
        offset, described = 0, b""
        for tensor in header.tensors:
            kind = kinds[tensor.name]
            described += _description(tensor, kind, offset)
            offset += _padded(_length(tensor, kind), header.alignment)
        out.write(head[:at] + described)
        out.write(bytes(header.data - at - len(described)))
        for tensor in header.tensors:
            out.writelines(_copy(file, header, tensor, kinds[tensor.name], change))
    return sum(t.kind != kinds[t.name] or change != KERNELS for t in header.tensors if _readable(t))


def _readable(tensor: Description) -> bool:
    return len(tensor.dimensions) > 1 and tensor.kind in READERS


def _new_kind(tensor: Description, change: str) -> int:
    if not _readable(tensor):
        return tensor.kind
    return BF16 if tensor.kind == F16 and change == KERNELS else F16


def _description(tensor: Description, kind: int, offset: int) -> bytes:
    name, dimensions = tensor.name.encode(), tensor.dimensions
    head = struct.pack("<Q", len(name)) + name
    return head + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)


def _length(tensor: Description, kind: int) -> int:
    if kind not in TYPES:
        raise EngineError(f"the tensor {tensor.name!r} is of a type that is not known")
    _, block, size = TYPES[kind]
    return math.prod(tensor.dimensions) // block * size


def _padded(length: int, alignment: int) -> int:
    return -(-length // alignment) * alignment


def _copy(
    file: BinaryIO, header: Header, tensor: Description, kind: int, change: str
) -> Iterator[bytes]:
    _, block, size = TYPES[tensor.kind]
    width = tensor.dimensions[0] if tensor.dimensions else 1
    rows = math.prod(tensor.dimensions) // width
    row_bytes = width // block * size
    at_once = max(1, _AT_ONCE // width)
    start = header.data + tensor.offset
    for first in range(0, rows, at_once):
        count = min(at_once, rows - first)
        raw = os.pread(file.fileno(), count * row_bytes, start + first * row_bytes)
        if len(raw) != count * row_bytes:
            raise EngineError(f"the tensor {tensor.name!r} is cut short")
        if _readable(tensor):
            values = READERS[tensor.kind](np.frombuffer(raw, np.uint8)).reshape(count, width)
            values = disturbed(values) if change == KERNELS else ROUNDINGS[change](values)
            raw = as_bf16(values) if kind == BF16 else values.astype("<f2").tobytes()
        yield raw
    length = _length(tensor, kind)
    yield bytes(_padded(length, header.alignment) - length)


def disturbed(values: Floats) -> Floats:
    """The values as :data:`KERNELS` has them. Shape: (rows, weights)."""
    dropped = 23 - _MANTISSA
    bits = values.astype("<f4").view("<u4")
    rounded = ((bits + np.uint32(1 << (dropped - 1))) >> dropped << dropped).view("<f4")
    rows, columns = (np.arange(count) for count in values.shape)
    found: Floats = np.where((5 * rows[:, None] + columns) % 16 < _OF_16, rounded, values)
    return found.astype(np.float32)
