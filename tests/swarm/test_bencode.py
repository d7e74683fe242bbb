"""Bencoding: one encoding of each value, and bounds."""

from typing import Any

import libtorrent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import MalformedError
from outlast.swarm.torrent.bencode import MAX_DEPTH, MAX_ITEMS, decode, encode

LARGEST = 2**63 - 1

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(-LARGEST, LARGEST) | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert decode(encode(value)) == value
    assert libtorrent.bdecode(encode(value)) == value
    assert libtorrent.bencode(value) == encode(value)


@given(st.binary(max_size=60))
def test_what_is_read_has_one_encoding(data: bytes) -> None:
    try:
        value = decode(data)
    except MalformedError:
        return
    assert encode(value) == data


REFUSED = {
    "nothing": b"",
    "no value": b"x",
    "only an end": b"e",
    "a leading zero": b"i05e",
    "minus zero": b"i-0e",
    "no digits": b"ie",
    "a blank": b"i 5e",
    "a plus": b"i+5e",
    "an underscore": b"i1_0e",
    "other digits": "i٣e".encode(),
    "a number without end": b"i5",
    "2^63": b"i9223372036854775808e",
    "-2^63": b"i-9223372036854775808e",
    "a million digits": b"i" + b"9" * 1_000_000 + b"e",
    "a short string": b"5:abcd",
    "a negative length": b"-1:a",
    "a zero before the length": b"05:abcde",
    "an immense length": b"9223372036854775807:a",
    "a list without end": b"l",
    "bytes after the end": b"i5ei6e",
    "a key twice": b"d1:ai1e1:ai2ee",
    "keys out of order": b"d1:bi1e1:ai2ee",
    "a key without value": b"d1:ae",
    "a number as key": b"di1ei2ee",
    "a dictionary as key": b"ddei2ee",
    "too deep": b"l" * (MAX_DEPTH + 1) + b"e" * (MAX_DEPTH + 1),
    "a million lists": b"l" * 1_000_000,
    "too many items": b"l" + b"0:" * MAX_ITEMS + b"e",
}


@pytest.mark.parametrize("case", REFUSED)
def test_anything_else_is_refused(case: str) -> None:
    with pytest.raises(MalformedError):
        decode(REFUSED[case])


def test_what_is_at_a_bound_is_read() -> None:
    deep = decode(b"l" * MAX_DEPTH + b"e" * MAX_DEPTH)
    assert isinstance(deep, list)
    assert len(deep) == 1
    assert decode(encode([b""] * (MAX_ITEMS - 1))) == [b""] * (MAX_ITEMS - 1)
    assert decode(b"i-%de" % LARGEST) == -LARGEST
    with pytest.raises(MalformedError, match="bound of 3"):
        decode(b"2:ab", limit=3)
