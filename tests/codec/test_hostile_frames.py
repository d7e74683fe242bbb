"""Directories and trailers that no encoder wrote, with correct checksums: the reader and the
reference refuse the same ones, before they take any memory for what they claim.
"""

import hashlib
import random
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlast.codec import format as fmt
from outlast.codec.memory import InMemory
from outlast.codec.reader import CapsuleReader, read_directory
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError, NotArchivedError
from tests.codec import files, reference
from tests.codec.reference.xxh3 import xxh3

BASE = bytes(range(256)) * 4
NAMED = hashlib.sha256(BASE).digest()
Span = tuple[int, int, int, int, int]
Entry = tuple[int, int, bytes]


def capsule(
    blob_size: int,
    spans: Sequence[Span],
    entries: Sequence[Entry],
    bases: Sequence[tuple[bytes, int]] = ((NAMED, len(BASE)),),
    **changed: int,
) -> bytes:
    """Spans are (kind, base, 0, length, offset), entries (tag, size, payload). `changed` are fields
    of the trailer.
    """
    directory = b"".join(struct.pack("<32sQ", *base) for base in bases)
    directory += b"".join(struct.pack("<BBHQQ", *span) for span in spans)
    directory += b"".join(
        struct.pack("<IQ", tag << 24 | size, xxh3(payload)) for tag, size, payload in entries
    )
    given = {"base_count": len(bases), "span_count": len(spans), "version": 1}
    given |= {"blocks": len(entries), "zero": 0, "size": len(directory), "blob": blob_size}
    given |= changed
    trailer = struct.pack(
        "<8sHHIIIQQ32sQ",
        b"OLC.END\n",
        given["version"],
        given["zero"],
        given["base_count"],
        given["span_count"],
        given["blocks"],
        given["size"],
        given["blob"],
        bytes(32),
        xxh3(directory),
    )
    trailer += struct.pack("<Q", xxh3(trailer))
    payloads = b"".join(payload for _, _, payload in entries)
    return fmt.HEAD + payloads + 2 * directory + 2 * trailer


def outcome(data: bytes) -> bytes | None:
    """The blob that both find in a capsule; None where both refuse it."""
    bases = {Digest(NAMED.hex()): InMemory(BASE)}
    found: list[bytes | None] = []
    try:
        opened = CapsuleReader(InMemory(data), bases)
        found.append(files.read(opened, 0, opened.size))
    except (MalformedError, CorruptError, NotArchivedError):  # a base may have another name now
        found.append(None)
    try:
        other = reference.Capsule(data, {NAMED.hex(): BASE})
        found.append(other.read(0, other.size))
    except reference.DamagedError:
        found.append(None)
    assert found[0] == found[1]
    return found[0]


def stored(size: int) -> Entry:
    return 0, size, bytes(size)


SAME = xxh3(BASE).to_bytes(8, "little")


def test_what_is_right() -> None:
    assert outcome(capsule(0, [], [])) == b""
    assert outcome(capsule(5, [(0, 0, 0, 5, 0)], [stored(5)])) == bytes(5)
    assert outcome(capsule(5, [(0, 0, 0, 2, 0), (0, 1, 0, 3, 9)], [stored(2), stored(3)])) == bytes(
        5
    )
    assert outcome(capsule(1024, [(0, 1, 0, 1024, 0)], [(2, 8, SAME)])) == BASE


@pytest.mark.parametrize(
    "data",
    [
        capsule(5, [(9, 0, 0, 5, 0)], [stored(5)]),
        capsule(5, [(24, 0, 0, 5, 0)], [stored(5)]),
        capsule(5, [(0, 0, 1, 5, 0)], [stored(5)]),
        capsule(5, [(1, 0, 0, 5, 0)], [stored(5)]),
        capsule(0, [(0, 0, 0, 0, 0)], []),
        capsule(5, [(0, 2, 0, 5, 0)], [stored(5)]),
        capsule(5, [(0, 0, 0, 5, 1)], [stored(5)]),
        capsule(5, [(0, 1, 0, 5, 1020)], [stored(5)]),
        capsule(5, [(0, 1, 0, 5, 2**64 - 3)], [stored(5)]),
        capsule(6, [(0, 0, 0, 5, 0)], [stored(5)]),
        capsule(4, [(0, 0, 0, 5, 0)], [stored(5)]),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5), stored(0)]),
        capsule(5, [(0, 0, 0, 5, 0)], []),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(6)]),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(4)]),
        capsule(5, [(0, 0, 0, 5, 0)], [(5, 5, bytes(5))]),
        capsule(5, [(0, 0, 0, 5, 0)], [(2, 5, bytes(5))]),
        capsule(5, [(0, 0, 0, 5, 0)], [(3, 5, bytes(5))]),
        capsule(1024, [(0, 1, 0, 1024, 0)], [(2, 0, b"")]),
        capsule(1024, [(0, 1, 0, 1024, 0)], [(2, 7, SAME[:7])]),
        capsule(1024, [(0, 1, 0, 1024, 0)], [(2, 9, SAME + b"\0")]),
        capsule(1024, [(0, 1, 0, 1024, 0)], [(2, 8, SAME[::-1])]),
        capsule(1024, [(0, 1, 0, 1024, 0)], [(3, 10, SAME + b"\1a")]),
        capsule(5, [(0, 0, 0, 5, 0)], [(0, 6, bytes(5))]),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], version=2),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], zero=1),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], blob=2**63),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], base_count=2),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], size=2**40),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], size=0),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], blocks=2, size=40 + 20 + 2 * 12),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], blocks=999, size=40 + 20 + 999 * 12),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], [(NAMED, 1024)] * 256),
        capsule(2**62, [(8, 0, 0, 2**62, 0)], []),
        capsule(2**62, [(8, 0, 0, 2**62, 0)], [stored(5)]),
        capsule(2**62, [(8, 1, 0, 2**62, 0)], [stored(5)], [(NAMED, 2**63)]),
        capsule(5, [(0, 0, 0, 5, 0)], [stored(5)], blocks=2**32 - 1, span_count=2**32 - 1),
        capsule(5, [(0, 1, 0, 5, 0)], [(2, 8, SAME)]),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert outcome(data) is None
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_base_of_another_size_is_not_taken() -> None:
    data = capsule(1024, [(0, 1, 0, 1024, 0)], [(2, 8, SAME)], [(NAMED, 1025)])
    opened = CapsuleReader(InMemory(data), {Digest(NAMED.hex()): InMemory(BASE)})
    with pytest.raises(Exception, match="depends on"):
        files.read(opened, 0, 1)
    with pytest.raises(reference.DamagedError, match="not here"):
        reference.decode_range(data, 0, 1, {NAMED.hex(): BASE})


@given(
    kind=st.sampled_from((0, 1, 3, 9, 16, 255)),
    base=st.integers(0, 2),
    length=st.sampled_from((0, 1, 4, 34, 1024, 262_144, 262_145, 2**63)),
    offset=st.sampled_from((0, 1, 1000, 2**64 - 1)),
    entries=st.lists(st.tuples(st.integers(0, 6), st.sampled_from((0, 1, 4, 8, 34))), max_size=3),
)
def test_any_span(
    kind: int, base: int, length: int, offset: int, entries: list[tuple[int, int]]
) -> None:
    given = [(tag, size, bytes(size)) for tag, size in entries]
    outcome(capsule(length % 2**63, [(kind, base, 0, length, offset)], given))


@given(seed=st.integers(0, 1 << 32))
@example(seed=2602248)  # the name of the base is changed, and a block needs one
def test_any_directory(seed: int) -> None:
    """A real one with a few bytes changed, and checksums that hold all the same."""
    rng = random.Random(seed)
    spans = [(0, 0, 0, 5, 0), (3, 1, 0, 64, 4), (1, 0, 0, 10, 0)]
    whole = capsule(79, spans, [stored(5), stored(64), stored(10)])
    size, blocks = struct.unpack_from("<QI", whole, len(whole) - 64)[0], 3
    assert blocks == struct.unpack_from("<I", whole, len(whole) - 68)[0]
    directory = bytearray(whole[-176 - size : -176])
    trailer = bytearray(whole[-88:])
    for _ in range(1 + rng.randrange(3)):
        part = rng.choice((directory, directory, trailer))
        part[rng.randrange(len(part) if part is directory else 72)] = rng.choice((0, 1, 2, 5, 255))
    trailer[72:80] = xxh3(bytes(directory)).to_bytes(8, "little")
    trailer[80:] = xxh3(bytes(trailer[:80])).to_bytes(8, "little")
    outcome(whole[: -176 - 2 * size] + bytes(2 * directory + 2 * trailer))


class Hollow:
    """The end of a capsule, whose head, payloads and directories are in no memory: a reader that
    asks for them has passed the bounds.
    """

    def __init__(self, directory: int, trailers: bytes) -> None:
        self.size = len(fmt.HEAD) + 2 * directory + len(trailers)
        self._trailers = trailers

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        at = start - self.size + len(self._trailers)
        if at < 0:
            raise PassedError(stop - start)
        return self._trailers[at : at + stop - start]

    def readinto(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self[offset : offset + len(buffer)]


class PassedError(Exception):
    """Bytes of a directory were asked for."""


@pytest.mark.parametrize("over", [0, 1])
def test_a_directory_of_more_than_128_mib_is_not_read(over: int) -> None:
    """Of bases (40 bytes), spans (20) and entries (12): 2**27 bytes to the byte, then 4 more."""
    bases, spans, blocks = {0: (0, 1, 11_184_809), 1: (0, 0, 11_184_811)}[over]
    size = 40 * bases + 20 * spans + 12 * blocks
    assert size == 2**27 + 4 * over
    changed = {"base_count": bases, "span_count": spans, "blocks": blocks, "size": size}
    hollow = Hollow(size, capsule(0, [], [], (), **changed)[-2 * fmt.TRAILER_BYTES :])
    expected: dict[str, type[Exception]] = {"reader": PassedError, "reference": PassedError}
    if over:
        expected = {"reader": MalformedError, "reference": reference.DamagedError}
    with pytest.raises(expected["reader"], match="exceeds" if over else str(size)):
        read_directory(hollow)
    with pytest.raises(expected["reference"], match="exceeds" if over else str(size)):
        reference.Capsule(cast("bytes", hollow))


def test_the_reference_needs_the_standard_library_alone(tmp_path: Path) -> None:
    """Copied to a folder of its own, and run without anything that is installed."""
    folder = Path(reference.__file__).parent
    shutil.copytree(folder, tmp_path / "reference", ignore=shutil.ignore_patterns("__pycache__"))
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import reference
for name in sys.modules:
    top = name.partition(".")[0]
    assert top in sys.stdlib_module_names | {{"reference", "__main__"}}, name
capsule = bytes.fromhex({files.encode(BASE).hex()!r})
sys.stdout.buffer.write(reference.decode(capsule))
"""
    alone = [sys.executable, "-I", "-S", "-c", code]
    assert subprocess.run(alone, check=True, capture_output=True).stdout == BASE
