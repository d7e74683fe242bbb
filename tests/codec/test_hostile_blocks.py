"""Payloads that no encoder made: each path of the kernels and the reference refuse the same ones,
and decode the others to the same bytes.
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec import format as fmt
from outlast.codec import kernels
from tests.campaign import examples
from tests.codec import weights
from tests.codec.reference import blocks as reference_blocks
from tests.codec.reference.kinds import KINDS

PATHS = kernels.paths()


def outcome(kind: int, tag: int, payload: bytes, base: bytes | None, size: int) -> bytes | None:
    """What all make of a payload; None where all refuse it."""
    found = []
    for path in PATHS:
        with weights.path(path):
            try:
                found.append(weights.decode(kind, tag, payload, base, size))
            except kernels.DamagedError:
                found.append(b"")
    try:
        found.append(reference_blocks.decode_block(KINDS[kind], tag, payload, base, size))
    except reference_blocks.DamagedError:
        found.append(b"")
    assert found == [found[0]] * len(found)
    return found[0] or None


def mutated(rng: random.Random, payload: bytes) -> bytes:
    """Damaged in one of the ways in which bytes are damaged."""
    data = bytearray(payload)
    at = rng.randrange(len(data)) if data else 0
    match rng.randrange(8):
        case 0:
            del data[at:]
        case 1:
            data += rng.randbytes(1 + rng.randrange(300))
        case 2:
            del data[at : at + 1 + rng.randrange(4)]
        case 3:
            data[at:at] = rng.randbytes(1 + rng.randrange(4))
        case 4 if data:
            data[rng.randrange(min(16, len(data)))] = rng.choice((0, 1, 2, 3, 4, 127, 128, 255))
        case 5 if data:
            data[at] ^= 1 << rng.randrange(8)
        case 6:
            data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", bytes(4), b"\0\0\0\x80"))
        case _:
            for _ in range(10):
                data[at : at + 1] = rng.randbytes(1)
                at = rng.randrange(len(data))
    return bytes(data)


@pytest.mark.parametrize("kind", weights.KINDS)
@examples(8)
@given(
    count=st.sampled_from((1, 3, 64, 127, 128, 129, 400, 1000)),
    style=st.sampled_from(("skewed", "few symbols", "short leaves", "constant")),
    like=st.sampled_from(tuple(weights.BASES)),
    seed=st.integers(0, 1 << 32),
)
def test_mutated_payloads(kind: int, count: int, style: str, like: str, seed: int) -> None:
    rng = random.Random(seed)
    data = weights.STYLES[style](rng, kind, max(1, min(count, 4000 // fmt.SHAPES[kind][0])))
    base = weights.BASES[like](rng, kind, data)
    tag, payload = weights.encode(kind, data, base)
    for _ in range(8):
        payload = mutated(rng, payload)
        outcome(kind, tag, payload, base, len(data))
    outcome(kind, rng.randrange(7), payload, base, len(data))


@given(
    kind=st.sampled_from(weights.KINDS),
    tag=st.integers(0, 6),
    payload=st.binary(max_size=600),
    count=st.sampled_from((1, 2, 127, 128, 129, 300)),
    based=st.booleans(),
)
def test_random_payloads(kind: int, tag: int, payload: bytes, count: int, based: bool) -> None:
    size = fmt.SHAPES[kind][0] * max(1, min(count, 4000 // fmt.SHAPES[kind][0]))
    base = (bytes(range(256)) * (size // 256 + 1))[:size] if based else None
    outcome(kind, tag, payload, base, size)


# ---------------------------------------------------------------- what is right and what is not

TABLE = b"\x00\x01" + (2048 | 2048 << 12).to_bytes(3, "little")
STATES = (1 << 16).to_bytes(4, "little") * 64


def coded(
    table: bytes = TABLE, words: bytes = b"", states: bytes = STATES, length: int | None = None
) -> bytes:
    """A coded plane."""
    count = len(words) // 2 if length is None else length
    return b"\x02" + table + count.to_bytes(4, "little") + states + words


def refused(
    payload: bytes, size: int = 64, tag: int = fmt.PLANES, base: bytes | None = None
) -> bool:
    return outcome(fmt.BYTES, tag, payload, base, size) is None


def symbols(first: int, *frequencies: int) -> bytes:
    packed = sum(f << 12 * i for i, f in enumerate(frequencies))
    size = (12 * len(frequencies) + 7) // 8
    return bytes((first, first + len(frequencies) - 1)) + packed.to_bytes(size, "little")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\x01",
        b"\x02",
        b"\x03",
        b"\x04" + bytes(64),
        b"\x00" + bytes(63),
        b"\x00" + bytes(65),
        b"\x01A\x00",
        b"\x03\x01A",
        coded()[:100],
        coded(symbols(0, 2048, 2047)),
        coded(symbols(0, 4095)),
        coded(symbols(0, 2048, 2048, 1)),
        coded(b"\x01\x00" + bytes(3)),
        coded(b"\x41\x41"),
        coded(symbols(0, 2048, 2047, 1)[:-1] + b"\x10"),
        coded(symbols(0, 0, 0)),
        coded(length=1),
        coded(length=0xFFFFFFFF),
        coded(words=b"\x00\x00"),
    ],
)
def test_planes_that_are_refused(payload: bytes) -> None:
    assert refused(payload)


def test_words_are_neither_left_nor_missing() -> None:
    data = bytes(random.Random(2).choices((6, 8), (3, 1), k=900))
    _, payload = weights.encode(fmt.BYTES, data, None)
    start = 8
    count = int.from_bytes(payload[start : start + 4], "little")
    words = payload[start + 4 + 256 :]
    assert len(words) == 2 * count > 0
    for changed in (words, words + b"\0\0", words + words[:2], words[:-2], words[2:]):
        other = payload[:start] + (len(changed) // 2).to_bytes(4, "little")
        other += payload[start + 4 : start + 4 + 256] + changed
        expected = data if changed is words else None
        assert outcome(fmt.BYTES, fmt.PLANES, other, None, 900) == expected


def test_no_frequency_of_zero_stands_at_an_end() -> None:
    data = bytes(random.Random(1).choices((6, 8), k=500))
    _, payload = weights.encode(fmt.BYTES, data, None)
    assert payload[:3] == b"\x02\x06\x08"
    found = frequencies(payload[1:])
    assert found[1] == 0
    for first, table in ((6, found), (5, [0, *found]), (6, [*found, 0])):
        wider = b"\x02" + symbols(first, *table) + payload[8:]
        expected = data if table is found else None
        assert outcome(fmt.BYTES, fmt.PLANES, wider, None, 500) == expected


def frequencies(table: bytes) -> list[int]:
    count = table[1] - table[0] + 1
    packed = int.from_bytes(table[2 : 2 + (12 * count + 7) // 8], "little")
    return [packed >> 12 * i & 4095 for i in range(count)]


@pytest.mark.parametrize("tag", [fmt.SAME, fmt.DIFFERENCE, 5, 6, 255])
def test_forms_that_are_refused(tag: int) -> None:
    assert refused(b"", tag=tag)
    assert refused(b"\x00\x01A", tag=tag, base=bytes(64))


def test_groups_of_leaves_that_are_refused() -> None:
    base, size = bytes(range(256)), 256
    ours = bytes(128)

    def leaves(tags: bytes, first: int, marks: int, rest: bytes) -> bool:
        payload = tags + first.to_bytes(4, "little") + bytes((marks,)) + rest
        return refused(payload, size, fmt.LEAVES, base)

    assert not leaves(b"\x00\x02", 128, 2, ours)
    assert not leaves(b"\x02\x00", 0, 1, ours)
    assert not leaves(b"\x01\x02", 2, 2, b"\x01A")
    assert leaves(b"\x00\x02", 128, 0, ours + ours)
    assert leaves(b"\x00\x02", 128, 3, ours)
    assert leaves(b"\x00\x02", 128, 6, ours)
    assert leaves(b"\x00\x02", 129, 2, ours)
    assert leaves(b"\x00\x02", 127, 2, ours)
    assert leaves(b"\x00\x02", 128, 2, ours + b"\x00")
    assert leaves(b"\x04\x02", 128, 2, ours)
    assert leaves(b"\x03\x02", 2, 2, b"\x01A")
    assert refused(b"\x00\x02\x80\x00\x00", size, fmt.LEAVES, base)
    assert refused(b"\x00\x02\x80\x00\x00\x00\x02" + ours, size, fmt.LEAVES)


def test_differences_that_are_refused() -> None:
    base = bytes(128)

    def difference(payload: bytes) -> bytes | None:
        return outcome(fmt.BF16, fmt.DIFFERENCE, payload, base, 128)

    none = bytes(4)
    assert difference(b"\x00\x01\x00" + none) == base
    assert difference(b"\xff\x03\x01\x00" + none) == base  # all in the last context
    assert difference(b"\x00\x01\xff\x40\0\0\0" + b"\x01\x00" * 2) == base
    assert difference(b"\x00\x01\x00") is None
    assert difference(b"\x00\x01\x00" + none + b"\x00") is None
    assert difference(b"\x00\x01\x00" + b"\x01\0\0\0" + b"\x01\x00" * 2) is None
    assert difference(b"\x00\x01\xff" + none) is None
    assert difference(b"\x00\x01\xff\x3f\0\0\0" + b"\x01\x00" * 2) is None
    assert difference(b"\x00\x01\xff\x41\0\0\0" + b"\x01\x00" * 2) is None
    assert difference(b"\x00\x01\xff\x40\0\0\0" + b"\x03\x01\x00" * 2) is None
