"""Models of any size with the statistics of real weights: MiniLM in bf16, again and again, with
other noise in the bits of the mantissa each time. So nothing in them occurs twice, and a capsule
saves as much of them as of the real ones.
"""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.codec.finetune import base
from bench.codec.lab import weights

_MANTISSA = 0x7F
_TUNED = 0x03
"""The bits of a weight that a fine-tune changes, at random: 2.7 bits a weight in a delta capsule.
That of the fine-tune of 60 steps which `make bench-codec` trains has 2.0."""


def write_model(folder: Path, size: int) -> list[Path]:
    """Writes files of 45 MB, of about `size` bytes in all."""
    real = weights(base).read_bytes()
    count = max(1, round(size / len(real)))
    return _write(folder, (_noisy(_renamed(real, i), _MANTISSA) for i in range(count)))


def write_tuned(folder: Path, files: list[Path]) -> list[Path]:
    """Writes fine-tunes of these files, under the same names."""
    return _write(folder, (_noisy(path.read_bytes(), _TUNED) for path in files))


def _write(folder: Path, contents: Iterator[bytes]) -> list[Path]:
    folder.mkdir()
    written = []
    for number, content in enumerate(contents, start=1):
        path = folder / f"model-{number:05}.safetensors"
        path.write_bytes(content)
        written.append(path)
    return written


def _renamed(content: bytes, number: int) -> bytes:
    """With names of tensors that no other file has, as those of one model are."""
    start = _start(content)
    tensors = {
        name if name == "__metadata__" else f"part{number}.{name}": entry
        for name, entry in json.loads(content[8:start]).items()
    }
    head = json.dumps(tensors, separators=(",", ":")).encode()
    head = head.ljust(-(-len(head) // 8) * 8)
    return len(head).to_bytes(8, "little") + head + content[start:]


def _noisy(content: bytes, bits: int) -> bytes:
    """The same weights with other values in the low `bits` of each."""
    start = _start(content)
    body = content[start:]
    number = partial(int.from_bytes, byteorder="little")
    noise = number(os.urandom(len(body))) & number(bits.to_bytes(2, "little") * (len(body) // 2))
    return content[:start] + (number(body) ^ noise).to_bytes(len(body), "little")


def _start(content: bytes) -> int:
    """Where the tensors of a safetensors file begin."""
    return 8 + int.from_bytes(content[:8], "little")
