"""The tensors inside a blob: what the codec knows of a file's structure.

These rules belong to the capsule format: every implementation must find the same tensors in the
same blob. Where a rule does not hold, the blob is opaque: its bytes are kept as they are, none of
its tensors is known, and that is no error.

1.  A blob that begins with the bytes `GGUF` is judged by the rules of :mod:`outlast.codec.gguf`,
    any other by those of :mod:`outlast.codec.safetensors`. No blob can be both.
2.  Every tensor, empty ones included, begins and ends within the blob: offset + length is at most
    the length of the blob.
3.  Then tensors of length 0 are dropped. No two of the others share a byte.
4.  The others are in the order of their offsets, which are all different. A container may be left
    with none.

What no tensor covers (the header, gaps, what follows the last) may be any bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from outlast.codec import gguf, safetensors
from outlast.codec.claims import BLOCKS, OTHER, OpaqueError

DTYPES: Final = (*BLOCKS, OTHER)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A run of values in a blob. `dtype` is one of :data:`DTYPES`; "OTHER" is a type that the
    container knows and the codec does not. `shape` is in weights, outermost dimension first.
    `offset` (of the first byte, from the start of the blob) and `length` are in bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Container:
    """A blob whose structure is understood. `kind` is "safetensors" or "gguf". `tensors` are
    sorted by offset, do not overlap and lie within the blob; none of them is empty.
    """

    kind: str
    tensors: tuple[Tensor, ...]


def parse(read: Callable[[int, int], bytes], size: int) -> Container | None:
    """The tensors of the blob of `size` bytes, or None where it is opaque: of another format, or
    not in every point as its format demands. Raises only what `read` raises.

    `read(offset, length)` returns `length` bytes, or fewer where the blob ends. What is read is the
    header; time is linear in its length, and memory a small multiple of it.
    """
    try:
        if read(0, len(gguf.MAGIC)) == gguf.MAGIC:
            kind, claims = "gguf", gguf.read_claims(read, size)
        else:
            kind, claims = "safetensors", safetensors.read_claims(read, size)
    except OpaqueError:
        return None
    tensors = []
    for claim in claims:
        tensor = Tensor(*claim)
        if tensor.offset + tensor.length > size:
            return None
        if tensor.length:
            tensors.append(tensor)
    tensors.sort(key=lambda tensor: tensor.offset)
    at = 0
    for tensor in tensors:
        if tensor.offset < at:
            return None
        at = tensor.offset + tensor.length
    return Container(kind, tuple(tensors))
