"""A small model in F16, and in 4 bits: as an archive holds the one, and an endpoint the other."""

import struct
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from outlast.engines.scoring.gguf_weights import BF16, READERS, Floats, as_bf16
from outlast.engines.scoring.rounding import ROUNDINGS
from outlast.features.audit.reference.rounded_gguf import KERNELS, write_changed
from tests.engines.gguf_files import Parts
from tests.gguf_cut import small_smollm2

BLOCK: Final = 32
Q4_0: Final = 2


def small_f16(folder: Path) -> Path:
    """Two layers of SmolLM2 (13 MB), as :func:`as_f16` has them."""
    folder.mkdir(parents=True, exist_ok=True)
    source = small_smollm2(folder)
    made = as_f16(source, folder / "small-F16.gguf")
    source.unlink()
    return made


def as_f16(source: Path, target: Path) -> Path:
    """A model dequantised to F16, and rounded to bf16 first: as one that was published in that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ROUNDINGS, "bf16", _to_bf16)
        return write_changed([source], target.parent, "bf16")[0].rename(target)


def small_bf16(source: Path, target: Path) -> Path:
    """A model of :func:`as_f16` in BF16, without loss."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("outlast.features.audit.reference.rounded_gguf.disturbed", _to_bf16)
        return write_changed([source], target.parent, KERNELS)[0].rename(target)


def _to_bf16(values: Floats) -> Floats:
    raw = np.frombuffer(as_bf16(values), np.uint8)
    return READERS[BF16](raw).reshape(values.shape)


def as_q4_0(source: Path, target: Path) -> Path:
    """A model in F16 with its matrices in Q4_0, as llama.cpp's own quantiser writes them."""
    parts = Parts.of(source)
    made, data = Parts(parts.pairs), b""
    for description, start in parts.tensors:
        (length,) = struct.unpack_from("<Q", description)
        count = (len(description) - 16 - length) // 8
        shape = struct.unpack_from(f"<{count}Q", description, 12 + length)
        (kind,) = struct.unpack("<I", description[-4:])
        size = int(np.prod(shape))
        if kind == 1 and b"token_embd" not in description:
            raw = parts.data[start : start + 2 * size]
            content = _q4_0(np.frombuffer(raw, "<f2").astype(np.float32))
            written = description[:-4] + struct.pack("<I", Q4_0)
        else:
            content = parts.data[start : start + size * {0: 4, 1: 2}[kind]]
            written = description
        made.tensors.append((written, len(data)))
        data += content + bytes(-len(content) % 32)
    made.data = data
    return made.write(target)


def _q4_0(values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> bytes:
    blocks = values.reshape(-1, BLOCK)
    highest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scale = (highest / -8).astype("<f2")
    inverse = np.where(scale != 0, 1 / np.where(scale != 0, scale.astype(np.float32), 1), 0)
    levels = np.clip(np.floor(blocks * inverse + 8.5), 0, 15).astype(np.uint8)
    packed = levels[:, : BLOCK // 2] | (levels[:, BLOCK // 2 :] << 4)
    return b"".join(s.tobytes() + p.tobytes() for s, p in zip(scale, packed, strict=True))
