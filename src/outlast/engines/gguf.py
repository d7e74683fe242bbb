"""The header of a GGUF file, read with bounds: enough to refuse a bad file before an engine that
would abort on it, and to know what a model can do.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3).
"""

import mmap
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from outlast.model.errors import EngineError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 512 * 1024 * 1024
MAX_TEMPLATE_BYTES = 1024 * 1024
_MAX_NAME_BYTES = 65_535
_MAX_KEPT_STRING_BYTES = 65_536
_MAX_DIMENSIONS = 4
_STRING, _ARRAY = 8, 9

_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32 = _SCALARS[4]
_U64 = _SCALARS[10]

# ggml tensor type: (weights in a block, bytes of a block).
_TENSOR_TYPES = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    9: (32, 36),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    15: (256, 292),  # Q8_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
    40: (64, 36),  # NVFP4
}


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself. `values` holds its scalars and short strings; `template`
    tells whether it brings a chat template.
    """

    version: int
    tensors: int
    values: Mapping[str, int | float | bool | str]
    template: bool

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", ""))

    @property
    def context_length(self) -> int | None:
        """Tokens that the model was trained for."""
        return self._count("context_length")

    @property
    def pooling(self) -> int | None:
        """How an embedding model reduces its outputs to one vector; None for other models."""
        return self._count("pooling_type")

    @property
    def shards(self) -> int:
        """Files that the model consists of."""
        count = self.values.get("split.count", 1)
        return max(1, count) if isinstance(count, int) else 1

    @property
    def shard(self) -> int:
        """Which of them this one is, from 0."""
        number = self.values.get("split.no", 0)
        return number if isinstance(number, int) else 0

    def _count(self, key: str) -> int | None:
        value = self.values.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else None


def read_header(path: str) -> GgufHeader:
    """Reads and checks the header of the GGUF file at `path`, and that its tensors lie within it.

    Raises :class:`EngineError` when the file is not GGUF, is cut short, or exceeds a bound.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise EngineError(f"cannot read {path}: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise EngineError(f"{path} is not a regular file")
        if os.pread(descriptor, 4, 0) != MAGIC:
            raise EngineError(
                f"{path} is not a GGUF file", hint="llama.cpp runs GGUF files and nothing else"
            )
        with mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ) as data:
            return _Parser(data, path).parse()
    finally:
        os.close(descriptor)


class _Parser:
    """Walks a header front to back. Every length is checked against what is left."""

    def __init__(self, data: mmap.mmap, path: str) -> None:
        self._data = data
        self._path = path
        self._size = len(data)
        self._end = min(self._size, MAX_HEADER_BYTES)
        self._at = len(MAGIC)
        self._values: dict[str, int | float | bool | str] = {}
        self._template = False

    def parse(self) -> GgufHeader:
        version = int(self._scalar(_U32))
        if version not in VERSIONS:
            raise EngineError(
                f"{self._path} has GGUF version {version}, which is not supported",
                hint="llama.cpp reads the versions 2 and 3; convert the model anew",
            )
        tensors, pairs = int(self._scalar(_U64)), int(self._scalar(_U64))
        for _ in range(pairs):
            self._pair()
        # Of a split model, only the first part need say what it is.
        if not self._values.get("general.architecture") and not self._values.get("split.no"):
            raise self._bad("it does not name an architecture")
        self._check_extent(max((self._tensor() for _ in range(tensors)), default=0))
        return GgufHeader(version, tensors, self._values, self._template)

    def _pair(self) -> None:
        key = self._string(_MAX_NAME_BYTES)
        kind = int(self._scalar(_U32))
        if kind == _ARRAY:
            self._skip_array()
        elif kind != _STRING:
            self._values[key] = self._scalar(self._scalar_type(kind))
        elif key.startswith("tokenizer.chat_template"):
            # Engines expand templates; one of this size is an attack and not a template.
            self._template |= self._string(MAX_TEMPLATE_BYTES) != ""
        else:
            length = self._length()
            if length <= _MAX_KEPT_STRING_BYTES:
                raw = self._data[self._at : self._at + length]
                self._values[key] = raw.decode("utf-8", "replace")
            self._at += length

    def _skip_array(self) -> None:
        kind, count = int(self._scalar(_U32)), int(self._scalar(_U64))
        if kind == _STRING:
            for _ in range(count):
                length = self._length()
                self._at += length
        else:
            self._skip(count * self._scalar_type(kind).size)

    def _tensor(self) -> int:
        """Reads the description of one tensor; returns where its data ends, in bytes after the
        start of all data. The end of a type that we do not know is taken for its start.
        """
        self._string(_MAX_NAME_BYTES)
        dimensions = int(self._scalar(_U32))
        if dimensions > _MAX_DIMENSIONS:
            raise self._bad(f"a tensor has {dimensions} dimensions")
        weights = 1
        for _ in range(dimensions):
            weights *= int(self._scalar(_U64))
        kind, offset = int(self._scalar(_U32)), int(self._scalar(_U64))
        per_block, block_bytes = _TENSOR_TYPES.get(kind, (1, 0))
        return offset + -(-weights // per_block) * block_bytes

    def _check_extent(self, data_bytes: int) -> None:
        alignment = self._values.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise self._bad(f"its alignment is {alignment}")
        start = -(-self._at // alignment) * alignment
        if data_bytes and start + data_bytes > self._size:
            raise EngineError(
                f"{self._path} is cut short: its tensors end at byte {start + data_bytes}, "
                f"the file at {self._size}",
                hint="'outlast verify' tells whether the archive's copy is damaged",
            )

    def _scalar(self, kind: struct.Struct) -> int | float | bool:
        at = self._at
        self._skip(kind.size)
        value: int | float | bool = kind.unpack_from(self._data, at)[0]
        return value

    def _scalar_type(self, kind: int) -> struct.Struct:
        if kind not in _SCALARS:
            raise self._bad(f"value type {kind} is unknown")
        return _SCALARS[kind]

    def _length(self) -> int:
        """The length of a string that lies within the file; the position is at its first byte."""
        length = int(self._scalar(_U64))
        if length > self._end - self._at:
            raise self._short()
        return length

    def _string(self, limit: int) -> str:
        length = self._length()
        if length > limit:
            raise self._bad(f"a text of {length} bytes exceeds the bound of {limit}")
        start, self._at = self._at, self._at + length
        return self._data[start : self._at].decode("utf-8", "replace")

    def _skip(self, count: int) -> None:
        if count > self._end - self._at:
            raise self._short()
        self._at += count

    def _short(self) -> EngineError:
        if self._end < self._size:
            return self._bad(f"its header exceeds the bound of {MAX_HEADER_BYTES} bytes")
        return EngineError(
            f"{self._path} is cut short: it ends within its header",
            hint="'outlast verify' tells whether the archive's copy is damaged",
        )

    def _bad(self, why: str) -> EngineError:
        return EngineError(
            f"{self._path} is not a valid GGUF file: {why}",
            hint="'outlast verify' tells whether the archive's copy is damaged",
        )
