"""One flipped byte in a capsule: it is found, it is named, and it costs its block alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from outlast.codec import format as fmt
from outlast.codec.format import Block
from outlast.codec.layout import KINDS
from outlast.codec.memory import InMemory
from outlast.codec.reader import CapsuleReader
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError
from tests.campaign import SEED, rounds
from tests.codec import files, weights

FLIPS = rounds(300, 10_000)
# What a block may be, (kind of tensor, how its base differs), and the tag that it then has.
FORMS = {
    "noise": ("U8", "random", "none", fmt.STORED),
    "plain": ("BF16", "skewed", "none", fmt.PLANES),
    "constant": ("F32", "constant", "none", fmt.PLANES),
    "short": ("F32", "short leaves", "none", fmt.LEAVES),
    "same": ("F16", "skewed", "equal", fmt.SAME),
    "near": ("BF16", "skewed", "near", fmt.DIFFERENCE),
    "near32": ("F32", "skewed", "near", fmt.DIFFERENCE),
    "edited": ("F16", "skewed", "leaves changed", fmt.LEAVES),
}


def models() -> tuple[bytes, bytes]:
    """A blob whose capsule takes about 1 MB, and its base."""
    rng, ours, base = random.Random(3), {}, {}
    for name, (dtype, style, like, _) in FORMS.items():
        for i, count in enumerate((30_000, 6_000, 700)):
            raw = files.filled(rng, dtype, (count,), style)
            ours[f"{name}{i}"] = (dtype, (count,), raw)
            other = weights.BASES[like](rng, KINDS.get(dtype, 0), raw)
            if other is not None:
                base[f"{name}{i}"] = (dtype, (count,), other)
    noise = rng.randbytes(600_000)
    ours["long"] = ("U8", (600_000,), noise)
    return files.of_safetensors(ours, [b"", b"-"], b"end"), files.of_safetensors(base)


@dataclass(frozen=True)
class Specimen:
    """A capsule of every form, and what is in it when it is whole."""

    blob: bytes
    base: bytes
    capsule: bytes
    whole: CapsuleReader
    blocks: list[Block]

    def opened(self, capsule: bytes | bytearray) -> CapsuleReader:
        return CapsuleReader(InMemory(capsule), {Digest.of(self.base): InMemory(self.base)})

    def struck(self, at: int) -> Block | None:
        """The block whose payload has this byte."""
        for block in self.blocks:
            if block.payload_offset <= at < block.payload_offset + block.payload_length:
                return block
        return None

    def check_block(self, opened: CapsuleReader, block: Block) -> None:
        expected = self.blob[block.offset : block.offset + block.length]
        assert files.read(opened, block.offset, block.length) == expected


@pytest.fixture(scope="module")
def made() -> Specimen:
    blob, base = models()
    capsule = files.encode(blob, (base,))
    whole = files.reader(capsule, (base,))
    return Specimen(blob, base, capsule, whole, list(whole.directory.blocks()))


def positions(made: Specimen) -> Iterator[tuple[int, int]]:
    """Where to flip, and which bits: anywhere, and as often in the small parts that matter most."""
    rng = random.Random(SEED)
    end = made.whole.directory.payload_end
    for _ in range(FLIPS // 2):
        yield rng.randrange(len(made.capsule)), rng.randrange(1, 256)
    for i in range(FLIPS - FLIPS // 2):
        if i % 2:
            block = rng.choice(made.blocks)
            at = block.payload_offset + rng.randrange(min(300, block.payload_length))
        else:
            at = rng.choice((rng.randrange(len(fmt.HEAD)), rng.randrange(end, len(made.capsule))))
        yield at, 1 << rng.randrange(8)


def part(directory: fmt.Directory, at: int) -> str:
    """What `damage` calls the part with this byte."""
    if at < len(fmt.HEAD):
        return "the head"
    size, trailer = directory.packed_size, fmt.TRAILER_BYTES
    at -= directory.payload_end
    ends = (
        (size, "the first directory"),
        (2 * size, "the second directory"),
        (2 * size + trailer, "the first trailer"),
        (2 * size + 2 * trailer, "the second trailer"),
    )
    return next(name for end, name in ends if at < end)


def test_the_capsule_has_every_form(made: Specimen) -> None:
    assert {block.tag for block in made.blocks} == {tag for _, _, _, tag in FORMS.values()}
    assert 700_000 < len(made.capsule) < 1_300_000


@pytest.mark.torture
def test_every_flip_is_found(made: Specimen) -> None:
    rng = random.Random(SEED)
    damaged = bytearray(made.capsule)
    for at, bits in positions(made):
        damaged[at] ^= bits
        opened = made.opened(damaged)
        block = made.struck(at)
        found = list(opened.damage())
        if block is None:
            assert found == [part(made.whole.directory, at)]
            others = rng.choices(made.blocks, k=4)
        else:
            end = block.offset + block.length
            assert found == [f"block {block.number} (bytes {block.offset} to {end})"]
            with pytest.raises(CorruptError, match=f"^block {block.number} of"):
                files.read(opened, rng.randrange(block.offset, end), 1)
            others = [b for b in rng.choices(made.blocks, k=4) if b != block]
            others += [b for b in made.blocks if abs(b.number - block.number) == 1]
        for other in others:
            made.check_block(opened, other)
        damaged[at] ^= bits
    assert damaged == made.capsule


def test_all_others_stay_readable(made: Specimen) -> None:
    for block in made.blocks[::5]:
        damaged = bytearray(made.capsule)
        damaged[block.payload_offset + block.payload_length // 2] ^= 1
        opened = made.opened(damaged)
        for other in made.blocks:
            if other != block:
                made.check_block(opened, other)
        reference = files.reference_capsule(bytes(damaged), (made.base,))
        assert list(reference.damage()) == [f"block {block.number}"]


def test_two_copies_of_each_part_are_enough(made: Specimen) -> None:
    """One byte of each copy, but never of both copies of one part."""
    directory = made.whole.directory
    size = directory.packed_size
    for which in (0, 1):
        damaged = bytearray(made.capsule)
        damaged[3] ^= 1
        damaged[directory.payload_end + which * size + 5] ^= 1
        damaged[directory.payload_end + 2 * size + (1 - which) * fmt.TRAILER_BYTES + 20] ^= 1
        opened = made.opened(damaged)
        assert files.read(opened, 0, len(made.blob)) == made.blob
        assert len(list(opened.damage())) == 3


def test_a_cut_or_grown_capsule_is_refused(made: Specimen) -> None:
    whole = made.capsule
    for other in (whole[:-1], whole[1:], whole + b"\0", b"\0" + whole, whole[:90], b""):
        with pytest.raises(Exception, match="capsule"):
            made.opened(other)
