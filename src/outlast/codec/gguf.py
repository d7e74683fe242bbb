"""Reads the header of a GGUF file. Rules 1 to 10 belong to the capsule format: every
implementation must accept exactly what they accept.

The format is https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; this is a strict part of
it. All numbers are little-endian; u32 and u64 are unsigned integers of 4 and 8 bytes. A text is its
length in bytes as u64, and the bytes.

1.  The file begins with `GGUF`, the version as u32, the number of tensors as u64 and the number of
    pairs as u64. The version is 2 or 3. There are at most 1,000,000 tensors and 65,536 pairs.
2.  Then come the pairs, then the descriptions of the tensors, without gaps. Where they end, the
    header ends: within the file, and at most 100,000,000 bytes from its start.
3.  A pair is a key, the type of its value as u32, and the value. A key is a text of at most 65,535
    bytes and is valid UTF-8 (RFC 3629: neither surrogates nor overlong forms). No two keys are
    equal, byte for byte.
4.  The types are 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool (1 byte), 8 text, 9 array,
    10 u64, 11 i64, 12 f64. An array is the type of its elements as u32, their number as u64, and
    the elements. Elements that are arrays lie at most 8 deep, and a file has at most 65,536 of
    them. There are no other types. Values may be anything: a bool may be 2, and a text that is a
    value need not be UTF-8.
5.  The pair `general.alignment`, which may be missing, is of type 4, and a power of two of at most
    2**20. It is the alignment in bytes; where it is missing, the alignment is 32.
6.  A tensor is described by its name, a text as in rule 3; the number of its dimensions as u32, at
    most 4; each dimension as u64, below 2**53; its type as u32; its offset as u64. No two names
    are equal, byte for byte.
7.  The data begin where the header ends, rounded up to a multiple of the alignment. What is in
    between may be anything. The offset of a tensor is a multiple of the alignment, and counts from
    the start of the data.
8.  The type of a tensor is in :data:`TYPES`, which gives its dtype, the weights in a block and the
    bytes of a block. Where it is not, nothing is known of how long the tensor is: its bytes belong
    to no tensor, rules 7 and 9 do not hold it, and the others are found as if it were not there.
9.  The innermost dimension (the first in the file; 1 where there are none) is a multiple of the
    weights in a block. The product of the dimensions (1 where there are none) is below 2**53;
    divided by the weights in a block and times the bytes of a block, it is the length in bytes.
10. The shape is the dimensions in reverse, outermost first.

What tensors may not do to each other is in :mod:`outlast.codec.tensors`, as that is one rule for
all formats. There may be gaps, and bytes after the last tensor.

Engines read the same headers and are less strict where nothing depends on it: see
:func:`read_header`, which holds to rules 1 to 5, to the names and number of dimensions of rule 6,
and to the start of the data of rule 7.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from outlast.codec.claims import (
    BLOCKS,
    INTEGER_END,
    MAX_PAIRS,
    MAX_TENSORS,
    OTHER,
    Claim,
    OpaqueError,
    Read,
    weights,
)
from outlast.codec.cursor import Cursor

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MAX_KEPT_BYTES: Final = 65_536
_MAX_NAME_BYTES = 65_535
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 1 << 20
_DEFAULT_ALIGNMENT = 32
_ALIGNMENT = "general.alignment"
_U32_TYPE, _TEXT_TYPE, _ARRAY_TYPE = 4, 8, 9
_MAX_DEPTH = 8
_MAX_INNER_ARRAYS = 65_536
_LEAST_PAIR_BYTES = 8 + 4 + 1
_LEAST_TENSOR_BYTES = 8 + 4 + 4 + 8

_SCALARS = {
    kind: struct.Struct("<" + code)
    for kind, code in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)
}
_U32 = _SCALARS[4]
_U64 = _SCALARS[10]

_NAMED = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    30: "BF16",
}
_OTHERS = {
    9: (32, 36),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    15: (256, 292),  # Q8_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    29: (256, 56),  # IQ1_M
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
    40: (64, 36),  # NVFP4
    41: (128, 18),  # Q1_0
}

TYPES: Final[Mapping[int, tuple[str, int, int]]] = {
    **{number: (dtype, *BLOCKS[dtype]) for number, dtype in _NAMED.items()},
    **{number: (OTHER, *block) for number, block in _OTHERS.items()},
}
"""Number of a type: (dtype, weights in a block, bytes of a block)."""


class Description(NamedTuple):
    """What a header says of one tensor: `dimensions` in weights, innermost first; `offset` in
    bytes from the start of the data.
    """

    name: str
    dimensions: tuple[int, ...]
    kind: int
    offset: int

    @property
    def end(self) -> int:
        """Where its data end, in bytes from the start of all data, with a part of a block counted
        as a whole one. The end of a type that is not known is taken for its start.
        """
        count = 1
        for length in self.dimensions:
            count *= length
        _, block, size = TYPES.get(self.kind, (OTHER, 1, 0))
        return self.offset + -(-count // block) * size


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of itself. `values` holds its scalars, and its texts up to
    :data:`MAX_KEPT_BYTES` (what is not UTF-8 in them is replaced); `long_texts` gives the length in
    bytes of the others. Arrays are not kept. `data` is where the data begin, and `alignment` what
    they are aligned to, in bytes.
    """

    version: int
    values: Mapping[str, int | float | bool | str]
    long_texts: Mapping[str, int]
    tensors: tuple[Description, ...]
    alignment: int
    data: int


def read_header(read: Read, size: int) -> Header:
    """The header of a GGUF file of `size` bytes. Reads no further than it reaches, and holds no
    more of it than :class:`Header` tells.

    Raises :class:`OpaqueError` where it is not one, :class:`CutShortError` where it ends early.
    """
    return _Parser(Cursor(read, size)).parse()


def read_claims(read: Read, size: int) -> list[Claim]:
    """What the header of a GGUF file of `size` bytes says of its tensors, in its order.

    Raises :class:`OpaqueError` where rules 1 to 10 do not hold.
    """
    header = read_header(read, size)
    return [_claim(tensor, header) for tensor in header.tensors if tensor.kind in TYPES]


def _claim(tensor: Description, header: Header) -> Claim:
    if tensor.offset % header.alignment:
        raise OpaqueError("a tensor is not aligned")
    if any(length >= INTEGER_END for length in tensor.dimensions):
        raise OpaqueError("a tensor has too large a dimension")
    dtype, block, size = TYPES[tensor.kind]
    if (tensor.dimensions or (1,))[0] % block:
        raise OpaqueError("a tensor has a row of less than whole blocks")
    length = weights(tensor.dimensions) // block * size
    return tensor.name, dtype, tensor.dimensions[::-1], header.data + tensor.offset, length


class _Parser:
    """Walks a header front to back."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._values: dict[str, int | float | bool | str] = {}
        self._long_texts: dict[str, int] = {}
        self._inner_arrays = 0

    def parse(self) -> Header:
        cursor = self._cursor
        if cursor.take(len(MAGIC)) != MAGIC:
            raise OpaqueError("it does not begin as a GGUF file")
        version = int(cursor.scalar(_U32))
        if version not in VERSIONS:
            raise OpaqueError(f"version {version} is not supported")
        tensors, pairs = int(cursor.scalar(_U64)), int(cursor.scalar(_U64))
        cursor.require(tensors * _LEAST_TENSOR_BYTES + pairs * _LEAST_PAIR_BYTES)
        if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
            raise OpaqueError(f"its {tensors} tensors and {pairs} pairs exceed the bound")
        keys: set[str] = set()
        for _ in range(pairs):
            self._pair(keys)
        names: set[str] = set()
        descriptions = tuple(self._tensor(names) for _ in range(tensors))
        alignment = int(self._values.get(_ALIGNMENT, _DEFAULT_ALIGNMENT))
        data = -(-cursor.at // alignment) * alignment
        return Header(version, self._values, self._long_texts, descriptions, alignment, data)

    def _pair(self, keys: set[str]) -> None:
        key = self._name(keys)
        kind = int(self._cursor.scalar(_U32))
        if key == _ALIGNMENT and kind != _U32_TYPE:
            raise OpaqueError(f"its alignment is of type {kind}")
        if kind == _ARRAY_TYPE:
            self._skip_array(depth=0)
        elif kind == _TEXT_TYPE:
            self._text(key)
        else:
            self._values[key] = value = self._cursor.scalar(_scalar_type(kind))
            # Zero has no bit, a power of two has one.
            if key == _ALIGNMENT and not (int(value).bit_count() == 1 and value <= _MAX_ALIGNMENT):
                raise OpaqueError(f"its alignment is {value}")

    def _text(self, key: str) -> None:
        length = self._cursor.length()
        if length > MAX_KEPT_BYTES:
            self._long_texts[key] = length
            self._cursor.skip(length)
        else:
            self._values[key] = self._cursor.take(length).decode("utf-8", "replace")

    def _skip_array(self, depth: int) -> None:
        kind, count = int(self._cursor.scalar(_U32)), int(self._cursor.scalar(_U64))
        if kind == _ARRAY_TYPE:
            self._inner_arrays += count
            if depth == _MAX_DEPTH or self._inner_arrays > _MAX_INNER_ARRAYS:
                raise OpaqueError("its arrays lie too deep in each other, or are too many")
            for _ in range(count):
                self._skip_array(depth + 1)
        elif kind == _TEXT_TYPE:
            self._cursor.skip_strings(count)
        else:
            self._cursor.skip(count * _scalar_type(kind).size)

    def _tensor(self, names: set[str]) -> Description:
        name = self._name(names)
        dimensions = int(self._cursor.scalar(_U32))
        if dimensions > _MAX_DIMENSIONS:
            raise OpaqueError(f"a tensor has {dimensions} dimensions")
        shape = tuple(int(self._cursor.scalar(_U64)) for _ in range(dimensions))
        kind, offset = int(self._cursor.scalar(_U32)), int(self._cursor.scalar(_U64))
        return Description(name, shape, kind, offset)

    def _name(self, seen: set[str]) -> str:
        length = self._cursor.length()
        if length > _MAX_NAME_BYTES:
            raise OpaqueError(f"a name of {length} bytes exceeds the bound of {_MAX_NAME_BYTES}")
        try:
            name = self._cursor.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise OpaqueError("a name is not UTF-8") from error
        if name in seen:
            raise OpaqueError(f"{name!r} is there twice")
        seen.add(name)
        return name


def _scalar_type(kind: int) -> struct.Struct:
    if kind not in _SCALARS:
        raise OpaqueError(f"value type {kind} is unknown")
    return _SCALARS[kind]
