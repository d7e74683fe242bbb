"""Anthropic's messages: requests, whole answers and events, there and back."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.features.gateway.dialects.anthropic_target import (
    AnthropicEvents,
    NotExpressibleError,
    from_messages,
    to_messages,
)
from outlast.features.gateway.dialects.messages import MessagesDialect
from outlast.features.gateway.dialects.messages_request import to_chat
from outlast.features.gateway.dialects.stream_judge import SseJudge
from outlast.features.gateway.seams import BrokenStream, RequestRefused
from tests.campaign import examples
from tests.features.gateway.dialects.streams import CHUNKS, asked_of, pieces_of

GOLDEN = Path(__file__).parent / "golden" / "messages.sse"
WORDS = st.text("abc é榕\n", min_size=1, max_size=8)
NAMES = st.sampled_from(["weather", "clock"])
TEXTS = st.builds(lambda text: {"type": "text", "text": text}, WORDS)
IMAGES = st.sampled_from(
    [
        {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        {"type": "url", "url": "https://example.org/a.png"},
    ]
).map(lambda source: {"type": "image", "source": source})
USES = st.builds(
    lambda name, number, word: {
        "type": "tool_use",
        "id": f"toolu_{number}",
        "name": name,
        "input": {"city": word, "deep": [{"n": number}]},
    },
    NAMES,
    st.integers(0, 99),
    WORDS,
)
RESULTS = st.builds(
    lambda number, text: {
        "type": "tool_result",
        "tool_use_id": f"toolu_{number}",
        "content": [text],
    },
    st.integers(0, 99),
    TEXTS,
)
USERS = st.builds(
    lambda results, parts: {"role": "user", "content": results + parts},
    st.lists(RESULTS, max_size=2),
    st.lists(TEXTS | IMAGES, min_size=1, max_size=3),
)
ASSISTANTS = st.builds(
    lambda texts, uses: {"role": "assistant", "content": texts + uses},
    st.lists(TEXTS, max_size=1),
    st.lists(USES, min_size=1, max_size=2),
)
BODIES = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "max_tokens": st.integers(1, 999),
        "messages": st.lists(st.tuples(USERS, ASSISTANTS), max_size=2).map(
            lambda pairs: [turn for pair in pairs for turn in pair]
        ),
    },
    optional={
        "system": WORDS,
        "stream": st.just(True),
        "temperature": st.floats(0, 1),
        "top_k": st.integers(1, 9),
        "stop_sequences": st.lists(WORDS, min_size=1, max_size=2),
        "metadata": st.just({"user_id": "u"}),
        "tools": st.just(
            [{"name": "weather", "description": "d", "input_schema": {"type": "object"}}]
        ),
        "output_config": st.just(
            {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}
        ),
    },
)


@examples(60)
@given(BODIES, USERS)
def test_a_request_keeps_its_meaning_there_and_back(body: Any, last: Any) -> None:
    body = json.loads(json.dumps(body | {"messages": [*body["messages"], last]}))
    chat, dropped = to_chat(body)
    again, lost = to_messages(chat)
    assert (dropped, lost) == ((), ())
    assert again == body
    assert to_chat(again)[0] == chat


def refused(**body: Any) -> RequestRefused:
    whole = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}], **body}
    with pytest.raises(RequestRefused) as caught:
        MessagesDialect().understand(json.dumps(whole).encode())
    return caught.value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ""),
        ("max_tokens", None),
        ("max_tokens", 0),
        ("max_tokens", True),
        ("messages", []),
        ("messages", {}),
        ("tools", {}),
        ("tool_choice", {"type": "any"}),
        ("tool_choice", {"type": "tool", "name": "other"}),
        ("system", [{"type": "image"}]),
        ("stream", "yes"),
        ("output_config", {"format": {"type": "grammar"}}),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(field: str, value: Any) -> None:
    assert (refused(**{field: value}).status, refused(**{field: value}).param) == (400, field)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "video"},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "text"},
    ],
)
def test_what_has_no_counterpart_in_a_turn_is_refused(block: Any) -> None:
    no = refused(messages=[{"role": "user", "content": [block]}])
    assert (no.status, no.param) == (400, "messages[0]")


def test_what_has_no_counterpart_beside_turns_is_named() -> None:
    thought = {"type": "redacted_thinking", "data": "x"}
    chat, dropped = to_chat(
        {
            "model": "m",
            "max_tokens": 5,
            "min_p": 0.1,
            "service_tier": "auto",
            "thinking": {"type": "enabled", "budget_tokens": 5000},
            "tools": [{"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": {"type": "auto"},
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [thought, {"type": "text", "text": "b"}]},
            ],
        }
    )
    assert dropped == (
        "service_tier",
        "messages.redacted_thinking",
        "tools.web_search_20250305",
    )
    assert chat["min_p"] == 0.1, "an engine may know it"
    assert chat["reasoning_effort"] == "medium"
    assert "tools" not in chat
    assert "tool_choice" not in chat


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "custom"}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
    ],
)
def test_what_messages_cannot_say_is_for_another_target(more: Any) -> None:
    with pytest.raises(NotExpressibleError):
        to_messages({"model": "m", "messages": [], **more})


def test_a_begun_answer_ends_without_white_space() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "so \n"}]
    body, lost = to_messages({"model": "m", "messages": turns, "seed": 1, "temperature": 2})
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "so"}]
    assert (lost, body["temperature"], body["max_tokens"]) == (("seed",), 1.0, 4096)


# Answers


def test_the_events_are_as_written_down() -> None:
    """`python -m tests.features.gateway.dialects.streams` writes the files anew."""
    assert pieces_of(MessagesDialect(), asked_of("messages")) == GOLDEN.read_bytes()


@pytest.mark.parametrize("name", [name for name in CHUNKS if name != "refusal"])
def test_events_are_read_back_as_the_same_chunks(name: str) -> None:
    """What the writer writes, the reader of such providers takes: same text, calls and end.
    A refusal is text in messages.
    """
    writer = MessagesDialect().events(asked_of("messages"))
    data = b"".join(map(writer.feed, CHUNKS[name])) + writer.end(None)
    judge, direct = SseJudge(anthropic=True), SseJudge()
    judge.feed(data)
    for chunk in CHUNKS[name]:
        direct.feed(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
    direct.close()
    assert (judge.text, judge.finish, judge.tool_call_begun, judge.thinking) == (
        direct.text,
        direct.finish,
        direct.tool_call_begun,
        direct.thinking,
    )
    assert judge.usage == (direct.usage or judge.usage)


def test_a_whole_answer_is_read_back() -> None:
    function = {"name": "weather", "arguments": '{"city":"x"}'}
    message = {
        "role": "assistant",
        "content": "so",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    usage: Any = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    usage |= {"prompt_tokens_details": {"cached_tokens": 4}}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    answer = {"id": "x", "model": "m", "choices": [choice], "usage": usage}
    found = MessagesDialect().whole(asked_of("messages"), answer)
    assert [block["type"] for block in found["content"]] == ["thinking", "text", "tool_use"]
    assert found["stop_reason"] == "tool_use"
    assert found["usage"] == {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 4}
    again = from_messages(found)
    assert (again["choices"], again["usage"]) == ([choice], usage)
    function["arguments"] = '{"city":'
    with pytest.raises(BrokenStream, match="arguments"):
        MessagesDialect().whole(asked_of("messages"), answer)


@pytest.mark.parametrize(
    ("finish", "stop", "reason"),
    [
        ("stop", None, "end_turn"),
        ("stop", "END", "stop_sequence"),
        ("stop", 128001, "end_turn"),
        ("length", None, "max_tokens"),
        ("content_filter", None, "refusal"),
        (None, None, "end_turn"),
    ],
)
def test_reasons_to_stop(finish: Any, stop: Any, reason: str) -> None:
    message = {"role": "assistant", "content": "a"}
    choice = {"message": message, "finish_reason": finish, "stop_reason": stop}
    found = MessagesDialect().whole(asked_of("messages"), {"choices": [choice]})
    assert found["stop_reason"] == reason
    assert found["stop_sequence"] == (stop if reason == "stop_sequence" else None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (502, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors_have_anthropics_words(status: int, kind: str) -> None:
    said = MessagesDialect().refusal(status, "", "no")
    assert said == {"type": "error", "error": {"type": kind, "message": "no"}}
    event = MessagesDialect().events(asked_of("messages")).error(status, "no")
    assert msgspec.json.encode(said) in event
    assert b"event: error\n" in event


@pytest.mark.parametrize(
    "events",
    [
        [{"type": "content_block_start", "index": 0, "content_block": {}}],
        [{"type": "message_start", "message": {}}] * 2,
        [{"type": "message_start", "message": {}}, {"type": "content_block_delta", "index": 0}],
        [{"type": "message_start"}],
    ],
)
def test_events_out_of_order_are_no_message(events: Any) -> None:
    reader = AnthropicEvents()
    with pytest.raises(BrokenStream):
        [list(reader.feed(event)) for event in events]


def test_calls_that_are_mixed_up_break_it() -> None:
    def chunk(index: int, **function: str) -> Any:
        call = {"index": index, "id": f"c{index}", "function": function}
        return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}

    writer = MessagesDialect().events(asked_of("messages"))
    writer.feed(chunk(0, name="a", arguments="{"))
    writer.feed(chunk(1, name="b", arguments="{"))
    with pytest.raises(BrokenStream, match="after another"):
        writer.feed(chunk(0, arguments="}"))
    with pytest.raises(BrokenStream, match="without a name"):
        writer.feed(chunk(2, arguments="}"))
