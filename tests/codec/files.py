"""Whole files for capsules, and capsules of them with any number of bases."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from outlast.codec.claims import BLOCKS
from outlast.codec.gguf import TYPES
from outlast.codec.layout import KINDS
from outlast.codec.memory import InMemory
from outlast.codec.reader import CapsuleReader
from outlast.codec.writer import Base, CapsuleWriter
from outlast.core.digest import Digest
from tests.codec import reference, weights
from tests.codec.container_files import entry, gguf, safetensors, tensor, u32

SAFETENSORS: Final = tuple(dtype for dtype, (block, _) in BLOCKS.items() if block == 1)
GGUF: Final = {dtype: number for number, (dtype, _, _) in TYPES.items() if dtype in BLOCKS}


def encode(blob: bytes, bases: Sequence[bytes] = ()) -> bytes:
    """The capsule of a blob, against `bases`."""
    out = bytearray()
    against = [Base(Digest.of(base), InMemory(base)) for base in bases]
    CapsuleWriter(InMemory(blob), out.extend, bases=against).finish(Digest.of(blob))
    return bytes(out)


def reader(capsule: bytes, bases: Sequence[bytes] = ()) -> CapsuleReader:
    return CapsuleReader(InMemory(capsule), {Digest.of(base): InMemory(base) for base in bases})


def read(opened: CapsuleReader, offset: int, length: int) -> bytes:
    out = bytearray(length)
    opened.readinto(offset, memoryview(out))
    return bytes(out)


def named(bases: Sequence[bytes]) -> dict[str, bytes]:
    return {hashlib.sha256(base).hexdigest(): base for base in bases}


def reference_capsule(capsule: bytes, bases: Sequence[bytes] = ()) -> reference.Capsule:
    return reference.Capsule(capsule, named(bases))


Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]
"""name: (dtype, shape with the outermost dimension first, bytes)."""


def of_safetensors(
    tensors: Tensors, gaps: Sequence[bytes] = (), trailing: bytes = b"", pad: int = 0
) -> bytes:
    """Tensors one after another, each behind its gap; `pad` moves them against any alignment."""
    header: dict[str, Any] = {"__metadata__": {"pad": "x" * pad}}
    data = b""
    for i, (name, (dtype, shape, raw)) in enumerate(tensors.items()):
        data += gaps[i % len(gaps)] if gaps else b""
        header[name] = entry(dtype, shape, len(data), len(data) + len(raw))
        data += raw
    return safetensors(header, data + trailing)


def of_gguf(tensors: Tensors, trailing: bytes = b"", alignment: int = 32) -> bytes:
    pairs = [("general.alignment", u32(alignment))] if alignment != 32 else []
    descriptions, data = [], b""
    for name, (dtype, shape, raw) in tensors.items():
        data += bytes(-len(data) % alignment)
        descriptions.append(tensor(name, shape[::-1], GGUF[dtype], len(data)))
        data += raw
    return gguf(pairs, descriptions, data + trailing, alignment=alignment)


def filled(rng: random.Random, dtype: str, shape: tuple[int, ...], style: str) -> bytes:
    """The bytes of a tensor."""
    block, _ = BLOCKS[dtype]
    count = 1
    for length in shape:
        count *= length
    kind = KINDS.get(dtype, 0)
    return weights.STYLES[style](rng, kind, count // block) if count else b""
