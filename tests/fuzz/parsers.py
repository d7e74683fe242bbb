"""Coverage-guided fuzzing of the parsers of containers and of the capsule reader, by atheris:
`python -m tests.fuzz.parsers CORPUS [options of libFuzzer]`.

A capsule is taken apart, changed in one of its parts and put together again, so that what comes
out gets past the checksums, and past the sums of lengths.
"""

import gc
import importlib
import random
import struct
import sys
import tracemalloc
import types
from dataclasses import dataclass
from typing import Any, Final

from outlast.codec import format as fmt
from tests.fuzz import checks

atheris: Any = importlib.import_module("atheris")

_TRAILER: Final = struct.Struct("<8sHHIIIQQ32sQ")
_BASE: Final = struct.Struct("<32sQ")
_SPAN: Final = struct.Struct("<BBHQQ")
_ENTRY: Final = struct.Struct("<IQ")
_NUMBERS: Final = (0, 1, 2, 3, 127, 255, 256, 65535, 1 << 18, 1 << 20, 1 << 24, 1 << 31, 1 << 32)
_LARGE: Final = (1 << 40, (1 << 53) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


@dataclass
class Parts:
    """A capsule taken apart. A block is its tag and payload."""

    size: int
    bases: list[list[Any]]
    spans: list[list[int]]
    blocks: list[tuple[int, bytes]]

    @classmethod
    def of(cls, capsule: bytes) -> "Parts | None":
        end = len(capsule) - fmt.TRAILER_BYTES
        if end < fmt.TRAILER_BYTES:
            return None
        _, _, _, bases, spans, blocks, packed, size, _, _ = _TRAILER.unpack_from(capsule, end)
        begin = end - fmt.TRAILER_BYTES - packed
        spans_at = begin + bases * _BASE.size
        entries_at = spans_at + spans * _SPAN.size
        if begin < 0 or entries_at + blocks * _ENTRY.size != end - fmt.TRAILER_BYTES:
            return None
        made, payload = cls(size, [], [], []), len(fmt.HEAD)
        made.bases = [list(each) for each in _BASE.iter_unpack(capsule[begin:spans_at])]
        made.spans = [list(each) for each in _SPAN.iter_unpack(capsule[spans_at:entries_at])]
        for at in range(entries_at, end - fmt.TRAILER_BYTES, _ENTRY.size):
            word = _ENTRY.unpack_from(capsule, at)[0]
            length = word & 0xFFFFFF
            made.blocks.append((word >> 24, capsule[payload : payload + length]))
            payload += length
        return made

    def pack(self) -> bytes:
        """A capsule whose checksums are those that :func:`checks.mended` makes."""
        payloads = b"".join(payload for _, payload in self.blocks)
        packed = b"".join(_BASE.pack(*base) for base in self.bases)
        packed += b"".join(_SPAN.pack(*span) for span in self.spans)
        for tag, payload in self.blocks:
            packed += _ENTRY.pack(tag << 24 | len(payload), 0)
        counts = len(self.bases), len(self.spans), len(self.blocks)
        trailer = _TRAILER.pack(
            b"OLC.END\n", fmt.VERSION, 0, *counts, len(packed), self.size, bytes(32), 0
        )
        return fmt.HEAD + payloads + 2 * packed + 2 * (trailer + bytes(8))

    def agree(self) -> None:
        """Sizes and numbers of blocks that fit together."""
        self.size = sum(span[3] for span in self.spans)
        for number, size in enumerate(base[1] for base in self.bases):
            ends = [span[4] + span[3] for span in self.spans if span[1] == number + 1]
            self.bases[number][1] = min(max([size, *ends]), (1 << 64) - 1)
        wanted = sum(
            -(-span[3] // (size * count))
            for span in self.spans
            for size, count in [fmt.SHAPES.get(span[0], (1, 1))]
        )
        while self.blocks and len(self.blocks) < min(wanted, 64):
            self.blocks.append(self.blocks[-1])
        del self.blocks[wanted:]


def _number(rng: random.Random, old: int, bits: int) -> int:
    changed = (
        old + rng.choice((-1, 1, 2, -8, 128)),
        old ^ 1 << rng.randrange(bits),
        rng.choice(_NUMBERS),
        rng.choice(_LARGE),
        old * 2,
    )
    return rng.choice(changed) & (1 << bits) - 1


def _span(rng: random.Random, parts: Parts) -> None:
    if not parts.spans or rng.randrange(6) == 0:
        parts.spans.append([rng.randrange(24), rng.randrange(2), 0, rng.randrange(1, 2000), 0])
        return
    span = rng.choice(parts.spans)
    match rng.randrange(5):
        case 0:
            span[0] = rng.choice((*fmt.SHAPES, rng.randrange(256)))
        case 1:
            span[1] = rng.choice((0, 1, rng.randrange(256)))
        case 2:
            span[3] = _number(rng, span[3], 64)
        case 3:
            span[4] = _number(rng, span[4], 64)
        case _:
            parts.spans.remove(span)
    element = fmt.SHAPES.get(span[0], (1, 1))[0]
    if rng.randrange(4):
        span[3] = (span[3] + element - 1) // element * element & ((1 << 64) - 1)


def _block(rng: random.Random, parts: Parts) -> None:
    if not parts.blocks:
        return
    number = rng.randrange(len(parts.blocks))
    tag, payload = parts.blocks[number]
    match rng.randrange(4):
        case 0:
            tag = rng.randrange(6)
        case 1:
            parts.blocks.insert(number, (tag, payload))
        case 2:
            del parts.blocks[rng.randrange(len(parts.blocks))]
            return
        case _:
            payload = bytes(atheris.Mutate(payload or b"\0", len(payload) + 64))
    parts.blocks[number] = (tag, payload)


def _base(rng: random.Random, parts: Parts) -> None:
    if not parts.bases or rng.randrange(3) == 0:
        parts.bases.append([bytes([rng.randrange(3)] * 32), rng.choice((0, 100, 1 << 20, 1 << 62))])
    else:
        base = rng.choice(parts.bases)
        base[1] = _number(rng, base[1], 64)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    rng = random.Random(seed)
    parts = Parts.of(bytes(data[1:])) if len(data) > 1 and data[0] % 3 == checks.MENDED else None
    if parts is None or rng.randrange(4) == 0:
        return bytes(atheris.Mutate(bytes(data), most))
    for _ in range(rng.randrange(1, 4)):
        rng.choice((_span, _block, _block, _base))(rng, parts)
    if rng.randrange(4):
        parts.agree()
    parts.size &= (1 << 64) - 1
    made = bytes([checks.MENDED]) + parts.pack()
    return made if len(made) <= most else bytes(atheris.Mutate(bytes(data), most))


def instrument() -> int:
    """Functions one by one: the loader of an editable install hides modules from import hooks."""
    found = [
        each
        for each in gc.get_objects()
        if isinstance(each, types.FunctionType)
        and str(each.__module__).startswith("outlast.codec.")
    ]
    for function in found:
        atheris.instrument_func(function)
    return len(found)


def main() -> None:
    print(instrument(), "functions are watched")
    tracemalloc.start()
    atheris.Setup(sys.argv, checks.check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
