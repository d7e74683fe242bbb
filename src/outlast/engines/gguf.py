"""What an engine must know of a GGUF file: enough to refuse a bad file before an engine that would
abort on it, and to know what a model can do. :mod:`outlast.codec.gguf` reads the header.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from outlast.codec import gguf
from outlast.codec.claims import CutShortError, OpaqueError
from outlast.core.errors import EngineError

MAX_TEMPLATE_BYTES = 1024 * 1024
_TEMPLATE = "tokenizer.chat_template"
_DAMAGED = "'outlast verify' tells whether the archive's copy is damaged"


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
    def is_adapter(self) -> bool:
        """Whether it is a LoRA, which changes a model that it is not."""
        kinds = self.values.get("general.type"), self.values.get("adapter.type")
        return kinds == ("adapter", "lora")

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
        return _read(descriptor, status.st_size, path)
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int, path: str) -> GgufHeader:
    start = os.pread(descriptor, 8, 0)
    magic, version = start[:4], int.from_bytes(start[4:], "little")
    if magic != gguf.MAGIC:
        raise EngineError(
            f"{path} is not a GGUF file", hint="llama.cpp runs GGUF files and nothing else"
        )
    if len(start) == 8 and version not in gguf.VERSIONS:
        raise EngineError(
            f"{path} has GGUF version {version}, which is not supported",
            hint="llama.cpp reads the versions 2 and 3; convert the model anew",
        )
    try:
        header = gguf.read_header(lambda offset, length: os.pread(descriptor, length, offset), size)
        _check_values(header)
        _check_extent(header, size)
    except CutShortError as error:
        raise EngineError(f"{path} is cut short: {error}", hint=_DAMAGED) from error
    except OpaqueError as error:
        raise EngineError(f"{path} is not a valid GGUF file: {error}", hint=_DAMAGED) from error
    values = {key: value for key, value in header.values.items() if not key.startswith(_TEMPLATE)}
    template = any(header.values.get(key) != "" for key in _templates(header))
    return GgufHeader(header.version, len(header.tensors), values, template)


def _templates(header: gguf.Header) -> list[str]:
    """The keys of chat templates."""
    kept = [key for key, value in header.values.items() if isinstance(value, str)]
    return [key for key in (*kept, *header.long_texts) if key.startswith(_TEMPLATE)]


def _check_values(header: gguf.Header) -> None:
    # Engines expand templates; one of this size is an attack and not a template.
    longest = max((header.long_texts.get(key, 0) for key in _templates(header)), default=0)
    if longest > MAX_TEMPLATE_BYTES:
        raise OpaqueError(
            f"a chat template of {longest} bytes exceeds the bound of {MAX_TEMPLATE_BYTES}"
        )
    # Of a split model, only the first part need say what it is.
    if not header.values.get("general.architecture") and not header.values.get("split.no"):
        raise OpaqueError("it does not name an architecture")


def _check_extent(header: gguf.Header, size: int) -> None:
    length = max((tensor.end for tensor in header.tensors), default=0)
    if length and header.data + length > size:
        raise CutShortError(f"its tensors end at byte {header.data + length}, the file at {size}")
