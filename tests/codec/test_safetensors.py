"""A safetensors header is taken for what it says, or for nothing."""

import json
import re
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.claims import BLOCKS, OpaqueError
from outlast.codec.safetensors import MAX_DIMENSIONS, read_claims
from outlast.codec.tensors import DTYPES, Container, Tensor, parse
from tests.codec.container_files import Blob, entry, parsed, safetensors

GOLDEN = (
    b"\xcb\0\0\0\0\0\0\0"
    b'{"__metadata__":{"format":"pt"},'
    b'"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},'
    b'"a":{"data_offsets":[0,8],"shape":[],"dtype":"F64"},'
    b'"none":{"dtype":"U8","shape":[0,7],"data_offsets":[20,20]}}  \n'
    b"\x01\x02\x03\x04\x05\x06\x07\x08............"
)
PLAIN = [dtype for dtype in DTYPES if BLOCKS.get(dtype, (0, 0))[0] == 1]
ONE = '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'


def test_golden() -> None:
    assert parsed(GOLDEN) == Container(
        "safetensors",
        (Tensor("a", "F64", (), 211, 8), Tensor("b", "BF16", (2, 3), 219, 12)),
    )


def test_what_need_not_be_there() -> None:
    assert parsed(safetensors("{}")) == Container("safetensors", ())
    assert parsed(safetensors("{ \t\r\n}\n")) == Container("safetensors", ())
    assert parsed(safetensors({"__metadata__": {}}, b"after")) == Container("safetensors", ())


def test_gaps_are_no_tensors() -> None:
    data = safetensors({"x": entry("I16", [1], 3, 5), "y": entry("U8", [1], 9, 10)}, b"\0" * 50)
    container = parsed(data)
    assert container is not None
    assert [found.offset - len(data) + 50 for found in container.tensors] == [3, 9]


@pytest.mark.parametrize("dtype", PLAIN)
def test_widths(dtype: str) -> None:
    size = BLOCKS[dtype][1]
    container = parsed(safetensors({"x": entry(dtype, [3], 0, 3 * size)}, b"\0" * 24))
    assert container is not None
    assert (container.tensors[0].dtype, container.tensors[0].length) == (dtype, 3 * size)
    assert parsed(safetensors({"x": entry(dtype, [3], 0, 3 * size - 1)}, b"\0" * 24)) is None


@pytest.mark.parametrize("dtype", ["F4", "F8_E8M0", "C64", "Q8_0", "OTHER", "", "bf16", "é"])
def test_a_dtype_of_others_has_the_length_that_it_says(dtype: str) -> None:
    container = parsed(safetensors({"x": entry(dtype, [3, 2**50], 1, 6)}, b"\0" * 6))
    assert container is not None
    (found,) = container.tensors
    assert (found.dtype, found.shape, found.length) == ("OTHER", (3, 2**50), 5)


def test_names_are_compared_after_escapes() -> None:
    member = '{"\\u0064type":"U\\u0038","shape":[1],"data_offsets":[0,1]}'
    container = parsed(safetensors(f'{{"\\ud83d\\ude00\\n\\/":{member}}}', b"\0"))
    assert container is not None
    assert (container.tensors[0].name, container.tensors[0].dtype) == ("\U0001f600\n/", "U8")
    assert parsed(safetensors('{"\\u0061":' + ONE[5:-1] + "," + ONE[1:], b"\0" * 4)) is None
    assert parsed(safetensors('{"\\u005f_metadata__":{"a":"b"}}')) is not None


def test_bounds_are_inclusive() -> None:
    shape = [1] * MAX_DIMENSIONS
    assert parsed(safetensors({"x": entry("U8", shape, 0, 1)}, b"\0")) is not None
    assert parsed(safetensors({"x": entry("U8", [*shape, 1], 0, 1)}, b"\0")) is None
    # Empty, whatever the others say; but no number may be too large.
    assert parsed(safetensors({"x": entry("F64", [2**53 - 1] * 3 + [0], 0, 0)})) is not None
    assert parsed(safetensors({"x": entry("F64", [2**53, 0], 0, 0)})) is None


@pytest.mark.parametrize("cut", range(len(ONE) + 12))
def test_cut_at_each_byte(cut: int) -> None:
    whole = safetensors(ONE, b"\0" * 4)
    assert parsed(whole) is not None
    assert parsed(whole[:cut]) is None
    # As when a disk returns less than the file's size promises.
    container = parse(Blob(whole[:cut]).read, len(whole))
    assert (container is None) == (cut < len(whole) - 4)


def test_a_tensor_in_the_usual_order_is_read_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """With each character replaced, doubled or left out."""
    usual = '{"a":{"dtype": "U8","shape":[2 ,20],"data_offsets":[0,40]},"b":{"dtype":"F4",'
    usual += '"shape":[],"data_offsets": [1,9007199254740991]}}'
    headers = [
        usual,
        usual.replace("740991", "740992"),
        usual.replace("[2 ,20]", "[0,9" + "9" * 15),
    ]
    for at, here in enumerate(usual):
        headers += [
            usual[:at] + other + usual[at + 1 :] for other in (*'{}[]:," 01\\a\n', here * 2, "")
        ]
    files = [safetensors(header, bytes(40)) for header in headers]

    def read(data: bytes) -> object:
        try:
            return read_claims(Blob(data).read, len(data))
        except OpaqueError as error:
            return str(error)

    found = [read(data) for data in files]
    monkeypatch.setattr("outlast.codec.safetensors._USUAL", re.compile(r"(?!)"))
    assert found == [read(data) for data in files]
    assert sum(isinstance(one, list) for one in found) > len(usual) // 10


TENSORS = st.lists(
    st.tuples(
        st.sampled_from([*PLAIN, "F4", "Q4_0"]),
        st.lists(st.integers(0, 4), max_size=4),
        st.integers(0, 9),
    ),
    max_size=6,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(
    st.dictionaries(NAMES, NAMES, max_size=2),
    TENSORS,
    st.lists(NAMES, min_size=6, max_size=6, unique=True),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_what_was_written_is_read(
    metadata: dict[str, str],
    tensors: list[tuple[str, list[int], int]],
    names: list[str],
    random: Any,
    plain: bool,
) -> None:
    at, wanted, members = 0, [], []
    for name, (dtype, shape, gap) in zip(names, tensors, strict=False):
        size = BLOCKS[dtype][1] if dtype in PLAIN else 1
        for length in shape:
            size *= length
        begin = at + gap
        at = begin + size
        fields = list(entry(dtype, shape, begin, at).items())
        random.shuffle(fields)
        members.append((name, dict(fields)))
        kind = dtype if dtype in PLAIN else "OTHER"
        if size:
            wanted.append(Tensor(name, kind, tuple(shape), begin, size))
    members.append(("__metadata__", metadata))
    random.shuffle(members)
    header = json.dumps(dict(members), ensure_ascii=plain, indent=random.choice([None, 1]))
    data = safetensors(header + " " * random.randrange(9), b"\0" * at)
    start = len(data) - at
    moved = tuple(Tensor(w.name, w.dtype, w.shape, w.offset + start, w.length) for w in wanted)
    assert parsed(data) == Container("safetensors", moved)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert parsed(data) is None
    parsed(safetensors(data))
    parsed(safetensors(b"{" + data + b"}"))


def same_as_json(header: bytes) -> None:
    """What is accepted is JSON that says the same to a parser that was written by others."""
    data = safetensors(header, b"\0" * 64)
    container = parsed(data)
    if container is None:
        return
    said = json.loads(header)
    start = len(data) - 64
    for found in container.tensors:
        begin = found.offset - start
        assert said[found.name]["data_offsets"] == [begin, begin + found.length]
        assert said[found.name]["shape"] == list(found.shape)
        assert found.dtype in {said[found.name]["dtype"], "OTHER"}


VALID = json.dumps({"__metadata__": {"a\n": "b"}, "x": entry("F16", [2, 3], 4, 16)}).encode()


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(VALID)),
            st.integers(0, 3),
            st.one_of(st.binary(max_size=3), st.sampled_from([b.encode() for b in '{}[]:,"\\0 '])),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_changed_bytes(changes: list[tuple[int, int, bytes]]) -> None:
    header = bytearray(VALID)
    for at, removed, put in changes:
        header[at : at + removed] = put
    same_as_json(bytes(header))


@given(st.text(alphabet='{}[]:,"\\ax0123456789 \n', max_size=40))
def test_other_grammar(inside: str) -> None:
    same_as_json(b'{"x":{"dtype":"F4","shape":[' + inside.encode() + b'],"data_offsets":[0,4]}}')
    same_as_json(b'{"x' + inside.encode() + b'":{"dtype":"F4","shape":[],"data_offsets":[0,4]}}')


@pytest.mark.parametrize(("length", "first"), [(90_000_000, b"["), (100_000_001, b"{"), (1, b"{")])
def test_a_header_is_not_read_before_it_can_be_one(length: int, first: bytes) -> None:
    blob = Blob(struct.pack("<Q", length) + first + b" " * 1000)
    assert parse(blob.read, 1 << 40) is None
    assert blob.asked < 100
