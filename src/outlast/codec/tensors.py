"""The tensors inside a blob: what the codec knows of a file's structure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

DTYPES: Final = (
    *("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"),
    *("I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64", "BOOL"),
    *("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"),
    "OTHER",
)


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
    sorted by (offset, name), do not overlap and lie within the blob; none of them is empty.
    """

    kind: str
    tensors: tuple[Tensor, ...]


def parse(read: Callable[[int, int], bytes], size: int) -> Container | None:
    """The tensors of the blob of `size` bytes, or None where it is opaque: of another format, or
    not in every point as its format demands. Raises only what `read` raises.

    `read(offset, length)` returns `length` bytes, or fewer where the blob ends.
    """
    del read, size
    return None
