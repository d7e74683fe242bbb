"""JSON that two parsers would read differently is refused; all other JSON is read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.features.gateway.dialects import strict_json
from outlast.features.gateway.dialects.strict_json import DEPTH, NotStrictError, parse_strict
from tests.campaign import examples

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)


@examples(25)
@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_json_is_read(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert parse_strict(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": 1, "a": 2}', "given twice"),
        (b'{"b": [{"a": {}, "\\u0061": 2}]}', "given twice"),
        (b'{"x": ":", "a\\"": 1, "a\\"": 1}', "given twice"),
        (b"NaN", "malformed"),
        (b'{"a": Infinity}', "malformed"),
        (b"[1e999]", "range"),
        (b"[18446744073709551616]", "64 bits"),
        (b"[-9223372036854775809]", "64 bits"),
        (b"[-123456789012345678901]", "64 bits"),
        (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), "levels"),
        (b"[" * 100_000, "levels"),
        (b'{"a":' * 100_000, "levels"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\\ud800"', "truncated"),
        (b"\xef\xbb\xbf{}", "malformed"),
        (b"{} {}", "malformed"),
        (b"[1,]", "malformed"),
        (b"", "truncated"),
        (b"[0123]", "malformed"),
    ],
)
def test_what_is_not_strict_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(NotStrictError, match=why) as caught:
        parse_strict(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'{"":0},'])
def test_what_takes_far_more_memory_than_bytes_is_not_parsed(
    unit: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strict_json, "CONTAINERS", 1000)
    assert len(parse_strict(b"[" + unit * 999 + b"0]")) == 1000

    def parse(_body: bytes) -> None:
        raise AssertionError

    monkeypatch.setattr(strict_json, "_decode", parse)
    with pytest.raises(NotStrictError, match="objects and arrays"):
        parse_strict(b"[" + unit * 1000 + b"0]")


@pytest.mark.parametrize("unit", [b"1,", b'"",', b"1.5,"])
def test_nor_are_too_many_values(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "VALUES", 1000)
    assert len(parse_strict(b"[" + unit * 1000 + b"0]")) == 1001
    with pytest.raises(NotStrictError, match="values"):
        parse_strict(b"[" + unit * 1001 + b"0]")


def test_what_only_looks_odd_is_read() -> None:
    odd = {"a": "{[:NaN 99999999999999999999", "b\\": 0.12345678901234567890123, "c": 1e22}
    assert parse_strict(json.dumps(odd).encode()) == odd
    assert parse_strict(b"[" * DEPTH + b"]" * DEPTH)
    with pytest.raises(NotStrictError, match="bytes"):
        parse_strict(b"[1, 2]", limit=5)
