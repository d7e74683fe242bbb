"""What is sent: real weights, as one plain file of a given size, and as one of bf16."""

import hashlib
import itertools
import os
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests import realweights
from tests.realweights import Tensor

_CHUNK = 1 << 22
_PARTS: tuple[Callable[[], Path], ...] = (
    realweights.gemma_gguf,
    realweights.whisper_fp16,
    realweights.smollm2_gguf,
    realweights.minilm_fp32,
    realweights.minilm_bf16,
)
_OPAQUE = b"weights\n"
_EXPONENT, _FRACTION = 0x7C00, 0x3FF


@dataclass(frozen=True)
class Payload:
    """A file to be sent."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        return digest(self.path)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(folder: Path, size: int) -> Payload:
    """`size` bytes of real weights, one file behind the other, again from the first where they do
    not reach. It begins like no known format, so no engine treats it as weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.bin"
    left = size - len(_OPAQUE)
    with path.open("wb") as out:
        out.write(_OPAQUE)
        while left:
            for part in _PARTS:
                with part().open("rb") as source:
                    while left and (chunk := source.read(min(_CHUNK, left))):
                        out.write(chunk)
                        left -= len(chunk)
    return Payload(path)


def bf16(folder: Path, size: int) -> Payload:
    """A safetensors file of real bf16 weights, up to about `size` bytes: the tensors of two models
    (190 MB), again and again where they do not reach.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.safetensors"
    tensors: dict[str, Tensor] = {}
    found = _bf16_tensors()
    total = 0
    for number in itertools.count():
        fits = {k: t for k, t in found.items() if len(t.data) <= size - total}
        if not fits:
            break
        for name, tensor in fits.items():
            if total + len(tensor.data) <= size:
                tensors[f"{number}.{name}"] = tensor
                total += len(tensor.data)
    realweights.write_safetensors(path, tensors, format="pt")
    return Payload(path)


def _bf16_tensors() -> dict[str, Tensor]:
    found = {}
    for name, tensor in realweights.read_safetensors(realweights.minilm_bf16()).items():
        if tensor.dtype == "BF16":
            found[f"minilm.{name}"] = tensor
    table = array("H", map(_fp16_as_bf16, range(1 << 16)))
    for name, tensor in realweights.read_safetensors(realweights.whisper_fp16()).items():
        if tensor.dtype == "F16":
            found[f"whisper.{name}"] = Tensor("BF16", tensor.shape, _translate(tensor.data, table))
    return found


def _translate(data: bytes, table: "array[int]") -> bytes:
    values = array("H", data)
    if sys.byteorder == "big":
        values.byteswap()
    out = array("H", map(table.__getitem__, values))
    if sys.byteorder == "big":
        out.byteswap()
    return out.tobytes()


def _fp16_as_bf16(bits: int) -> int:
    """The bf16 nearest to an fp16, ties to even. Weights are finite."""
    sign, exponent, fraction = bits >> 15 << 15, bits & _EXPONENT, bits & _FRACTION
    value = (fraction / 1024 + (1 if exponent else 0)) * 2.0 ** (max(exponent >> 10, 1) - 15)
    single = int.from_bytes(array("f", [value]).tobytes(), sys.byteorder)
    return sign | (single + 0x7FFF + (single >> 16 & 1)) >> 16


def disk_free(folder: Path) -> int:
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize
