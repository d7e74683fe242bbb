"""What cannot be beaten without more context, and weights of any size; with numpy."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {"BF16": "<u2", "F16": "<u2", "F32": "<u4"}
_TENSOR = 16 << 20
_SPREAD = 0.04


def order_0(path: str, dtype: str, base: str | None = None) -> float:
    """The ratio at which a static order-0 coder of whole values, one table for all of the file,
    would code it (its table, and what is not of this dtype, counted as raw). With a base of the
    same layout, of the XOR with it.
    """
    kind = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}[dtype]
    blob = Path(path).read_bytes()
    values = _values(blob, kind)
    if base is not None:
        values ^= _values(Path(base).read_bytes(), kind)
    # Of fp32 the upper half only: the lower is noise, and its values hardly ever occur twice.
    coded = (values >> 16).astype(np.uint16) if kind == "F32" else values
    counts = np.bincount(coded, minlength=1 << 16)
    share = counts[counts > 0] / len(coded)
    bits = -float((share * np.log2(share)).sum()) + (16 if kind == "F32" else 0)
    raw = len(blob) - values.nbytes
    return float(len(blob) / (raw + bits * len(values) / 8))


def _values(blob: bytes, kind: str) -> Any:
    (length,) = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8 : 8 + length])
    header.pop("__metadata__", None)
    parts = [
        np.frombuffer(blob[8 + length + start : 8 + length + end], _TYPES[kind])
        for about in header.values()
        if about["dtype"] == kind
        for start, end in [about["data_offsets"]]
    ]
    return np.concatenate(parts)


def synthesise(path: str, size: int) -> int:
    """A safetensors file of about `size` bytes of bf16, normally distributed with other spreads
    in other tensors, from a fixed seed. Its size.
    """
    chance = np.random.Generator(np.random.PCG64(5))
    count = max(1, size // (_TENSOR * 2))
    header = {
        f"layers.{n}.weight": {
            "dtype": "BF16",
            "shape": (4096, _TENSOR // 4096),
            "data_offsets": (n * _TENSOR * 2, (n + 1) * _TENSOR * 2),
        }
        for n in range(count)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with Path(path).open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for n in range(count):
            spread = np.float32(_SPREAD * (1 + n % 5 / 4))
            values = chance.standard_normal(_TENSOR, dtype=np.float32) * spread
            file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
        return file.tell()
