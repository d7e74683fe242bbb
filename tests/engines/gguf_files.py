"""Makes GGUF files: small ones from scratch, and damaged, changed or split ones from a real one."""

import random
import re
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outlast.codec.gguf import MAGIC

ALIGNMENT = 32
_U32, _I32, _STRING, _ARRAY, _U16 = 4, 5, 8, 9, 2
_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, value: Any) -> bytes:
    """A key with a value: an int as u32, a string, or raw bytes with their type in front."""
    if isinstance(value, bytes):
        return text(key) + value
    return text(key) + (string(value) if isinstance(value, str) else u32(value))


def string(value: str) -> bytes:
    return struct.pack("<I", _STRING) + text(value)


def u32(value: int) -> bytes:
    return struct.pack("<II", _U32, value)


def u16(value: int) -> bytes:
    return struct.pack("<IH", _U16, value)


def i32(value: int) -> bytes:
    return struct.pack("<Ii", _I32, value)


def strings(*values: str | bytes) -> bytes:
    head = struct.pack("<IIQ", _ARRAY, _STRING, len(values))
    return head + b"".join(text(value) for value in values)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)


def small_gguf(values: Mapping[str, Any] | None = None, *, version: int = 3) -> bytes:
    """A valid header with one tensor of 8 f32, and its data."""
    pairs = {"general.architecture": "llama", **(values or {})}
    head = MAGIC + struct.pack("<IQQ", version, 1, len(pairs))
    head += b"".join(pair(key, value) for key, value in pairs.items())
    head += text("weight") + struct.pack("<IQIQ", 1, 8, 0, 0)
    return padded(head) + b"\0" * 32


@dataclass
class Parts:
    """A GGUF file taken apart: `pairs` maps keys to their type and value as they are in the file;
    `tensors` are (description up to the offset, offset).
    """

    pairs: dict[str, bytes] = field(default_factory=dict)
    tensors: list[tuple[bytes, int]] = field(default_factory=list)
    data: bytes = b""

    @classmethod
    def of(cls, path: Path) -> "Parts":
        raw = path.read_bytes()
        parts = cls()
        tensors, pairs = struct.unpack_from("<QQ", raw, 8)
        at = 24
        for _ in range(pairs):
            start = _after_text(raw, at)
            key = raw[at + 8 : start].decode()
            at = _after_value(raw, start)
            parts.pairs[key] = raw[start:at]
        for _ in range(tensors):
            end = _after_text(raw, at)
            (dimensions,) = struct.unpack_from("<I", raw, end)
            end += 4 + 8 * dimensions + 4
            parts.tensors.append((raw[at:end], struct.unpack_from("<Q", raw, end)[0]))
            at = end + 8
        parts.data = raw[at + (-at % ALIGNMENT) :]
        return parts

    def write(self, path: Path) -> Path:
        head = MAGIC + struct.pack("<IQQ", 3, len(self.tensors), len(self.pairs))
        head += b"".join(text(key) + value for key, value in self.pairs.items())
        for description, offset in self.tensors:
            head += description + struct.pack("<Q", offset)
        path.write_bytes(padded(head) + self.data)
        return path

    def first_blocks(self, count: int) -> "Parts":
        """The model without its later blocks: it loads and answers, faster and less well."""
        kept = Parts({**self.pairs, "llama.block_count": u32(count)})
        offsets = [offset for _, offset in self.tensors]
        ends = [*offsets[1:], len(self.data)]
        assert offsets == sorted(offsets)
        data = []
        at = 0
        for (description, start), end in zip(self.tensors, ends, strict=True):
            block = re.match(rb"blk\.(\d+)\.", description[8:])
            if block is None or int(block[1]) < count:
                kept.tensors.append((description, at))
                data.append(self.data[start:end])
                at += end - start
        kept.data = b"".join(data)
        return kept

    def split(self, folder: Path, stem: str) -> list[Path]:
        """Writes the model in two parts, as llama.cpp's gguf-split does."""
        half = len(self.tensors) // 2
        cut = self.tensors[half][1]
        both = {"split.count": u16(2), "split.tensors.count": i32(len(self.tensors))}
        first = Parts(
            {**self.pairs, **both, "split.no": u16(0)}, self.tensors[:half], self.data[:cut]
        )
        moved = [(description, offset - cut) for description, offset in self.tensors[half:]]
        second = Parts({**both, "split.no": u16(1)}, moved, self.data[cut:])
        return [
            part.write(folder / f"{stem}-0000{number}-of-00002.gguf")
            for number, part in enumerate((first, second), start=1)
        ]


def _after_text(raw: bytes, at: int) -> int:
    return at + 8 + int(struct.unpack_from("<Q", raw, at)[0])


def _after_value(raw: bytes, at: int) -> int:
    (kind,) = struct.unpack_from("<I", raw, at)
    at += 4
    if kind == _STRING:
        return _after_text(raw, at)
    if kind != _ARRAY:
        return at + _BYTES[kind]
    inner, count = struct.unpack_from("<IQ", raw, at)
    at += 12
    if inner != _STRING:
        return at + int(count) * _BYTES[inner]
    for _ in range(count):
        at = _after_text(raw, at)
    return at


def write_lora(path: Path, tensor: str, shape: tuple[int, int], *, seed: int) -> Path:
    """A LoRA of rank 2 in GGUF that changes `tensor` (of `shape`: in, out) noticeably."""
    chance = random.Random(seed)
    wide, high = shape
    data = array("f", [chance.gauss(0, 0.2) for _ in range(2 * (wide + high))]).tobytes()
    parts = Parts(
        {
            "general.type": string("adapter"),
            "general.architecture": string("llama"),
            "adapter.type": string("lora"),
            "adapter.lora.alpha": struct.pack("<If", 6, 4.0),
        },
        [
            (text(f"{tensor}.lora_a") + struct.pack("<IQQI", 2, wide, 2, 0), 0),
            (text(f"{tensor}.lora_b") + struct.pack("<IQQI", 2, 2, high, 0), 8 * wide),
        ],
        data,
    )
    return parts.write(path)
