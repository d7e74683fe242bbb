"""Blocks: every path of the kernels encodes to the same bytes, and what it encodes is decoded by
every path and by the reference.
"""

import itertools
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlast.codec import format as fmt
from outlast.codec import kernels
from tests.campaign import LONG, examples
from tests.codec import weights
from tests.codec.reference import blocks as reference_blocks
from tests.codec.reference.kinds import KINDS

PATHS = kernels.paths()
COUNTS = (1, 2, 3, 31, 63, 64, 65, 127, 128, 129, 255, 600, 1500)


def check(kind: int, data: bytes, base: bytes | None) -> tuple[int, bytes]:
    """Holds the paths to each other and to the reference; returns the block."""
    encoded = []
    for path in PATHS:
        with weights.path(path):
            encoded.append(weights.encode(kind, data, base))
    tag, payload = encoded[0]
    assert encoded == [encoded[0]] * len(PATHS)
    assert len(payload) <= len(data)
    for path in PATHS:
        with weights.path(path):
            assert weights.decode(kind, tag, payload, base, len(data)) == data
    restored = reference_blocks.decode_block(KINDS[kind], tag, payload, base, len(data))
    assert restored == data
    return tag, payload


def made(kind: int, count: int, style: str, like: str, seed: int) -> tuple[bytes, bytes | None]:
    rng = random.Random(seed)
    data = weights.STYLES[style](rng, kind, count)
    assert len(data) == fmt.SHAPES[kind][0] * count
    return data, weights.BASES[like](rng, kind, data)


def test_the_reference_knows_the_same_kinds() -> None:
    assert tuple(KINDS) == weights.KINDS
    for number, kind in KINDS.items():
        assert fmt.SHAPES[number] == kernels.shape(number) == (kind.element, kind.block)


@pytest.mark.parametrize("kind", weights.KINDS)
@examples(8)
@given(
    count=st.sampled_from(COUNTS),
    style=st.sampled_from(tuple(weights.STYLES)),
    like=st.sampled_from(tuple(weights.BASES)),
    seed=st.integers(0, 1 << 32),
)
def test_there_and_back(kind: int, count: int, style: str, like: str, seed: int) -> None:
    count = max(1, min(count, 6000 // fmt.SHAPES[kind][0]))
    data, base = made(kind, count, style, like, seed)
    tag, payload = check(kind, data, base)
    if data == base:
        assert (tag, payload) == (fmt.SAME, b"")


@pytest.mark.parametrize("kind", weights.KINDS)
@examples(8)
@given(data=st.binary(min_size=1, max_size=700), other=st.binary(min_size=1, max_size=700))
def test_any_bytes(kind: int, data: bytes, other: bytes) -> None:
    size = fmt.SHAPES[kind][0]
    data = data + bytes(-len(data) % size)
    check(kind, data, None)
    check(kind, data, (other * (1 + len(data) // len(other)))[: len(data)])


@pytest.mark.torture
@pytest.mark.parametrize("style", weights.STYLES)
@pytest.mark.parametrize("kind", weights.KINDS)
def test_each_style_of_each_kind(kind: int, style: str) -> None:
    """Short, each style of each kind has one base, and each base is one of every kind's."""
    likes = tuple(weights.BASES)
    turn = weights.KINDS.index(kind) + tuple(weights.STYLES).index(style)
    for like in likes if LONG else [likes[turn % len(likes)]]:
        check(kind, *made(kind, 500 if fmt.SHAPES[kind][0] < 18 else 20, style, like, 7))


# Around 2**15 symbols the number of lanes changes; 2**16 is where noise is sampled.
LENGTHS = (32767, 32768, 32769, 65535, 65536, 70001)
LONG_KINDS = (fmt.BYTES, *weights.FLOATS, fmt.WORDS16)
EACH_LENGTH = [(fmt.BF16, count) for count in LENGTHS]
EACH_LENGTH += [(kind, 32769) for kind in LONG_KINDS if kind != fmt.BF16]
ALL_LONG = list(itertools.product(LONG_KINDS, LENGTHS))


@pytest.mark.torture
@pytest.mark.parametrize(("kind", "count"), ALL_LONG if LONG else EACH_LENGTH)
def test_long_blocks(kind: int, count: int) -> None:
    for style, like in (("skewed", "none"), ("short leaves", "near")):
        if kind == fmt.F32 and like == "near" and count > 32768:
            continue
        check(kind, *made(kind, count, style, like, count))


@pytest.mark.parametrize("kind", [kind for kind in weights.KINDS if kind >= fmt.Q8_0])
def test_long_blocks_of_quantised_kinds(kind: int) -> None:
    size = fmt.SHAPES[kind][0]
    count = 70_000 // (256 if size > 34 else 32)
    tag, _ = check(kind, *made(kind, count, "skewed", "none", 3))
    assert tag == fmt.PLANES


@pytest.mark.parametrize("kind", weights.KINDS)
def test_full_blocks_on_every_path(kind: int) -> None:
    size, count = fmt.SHAPES[kind]
    rng = random.Random(kind)
    table = bytes(min(255, int(rng.expovariate(0.2))) for _ in range(256))
    data = rng.randbytes(size * count).translate(table)
    base = bytearray(data)
    for _ in range(3000):
        base[rng.randrange(len(base))] ^= rng.randrange(256)
    for like in (None, bytes(base)):
        encoded = set()
        for path in PATHS:
            with weights.path(path):
                encoded.add(weights.encode(kind, data, like))
        [(tag, payload)] = encoded
        assert len(payload) < len(data)
        for path in PATHS:
            with weights.path(path):
                assert weights.decode(kind, tag, payload, like, len(data)) == data


@pytest.mark.parametrize("kind", weights.FLOATS)
def test_differences_of_every_size(kind: int) -> None:
    """From each of some numbers to each number of the kind, or to some where there are many."""
    size, rng = fmt.SHAPES[kind][0], random.Random(kind)
    bits = 8 * size
    for start in (0, 1, 1 << (bits - 1), (1 << bits) - 1, rng.randrange(1 << bits)):
        if size == 1:
            ends = list(range(256))
        else:
            ends = [(start + step) % (1 << bits) for step in range(-300, 300)]
            ends += [rng.randrange(1 << bits) for _ in range(100)]
        data = b"".join(end.to_bytes(size, "little") for end in ends)
        check(kind, data, start.to_bytes(size, "little") * len(ends))


@given(
    kind=st.sampled_from(weights.KINDS),
    seeds=st.lists(st.integers(0, 255), min_size=1, max_size=12),
)
@example(kind=fmt.F32, seeds=[0])
def test_a_workspace_remembers_nothing(kind: int, seeds: list[int]) -> None:
    space = kernels.Workspace()
    for seed in seeds:
        rng = random.Random(seed)
        count = 1 + rng.randrange(3000 // fmt.SHAPES[kind][0])
        style, like = rng.choice(tuple(weights.STYLES)), rng.choice(tuple(weights.BASES))
        data, base = made(kind, count, style, like, seed)
        out, back = bytearray(len(data)), bytearray(len(data))
        tag, length = kernels.encode_block(space, kind, data, base, out)
        assert (tag, bytes(out[:length])) == weights.encode(kind, data, base)
        kernels.decode_block(space, kind, tag, out[:length], base, back)
        assert back == data
