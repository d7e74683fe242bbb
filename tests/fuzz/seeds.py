"""Inputs to begin with: whole containers, capsules of every kind, blocks of every form."""

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from outlast.codec import format as fmt
from outlast.core.digest import Digest
from tests.codec import files, weights
from tests.codec.container_files import array, entry, gguf, safetensors, tensor, text, u32
from tests.fuzz.checks import AS_IT_IS, CONTAINER, MENDED, PATTERN

HOSTILE = Path(__file__).parent.parent / "hostile"
WITH_BASE = 1
COUNTS = (1, 2, 63, 127, 128, 129, 400, 1100)


def containers() -> Iterator[bytes]:
    for path in sorted((HOSTILE / "containers").glob("*/*")):
        if path.stat().st_size < 4096:
            yield path.read_bytes()
    yield safetensors({"a": entry("F32", [2, 2], 0, 16), "é": entry("U8", [3], 16, 19)}, bytes(19))
    yield safetensors(
        {"__metadata__": {"a": "\\u00e9", "b": "\ud83d\ude00"}, "x": entry("F4", [2], 0, 1)}, b"\0"
    )
    pairs = [("general.alignment", u32(64)), ("t", array(8, 2, text("x") + text("y")))]
    yield gguf(
        pairs, [tensor("a", [32, 2], 8, 0), tensor("b", [5], 0, 128)], bytes(200), alignment=64
    )


def _dtypes(rng: random.Random, style: str) -> Iterator[files.Tensors]:
    for dtype in files.SAFETENSORS:
        shape = (rng.randrange(1, 5), rng.randrange(1, 90))
        yield {"a": (dtype, shape, files.filled(rng, dtype, shape, style))}


def capsules() -> Iterator[bytes]:
    rng = random.Random(1)
    for style in ("skewed", "few symbols", "constant"):
        for tensors in _dtypes(rng, style):
            yield files.encode(files.of_safetensors(tensors, [b"gap"], b"end"))
        for dtype, number in files.GGUF.items():
            del number
            shape = (3, 256)
            yield files.encode(
                files.of_gguf({"a": (dtype, shape, files.filled(rng, dtype, shape, style))})
            )
    for length in (0, 1, 700, len(PATTERN)):
        yield files.encode(PATTERN[:length])
        changed = bytearray(PATTERN[:length])
        for at in range(0, length, 97):
            changed[at] ^= 1
        yield files.encode(bytes(changed), [PATTERN])


def thin() -> Iterator[bytes]:
    """Spans of floats with the pattern as their base. It is opaque, so they are put together."""
    rng = random.Random(2)
    for kind in weights.KINDS:
        element = fmt.SHAPES[kind][0]
        base = PATTERN[: element * (700 if element < 10 else 40)]
        for like in ("equal", "few changed", "near", "leaves changed", "far"):
            data = weights.BASES[like](rng, kind, base) or base
            tag, payload = weights.encode(kind, data, base)
            if fmt.needs_base(tag, 1):
                payload = fmt.checksum(data) + payload
            if len(payload) <= len(data):
                yield _one_block(kind, tag, payload, len(data))


def _one_block(kind: int, tag: int, payload: bytes, length: int) -> bytes:
    base = fmt.BaseRef(Digest.of(PATTERN), 1 << 20)
    entry = fmt.pack_entry(tag, len(payload), 0)
    span = fmt.CapsuleSpan(kind, length, 1, 0)
    directory = fmt.Directory(Digest.of(payload), [base], [span], entry)
    return fmt.HEAD + payload + directory.pack_end()


def blocks() -> Iterator[bytes]:
    """Inputs of native/fuzz/block.cpp; a base is a tile of up to 255 elements over and over."""
    rng = random.Random(3)
    for index, kind in enumerate(weights.KINDS):
        element = fmt.SHAPES[kind][0]
        for turn, (style, like) in enumerate(
            (style, like) for style in weights.STYLES for like in weights.BASES
        ):
            count = COUNTS[turn % len(COUNTS)] if element < 100 else 1 + turn % 9
            tile = min(255, count)
            pattern = weights.STYLES[style](rng, kind, tile)
            base = (pattern * (count // tile + 1))[: count * element]
            data = weights.BASES[like](rng, kind, base)
            lone = data is None
            tag, payload = weights.encode(kind, data or base, None if lone else base)
            header = bytes([index, tag, 0 if lone else WITH_BASE, 0 if lone else tile])
            wanted = (count - 1).to_bytes(2, "little")
            yield header + wanted + (b"" if lone else pattern) + payload


def greedy() -> Iterator[bytes]:
    """Blocks whose states are all 0: each takes a word at every step, so that the words end in the
    middle of what a kernel reads at once. Ranges of 2 and of 256 symbols take different ways.
    """
    two = bytes([0, 1]) + (2048 | 2048 << 12).to_bytes(3, "little")
    all_symbols = bytes([0, 255]) + (16 | 16 << 12).to_bytes(3, "little") * 128
    for table in (two, all_symbols):
        for lanes, count in ((64, 4000), (128, 33000)):
            for words in (lanes - 15, lanes - 7, lanes - 1, lanes, lanes + 1, lanes + 17):
                for more in (0, lanes):
                    coded = (words + more).to_bytes(4, "little") + bytes(4 * lanes)
                    payload = b"\2" + table + coded + bytes(2 * (words + more))
                    yield bytes([0, fmt.PLANES, 0, 0]) + (count - 1).to_bytes(2, "little") + payload


def in_parts() -> Iterator[bytes]:
    """Q4_K and Q5_K whose weights hang on their sub-block's scale, so that each context is a part:
    of one value for three of the scales 7 to 10, of all values for the fourth.
    """
    rng = random.Random(4)
    for kind, centre in ((fmt.Q4_K, 2977), (fmt.Q5_K, 4048)):
        data = b""
        for _ in range(16):
            levels = rng.choices(range(7, 11), k=8)
            data += struct.pack("<HH", 0x2000, 0x2000 + centre) + bytes([*levels[:4], *[8] * 4])
            data += bytes(level | 8 << 4 for level in levels[4:])
            data += bytes(32) if kind == fmt.Q5_K else b""
            for low, high in zip(levels[::2], levels[1::2], strict=True):
                for _ in range(32):
                    first, second = (
                        rng.randrange(16) if level == 9 else level for level in (low, high)
                    )
                    data += bytes([first | second << 4])
        tag, payload = weights.encode(kind, data)
        yield bytes([weights.KINDS.index(kind), tag, 0, 0, 15, 0]) + payload


def main() -> None:
    """Writes the seeds to FOLDER/parsers and FOLDER/blocks."""
    to = Path(sys.argv[1])
    parsers = [bytes([CONTAINER]) + data for data in containers()]
    parsers += [bytes([what]) + data for data in capsules() for what in (AS_IT_IS, MENDED)]
    parsers += [bytes([MENDED]) + data for data in thin()]
    for name, inputs in (("parsers", parsers), ("blocks", [*greedy(), *in_parts(), *blocks()])):
        (to / name).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (to / name / f"{number:04}").write_bytes(data)


if __name__ == "__main__":
    main()
