"""A GGUF header is taken for what it says, or for nothing."""

import ctypes
import struct
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.claims import BLOCKS, MAX_HEADER_BYTES, CutShortError, OpaqueError
from outlast.codec.cursor import WINDOW_BYTES
from outlast.codec.gguf import MAX_KEPT_BYTES, TYPES, read_header
from outlast.codec.tensors import Container, Tensor, parse
from tests.codec.container_files import (
    ARRAY,
    TEXT,
    U8,
    U32,
    Blob,
    array,
    gguf,
    parsed,
    tensor,
    text,
    u32,
)

ALIGNMENT = "general.alignment"
GOLDEN = (
    b"GGUF\x03\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"
    b"\x11\0\0\0\0\0\0\0general.alignment\x04\0\0\0\x08\0\0\0"
    b"\x01\0\0\0\0\0\0\0b\x02\0\0\0\x20\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x08\0\0\0\x10\0\0\0\0\0\0\0"
    b"\x01\0\0\0\0\0\0\0a\x01\0\0\0\x03\0\0\0\0\0\0\0\x1e\0\0\0\0\0\0\0\0\0\0\0"
    b"PADDI"
    b"\x01\x02\x03\x04\x05\x06.........."
    b"32 weights of 8 bits, 2 of scale."
    b".33 weights of 8 bits, 2 of scale"
    b".."
)


def test_golden() -> None:
    assert parsed(GOLDEN) == Container(
        "gguf",
        (Tensor("a", "BF16", (3,), 136, 6), Tensor("b", "Q8_0", (2, 32), 152, 68)),
    )
    assert parsed(GOLDEN[:-1]) is None


@pytest.mark.parametrize("version", [2, 3])
def test_what_need_not_be_there(version: int) -> None:
    assert parsed(gguf(version=version)) == Container("gguf", ())
    assert parsed(gguf(version=version)[:24]) == Container("gguf", ())


@pytest.mark.parametrize("version", [0, 1, 4, 3 << 24])
def test_other_versions_are_opaque(version: int) -> None:
    assert parsed(gguf(version=version)) is None


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_types(kind: int) -> None:
    dtype, block, size = TYPES[kind]
    data = gguf(tensors=[tensor("x", [2 * block, 3], kind, 32)], data=b"\0" * (32 + 6 * size))
    container = parsed(data)
    assert container is not None
    assert container.tensors == (
        Tensor("x", dtype, (3, 2 * block), len(data) - 6 * size, 6 * size),
    )
    assert parsed(data[:-1]) is None
    if block > 1:
        part = tensor("x", [3, 2 * block], kind, 32)
        assert parsed(gguf(tensors=[part], data=b"\0" * (32 + 6 * size))) is None


def test_sizes_are_those_of_llama_cpp() -> None:
    library = ctypes.CDLL(pytest.importorskip("xllamacpp.xllamacpp").__file__)
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_name.restype = ctypes.c_char_p
    for kind, (dtype, block, size) in TYPES.items():
        assert (library.ggml_blck_size(kind), library.ggml_type_size(kind)) == (block, size)
        assert dtype in {"OTHER", library.ggml_type_name(kind).decode().upper()}


@pytest.mark.parametrize("kind", [4, 5, 31, 32, 33, 36, 37, 38, 1000, 2**32 - 1])
def test_a_tensor_of_an_unknown_type_leaves_the_others_as_they_are(kind: int) -> None:
    unknown = tensor("x", [2**60, 3], kind, 33)
    data = gguf(tensors=[unknown, tensor("y", [2], 0, 64)], data=b"\0" * 72)
    container = parsed(data)
    assert container is not None
    assert container.tensors == (Tensor("y", "F32", (2,), len(data) - 8, 8),)


def nested(depth: int, count: int = 1) -> bytes:
    """The value of a pair: an array of `count` arrays, which lie `depth` deep."""
    inner = array(U8, 1, b"x")
    for _ in range(depth - 1):
        inner = array(ARRAY, 1, inner[4:])
    return array(ARRAY, count, count * inner[4:])


@pytest.mark.parametrize(
    ("value", "opaque"),
    [
        (nested(8), False),
        (nested(9), True),
        (nested(1, 65_536), False),
        (nested(1, 65_537), True),
        (nested(2, 32_769), True),
        (array(ARRAY, 0), False),
    ],
)
def test_arrays_in_arrays_are_passed_over(value: bytes, opaque: bool) -> None:
    pairs = [("a", value), (ALIGNMENT, u32(8))]
    container = parsed(gguf(pairs, [tensor("x", [2], 0, 0)], b"\0" * 8, alignment=8))
    assert (container is None) == opaque
    if container is not None:
        assert [found.name for found in container.tensors] == ["x"]


def test_many_arrays_that_are_not_there_are_not_looked_for() -> None:
    asked = []
    head = gguf([("a", array(ARRAY, 2**62))])[:49]

    def read(at: int, length: int) -> bytes:
        asked.append(length)
        return head[at : at + length]

    assert parse(read, 1 << 40) is None
    assert sum(asked) < 2 * WINDOW_BYTES


@pytest.mark.parametrize("alignment", [1, 2, 8, 32, 64, 1 << 20])
def test_alignment(alignment: int) -> None:
    pairs = [("x", u32(1)), (ALIGNMENT, u32(alignment))]
    tensors = [tensor("x", [1], 24, 2 * alignment)]
    data = gguf(pairs, tensors, b"\0" * (2 * alignment + 1), alignment=alignment)
    container = parsed(data)
    assert container is not None
    assert container.tensors[0].offset == len(data) - 1
    if alignment > 1:
        off = [tensor("x", [1], 24, alignment // 2)]
        assert parsed(gguf(pairs, off, b"\0" * alignment, alignment=alignment)) is None


@pytest.mark.parametrize(
    "value",
    [
        u32(0),
        u32(3),
        u32(48),
        u32(1 << 21),
        u32(1 << 31),
        struct.pack("<IQ", 10, 32),
        struct.pack("<Ii", 5, 32),
        struct.pack("<I", TEXT) + text("32"),
        array(U32, 1, b"\x20\0\0\0"),
    ],
)
def test_alignments_that_are_none(value: bytes) -> None:
    assert parsed(gguf([(ALIGNMENT, value)])) is None


def test_values_do_not_matter() -> None:
    pairs = [
        ("bool", struct.pack("<IB", 7, 255)),
        ("f32", struct.pack("<If", 6, float("nan"))),
        ("i64", struct.pack("<Iq", 11, -1)),
        ("text", struct.pack("<I", TEXT) + text(b"\xff\xfe")),
        ("texts", array(TEXT, 3, text(b"\xff") + text("") + text("abc"))),
        ("none", array(TEXT, 0)),
        ("numbers", array(12, 2, b"\0" * 16)),
    ]
    tensors = [tensor("", [], 28, 0)]
    container = parsed(gguf(pairs, tensors, b"\0" * 8))
    assert container is not None
    assert container.tensors[0].shape == ()


def test_header() -> None:
    pairs = [
        ("long", struct.pack("<I", TEXT) + text("x" * (MAX_KEPT_BYTES + 1))),
        ("kept", struct.pack("<I", TEXT) + text("x" * MAX_KEPT_BYTES)),
        ("bad", struct.pack("<I", TEXT) + text(b"\xff")),
        ("array", array(U8, 2, b"ab")),
        ("number", u32(7)),
    ]
    data = gguf(pairs, [tensor("x", [5, 2], 99, 1)])
    header = read_header(Blob(data).read, len(data))
    assert header.values == {"kept": "x" * MAX_KEPT_BYTES, "bad": "\ufffd", "number": 7}
    assert header.long_texts == {"long": MAX_KEPT_BYTES + 1}
    assert header.tensors == (("x", (5, 2), 99, 1),)
    assert (header.alignment, header.data) == (32, len(data))
    with pytest.raises(CutShortError):
        read_header(Blob(data[:-60]).read, len(data) - 60)


def vocabulary(sizes: Sequence[int]) -> bytes:
    texts = b"".join(text(b"x" * size) for size in sizes)
    pairs = [("tokens", array(TEXT, len(sizes), texts)), ("n", u32(1))]
    return gguf(pairs, [tensor("x", [2], 0, 0)], b"\0" * 8)


@given(
    st.lists(
        st.one_of(
            st.integers(0, 9),
            st.integers(WINDOW_BYTES // 2, WINDOW_BYTES + 9),
            st.integers(WINDOW_BYTES - 200, WINDOW_BYTES),
        ),
        max_size=8,
    )
)
def test_windows_do_not_matter(sizes: list[int]) -> None:
    container = parsed(vocabulary(sizes))
    assert container is not None
    assert container.tensors[0].name == "x"


def test_what_is_skipped_is_not_held() -> None:
    data = vocabulary([5] * 200_000 + [4_000_000])
    numbers = gguf([("numbers", array(U8, 50_000_000, b""))])
    tracemalloc.start()
    assert parse(Blob(data).read, len(data)) is not None
    # Of 50 MB, nothing is asked for, so that it does not show that they are not there.
    assert parse(Blob(numbers).read, 1 << 30) == Container("gguf", ())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * WINDOW_BYTES


def test_the_header_has_a_bound() -> None:
    head = gguf([("x", array(U8, MAX_HEADER_BYTES - 24 - 25, b"")), ("y", u32(1))])[:49]

    def read(at: int, length: int) -> bytes:
        tail = text("y") + u32(1)
        start = MAX_HEADER_BYTES
        return tail[at - start : at - start + length] if at >= start else head[at : at + length]

    with pytest.raises(OpaqueError, match="bound"):
        read_header(read, 2 * MAX_HEADER_BYTES)


def test_counts_have_bounds() -> None:
    pairs = [(str(number), struct.pack("<IB", U8, 0)) for number in range(65_537)]
    assert parsed(gguf(pairs[:-1])) == Container("gguf", ())
    assert parsed(gguf(pairs)) is None
    with pytest.raises(OpaqueError, match="exceed the bound"):
        read_header(Blob(gguf(counts=(1_000_001, 0))).read, 1 << 40)


def test_weights_have_a_bound() -> None:
    for dimensions, opaque in (([2**53 - 1], False), ([2**52, 2], True), ([2**52 - 1, 2], False)):
        data = gguf(tensors=[tensor("x", dimensions, 24, 0)])
        assert (parse(Blob(data).read, 1 << 60) is None) == opaque


def test_texts_that_cannot_all_be_there_are_not_counted() -> None:
    head = gguf([("x", array(TEXT, 13_000_000))])[: 24 + 9 + 16]
    asked = []

    def read(at: int, length: int) -> bytes:
        asked.append(length)
        return head[at : at + length].ljust(length, b"\0")

    assert parse(read, 1 << 40) is None
    assert sum(asked) < 2 * WINDOW_BYTES


def whole() -> bytes:
    pairs = [("a", u32(1)), ("t", array(TEXT, 2, text("x") + text("yz"))), (ALIGNMENT, u32(8))]
    tensors = [tensor("w", [32, 2], 2, 0), tensor("n", [2], 0, 40), tensor("e", [0], 0, 40)]
    return gguf(pairs, tensors, b"\0" * 48, alignment=8)


WHOLE = whole()


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_cut_at_each_byte(cut: int) -> None:
    assert parsed(WHOLE[:cut]) is None
    # As when a disk returns less than the file's size promises.
    container = parse(Blob(WHOLE[:cut]).read, len(WHOLE))
    header_end = len(WHOLE) - 48 - 7
    assert container is None or cut >= header_end


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1))
def test_changed_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    parsed(bytes(data))


@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 3))
def test_any_bytes(data: bytes, tensors: int, pairs: int) -> None:
    parsed(b"GGUF" + data)
    parsed(gguf(counts=(tensors, pairs))[:24] + data)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(TYPES)),
            st.lists(st.integers(0, 3), max_size=3),
            st.integers(0, 2),
        ),
        max_size=5,
    ),
    st.lists(st.text(max_size=5), min_size=5, max_size=5, unique=True),
    st.sampled_from([None, 8, 64]),
    st.integers(2, 3),
)
def test_what_was_written_is_read(
    tensors: list[tuple[int, list[int], int]], names: list[str], aligned: int | None, version: int
) -> None:
    alignment = aligned or 32
    at, descriptions, wanted = 0, [], []
    for name, (kind, outer, gap) in zip(names, tensors, strict=False):
        dtype, block, size = TYPES[kind]
        begin = -(-at // alignment) * alignment + gap * alignment
        count = 1
        for length in outer:
            count *= length
        at = begin + count * size
        descriptions.append(tensor(name, [block, *outer], kind, begin))
        if count:
            wanted.append(Tensor(name, dtype, (*outer[::-1], block), begin, count * size))
    pairs = [] if aligned is None else [(ALIGNMENT, u32(aligned))]
    data = gguf(pairs, descriptions[::-1], b"\0" * at, version=version, alignment=alignment)
    start = len(data) - at
    moved = tuple(Tensor(w.name, w.dtype, w.shape, w.offset + start, w.length) for w in wanted)
    assert parsed(data) == Container("gguf", moved)


def test_every_dtype_of_blocks_is_named() -> None:
    named = {dtype for dtype, _, _ in TYPES.values()}
    assert {dtype for dtype, (block, _) in BLOCKS.items() if block > 1} < named
