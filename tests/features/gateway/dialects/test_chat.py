"""Chat, completions and embeddings pass on as they came; a stream's usage is asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from outlast.features.gateway.dialects import DIALECTS
from outlast.features.gateway.dialects.chat import ChatDialect
from outlast.features.gateway.dialects.continuing import continued
from outlast.features.gateway.seams import RequestRefused
from tests.features.gateway.dialects.streams import CHUNKS, HEAD, asked_of, pieces_of

GOLDEN = Path(__file__).parent / "golden" / "chat.sse"
TURNS = [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": TURNS, "min_p": 0.1, "unheard_of": {"a": [None]}}),
        ("/v1/completions", {"prompt": ["a"], "guided_regex": "x"}),
        ("/v1/embeddings", {"input": [1, 2], "dimensions": 8}),
    ],
)
def test_bodies_pass_on_with_what_is_not_known_here(path: str, body: Any) -> None:
    body = {"model": "m", **body}
    asked = DIALECTS[path].understand(json.dumps(body).encode())
    assert (asked.chat, asked.dropped, asked.stream) == (body, (), False)
    assert DIALECTS[path].whole(asked, {"id": "x"}) == {"id": "x"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": []}, "messages"),
        ("/v1/chat/completions", {"messages": [{"content": "a"}]}, "messages[0]"),
        ("/v1/chat/completions", {"messages": TURNS, "n": 1000}, "n"),
        ("/v1/chat/completions", {"messages": TURNS, "stream": 1}, "stream"),
        ("/v1/chat/completions", {"messages": TURNS, "model": "m" * 300}, "model"),
        ("/v1/completions", {}, "prompt"),
        ("/v1/embeddings", {"input": "a", "stream": True}, "stream"),
        ("/v1/embeddings", {}, "input"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(path: str, body: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        DIALECTS[path].understand(json.dumps({"model": "m", **body}).encode())
    assert (caught.value.status, caught.value.param) == (400, param)
    document = DIALECTS[path].refusal(400, caught.value.kind, str(caught.value), param)
    assert document["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": "m", "model": "n"}', b"\xff"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    for dialect in DIALECTS.values():
        with pytest.raises(RequestRefused, match="body"):
            dialect.understand(body)


def test_the_events_are_as_written_down() -> None:
    """`python -m tests.features.gateway.dialects.streams` writes the files anew."""
    assert pieces_of(ChatDialect(), asked_of("chat")) == GOLDEN.read_bytes()


def test_usage_is_for_those_who_ask() -> None:
    hidden, told = asked_of("chat"), asked_of("chat", stream_options={"include_usage": True})
    assert hidden.chat["stream_options"] == told.chat["stream_options"] == {"include_usage": True}
    for asked, shown in ((hidden, False), (told, True)):
        writer = ChatDialect().events(asked)
        first = writer.feed({**CHUNKS["text"][0], "usage": None})
        data = first + b"".join(map(writer.feed, CHUNKS["text"][1:])) + writer.end(None)
        assert (b'"usage"' in data) == shown
        assert data.count(b'finish_reason":"stop') == 1


def test_a_note_finds_a_place_without_a_last_chunk() -> None:
    writer = ChatDialect().events(asked_of("chat"))
    writer.feed(CHUNKS["text"][1])
    last = json.loads(writer.end({"target": "t"}).split(b"\n\n")[0].removeprefix(b"data: "))
    assert last == {
        **HEAD,
        "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
        "outlast": {"target": "t"},
    }


# Going on


def test_a_request_goes_on_from_a_text() -> None:
    body = {"messages": TURNS, "max_tokens": 10, "seed": 1}
    begun = [*TURNS, {"role": "assistant", "content": "so"}]
    prefill = {"messages": begun, "max_tokens": 7, "seed": 1, "add_generation_prompt": False}
    assert continued(body, "so", "prefill", spent=3) == prefill
    found = continued(body, "so", "continue_final_message", spent=99)
    assert found == {**prefill, "max_tokens": 1, "continue_final_message": True}
    again = continued({**body, "messages": begun}, " on", "prefill")
    assert again["messages"] == [*TURNS, {"role": "assistant", "content": "so on"}]
    assert continued({"prompt": "a"}, "b", "completion") == {"prompt": "ab"}
    assert continued(body, "", "completion") == body
    assert body["messages"] == TURNS, "the request itself stays"


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ({"messages": TURNS}, "completion"),
        ({"prompt": ["a"]}, "completion"),
        ({"prompt": "a"}, "prefill"),
    ],
)
def test_a_way_that_does_not_fit_is_a_mistake(body: Any, how: Any) -> None:
    with pytest.raises(ValueError, match="only a"):
        continued(body, "x", how)
