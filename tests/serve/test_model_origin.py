"""The field that says where an answer came from, put into answers that pass in pieces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.server.model.origin import Origin, Stamp

ORIGIN = Origin("ab" * 32, 'engine "1"', ("network namespace",))
ADDED = {"outlast": dict(ORIGIN.field)}
STREAM = "text/event-stream"


def passed(data: bytes, cuts: list[int], kind: str) -> bytes:
    """What becomes of an answer that comes in pieces."""
    stamp = Stamp(ORIGIN, kind)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    out, at = b"", 0
    for end in ends:
        out += stamp.take(data[at:end])
        at = end
    return out + stamp.end()


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.dictionaries(st.text(), st.text())),
    st.lists(st.integers(0, 200)),
    st.sampled_from(["application/json", "application/json; charset=utf-8"]),
)
def test_a_json_object_keeps_its_fields(
    document: dict[str, object], cuts: list[int], kind: str
) -> None:
    document.pop("outlast", None)
    data = b" \n" + json.dumps(document).encode()
    assert json.loads(passed(data, cuts, kind)) == ADDED | document


@pytest.mark.parametrize("data", [b"", b"[]", b'[{"a": 1}]', b"null", b'"{"', b"<html>{"])
@given(cuts=st.lists(st.integers(0, 20)))
def test_what_is_no_object_passes_as_it_is(data: bytes, cuts: list[int]) -> None:
    assert passed(data, cuts, "application/json") == data
    assert passed(data, cuts, "text/plain") == data


@given(st.lists(st.integers(0, 90)))
def test_the_first_event_of_a_stream_has_it(cuts: list[int]) -> None:
    first, rest = b'event: message_start\ndata: {"a": 1}\n\n', b'data: {"b": 2}\n\ndata: [DONE]\n\n'
    out = passed(first + rest, cuts, STREAM)
    assert out.endswith(rest)
    event, data = out.removesuffix(rest).strip().split(b"\n")
    assert event == b"event: message_start"
    assert json.loads(data.removeprefix(b"data: ")) == ADDED | {"a": 1}


@pytest.mark.parametrize("data", [b"data: [DONE]\n\n", b": ping\n\n", b"data: {"])
@given(cuts=st.lists(st.integers(0, 20)))
def test_a_stream_without_an_object_passes_as_it_is(data: bytes, cuts: list[int]) -> None:
    assert passed(data, cuts, STREAM) == data


def test_the_headers() -> None:
    assert ORIGIN.headers == {
        "X-Outlast-Manifest": f"sha256:{'ab' * 32}",
        "X-Outlast-Engine": 'engine "1"',
        "X-Outlast-Sealed": "network namespace",
    }
    assert "X-Outlast-Sealed" not in Origin("00", "e").headers
