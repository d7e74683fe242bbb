"""Writes safetensors and GGUF files byte by byte, and judges what was read from one."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from outlast.codec.claims import BLOCKS
from outlast.codec.tensors import Container, parse

U8, U32, U64, TEXT, ARRAY = 0, 4, 10, 8, 9


def safetensors(header: bytes | str | Mapping[str, Any], data: bytes = b"") -> bytes:
    if not isinstance(header, bytes | str):
        header = json.dumps(header)
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str, shape: Sequence[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def text(value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def u32(value: int) -> bytes:
    return struct.pack("<II", U32, value)


def array(kind: int, count: int, elements: bytes = b"") -> bytes:
    return struct.pack("<IIQ", ARRAY, kind, count) + elements


def tensor(name: bytes | str, dimensions: Sequence[int], kind: int, offset: int) -> bytes:
    """The description of a tensor; `dimensions` innermost first."""
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text(name) + shape + struct.pack("<IQ", kind, offset)


def gguf(
    pairs: Sequence[tuple[bytes | str, bytes]] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    alignment: int = 32,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """Pairs are (key, type and value), tensors as :func:`tensor` gives them. `counts` are the
    numbers of tensors and pairs that the file claims.
    """
    head = b"GGUF" + struct.pack("<IQQ", version, *(counts or (len(tensors), len(pairs))))
    head += b"".join(text(key) + value for key, value in pairs) + b"".join(tensors)
    return head + b"\xaa" * (-len(head) % alignment) + data


class Blob:
    """Bytes in memory that note how many of them were asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.asked = 0

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        self.asked += length
        return self._data[offset : offset + length]


def parsed(data: bytes) -> Container | None:
    """What :func:`parse` finds in `data`; what must hold for any file is checked."""
    blob = Blob(data)
    container = parse(blob.read, len(data))
    assert blob.asked <= 2 * len(data) + 64
    if container is None:
        return None
    at = 0
    for found in container.tensors:
        assert at <= found.offset < found.offset + found.length <= len(data)
        at = found.offset + found.length
        found.name.encode()
        if found.dtype != "OTHER":
            block, size = BLOCKS[found.dtype]
            count = 1
            for length in found.shape:
                count *= length
            assert count % block == 0
            assert count // block * size == found.length
    assert len({found.name for found in container.tensors}) == len(container.tensors)
    return container
