"""The blobs of the golden capsules, from integers alone: no float and no library decides a byte.

`python -m tests.codec.golden_blobs` writes tests/golden/capsules/v1 anew, as far as files are
missing. A capsule that is there is never changed: archives are full of them.
"""

import os
from collections.abc import Callable
from itertools import islice
from typing import Final

from outlast.codec import layout
from outlast.codec.claims import BLOCKS
from tests.codec import files, golden_limits
from tests.codec.golden_bytes import edited, filled, integers, noise, skewed, tuned
from tests.codec.reference.kinds import KINDS, Kind

FOLDER: Final = os.path.join(os.path.dirname(__file__), "..", "golden", "capsules", "v1")


def one(dtype: str, count: int, seed: int, raw: bytes | None = None) -> bytes:
    """A safetensors file of one tensor."""
    data = filled(dtype, (count,), seed) if raw is None else raw
    return files.of_safetensors({"w": (dtype, (count,), data)})


def without_low_bytes(raw: bytes) -> bytes:
    """fp32 weights, of which three leaves of four have no lowest byte."""
    out = bytearray(raw)
    for at in range(0, len(raw), 4):
        if at // 512 % 4:
            out[at] = 0
    return bytes(out)


def dependent(kind: Kind, count: int, seed: int) -> bytes:
    """`count` elements whose weights look different in each context."""
    assert kind.contexts is not None
    planes = [skewed(seed + p, plane.symbols * count) for p, plane in enumerate(kind.planes)]
    run, source = kind.planes[-1].run, integers(seed)
    weights = bytearray()
    for context in kind.contexts(planes[:-1], count):
        for x in islice(source, run):
            noisy = x >> 24 if context == 3 else (32 - x.bit_length()) * context
            weights.append(noisy & (255 if kind.planes[-1].whole else 15))
    return kind.merge([*planes[:-1], bytes(weights)], count)


def quantised(*, contexts: bool) -> bytes:
    tensors = {}
    for i, (dtype, (block, _)) in enumerate(BLOCKS.items()):
        if block > 1:
            shape = (8192 // 256 if contexts else 12, 256)
            raw = filled(dtype, shape, i)
            if contexts:
                raw = dependent(KINDS[layout.KINDS[dtype]], 8192 // block, i)
            tensors[dtype] = (dtype, shape, raw)
    return files.of_gguf(tensors, b"trailing")


def by_exponent(raw: bytes, seed: int) -> bytes:
    """BF16 numbers of which smaller ones are moved by more units in the last place."""
    out, source = bytearray(raw), integers(seed)
    for at in range(0, len(raw), 2):
        x, number = next(source), int.from_bytes(raw[at : at + 2], "little")
        steps = 32 - x.bit_length() << max(0, min(5, 123 - (number >> 7 & 255)))
        number += steps if x & 2 else -steps
        out[at : at + 2] = (number % 65536).to_bytes(2, "little")
    return bytes(out)


def model(*, fine: bool) -> bytes:
    tensors = {}
    for i, (dtype, width) in enumerate(_WIDTHS.items(), 1):
        raw = filled(dtype, (8, 100), i)
        for name in ("same", "near", "edited", "few"):
            moved = raw
            if fine and name == "near":
                moved = tuned(raw, width, i)
            elif fine and name == "edited":
                moved = edited(raw, width, i)
            elif fine and name == "few":
                moved = tuned(raw, width, i, every=97)
            tensors[f"{dtype}.{name}"] = (dtype, (8, 100), moved)
    if fine:
        tensors["BF16.same"] = ("BF16", (9, 100), tensors["BF16.same"][2] + noise(99, 200))
    return files.of_safetensors(tensors, [b"", b"gap"] if fine else [], pad=3 if fine else 0)


def eights() -> files.Tensors:
    dtypes = ("F8_E4M3", "F8_E5M2")
    return {dtype: (dtype, (7001,), filled(dtype, (7001,), 11)) for dtype in dtypes}


_WIDTHS: Final = {"BF16": 2, "F16": 2, "F32": 4, "F8_E4M3": 1, "F8_E5M2": 1, "I32": 4, "U8": 1}

BLOBS: Final[dict[str, Callable[[], bytes]]] = {
    "empty": lambda: b"",
    "one-byte": lambda: b"x",
    "opaque": lambda: skewed(1, 3000),
    "stored": lambda: noise(1, 3000),
    "constant": lambda: one("I16", 40_000, 0, b"\x34\x12" * 40_000),
    "two-blocks": lambda: one("U8", 262_144 + 5, 0, b"ab" * 131_072 + skewed(2, 5)),
    "bf16": lambda: one("BF16", 3001, 1),
    "bf16-long": lambda: one("BF16", 33_000, 2),
    "f16": lambda: one("F16", 3001, 3),
    "f32": lambda: one("F32", 2001, 4),
    "f32-leaves": lambda: one("F32", 2001, 5, without_low_bytes(filled("F32", (2001,), 5))),
    "f8-e4m3": lambda: one("F8_E4M3", 5001, 6),
    "f8-e5m2": lambda: one("F8_E5M2", 5001, 7),
    "words16": lambda: one("U16", 2001, 8),
    "words32": lambda: one("I32", 1001, 9),
    "words64": lambda: one("F64", 1001, 10),
    "quantised": lambda: quantised(contexts=False),
    "quantised-contexts": lambda: quantised(contexts=True),
    "base": lambda: model(fine=False),
    "thin": lambda: model(fine=True),
    "thin-two-bases": lambda: files.of_safetensors(
        {
            "w": ("BF16", (3000,), tuned(filled("BF16", (3000,), 1)[:6000], 2, 5)),
            "F32.near": ("F32", (7, 100), filled("F32", (8, 100), 3)[:2800]),
        }
    ),
    "thin-long": lambda: one("BF16", 33_000, 0, by_exponent(filled("BF16", (33_000,), 2), 6)),
    "f8": lambda: files.of_safetensors(eights()),
    "thin-f8": lambda: files.of_safetensors(
        {name: (d, shape, tuned(raw, 1, 8, every=2)) for name, (d, shape, raw) in eights().items()}
    ),
    "thin-opaque": lambda: edited(skewed(1, 3000), 1, 3) + b"more",
    **golden_limits.BLOBS,
}
"""name: the blob."""

BASES: Final = {
    "thin": ("base",),
    "thin-two-bases": ("bf16", "base"),
    "thin-long": ("bf16-long",),
    "thin-f8": ("f8",),
    "thin-opaque": ("opaque",),
    **golden_limits.BASES,
}
"""name of a delta capsule: the blobs that it depends on."""


def bases(name: str) -> list[bytes]:
    return [BLOBS[base]() for base in BASES.get(name, ())]


def main() -> None:
    os.makedirs(FOLDER, exist_ok=True)
    for name, make in BLOBS.items():
        place = os.path.join(FOLDER, name + ".olc")
        if not os.path.exists(place):
            with open(place, "wb") as file:
                file.write(files.encode(make(), bases(name)))


if __name__ == "__main__":
    main()
