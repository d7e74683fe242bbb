"""OpenAI's responses: requests, whole answers and events."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outlast.features.gateway.dialects.responses import ResponsesDialect, custom_input
from outlast.features.gateway.dialects.responses_request import to_chat
from outlast.features.gateway.seams import RequestRefused
from tests.features.gateway.dialects.streams import CHUNKS, asked_of, pieces_of

GOLDEN = Path(__file__).parent / "golden" / "responses.sse"


def chat_of(**body: Any) -> Any:
    return to_chat({"model": "m", "input": "a", **body})[0]


def test_a_conversation_becomes_messages() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    items = [
        {"role": "developer", "content": "be kind"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        call,
        {**call, "call_id": "d"},
        {"type": "function_call_output", "call_id": "c", "output": "warm"},
        {"type": "custom_tool_call_output", "call_id": "d", "output": "done"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
            ],
        },
    ]
    function = {"name": "weather", "arguments": "{}"}
    image = {"url": "data:image/png;base64,AA", "detail": "low"}
    assert chat_of(input=items, instructions="first")["messages"] == [
        {"role": "system", "content": "first"},
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "a"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": function},
                {"id": "d", "type": "function", "function": function},
            ],
            "reasoning_content": "hm",
        },
        {"role": "tool", "tool_call_id": "c", "content": "warm"},
        {"role": "tool", "tool_call_id": "d", "content": "done"},
        {"role": "assistant", "content": "so"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": image},
            ],
        },
    ]


def test_settings_become_those_of_chat() -> None:
    form = {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}
    chat, dropped, custom = to_chat(
        {
            "model": "m",
            "input": "a",
            "stream": True,
            "max_output_tokens": 5,
            "temperature": 0.5,
            "text": {"format": form, "verbosity": "low"},
            "reasoning": {"effort": "high"},
            "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
            "tools": [
                {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
                {"type": "custom", "name": "patch"},
                {"type": "web_search"},
            ],
            "tool_choice": {"type": "function", "name": "f"},
            "store": False,
            "truncation": "auto",
            "min_p": 0.1,
        }
    )
    assert dropped == ("truncation", "tools.web_search")
    assert custom == {"patch"}
    assert [tool["function"]["name"] for tool in chat.pop("tools")] == ["f", "patch"]
    assert chat == {
        "model": "m",
        "stream": True,
        "temperature": 0.5,
        "min_p": 0.1,
        "messages": [{"role": "user", "content": "a"}],
        "max_tokens": 5,
        "stream_options": {"include_usage": True},
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}},
        },
        "verbosity": "low",
        "reasoning_effort": "high",
        "logprobs": True,
        "top_logprobs": 0,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "c"),
        ("background", True),
        ("prompt", {"id": "p"}),
        ("model", None),
        ("input", []),
        ("input", None),
        ("max_output_tokens", 0),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "web_search"}),
        ("tools", [1]),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(field: str, value: Any) -> None:
    body = {"model": "m", "input": "a", field: value}
    with pytest.raises(RequestRefused) as caught:
        ResponsesDialect().understand(json.dumps(body).encode())
    assert (caught.value.status, caught.value.param) == (400, field)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "x"},
        {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
        {"role": "robot", "content": "a"},
        {"type": "function_call", "name": "f", "arguments": "{}"},
    ],
)
def test_items_that_need_a_memory_are_refused(item: Any) -> None:
    with pytest.raises(RequestRefused) as caught:
        to_chat({"model": "m", "input": [item]})
    assert caught.value.param == "input[0]"


def test_the_events_are_as_written_down() -> None:
    """`python -m tests.features.gateway.dialects.streams` writes the files anew."""
    assert pieces_of(ResponsesDialect(), asked_of("responses")) == GOLDEN.read_bytes()


@pytest.mark.parametrize("name", CHUNKS)
def test_the_last_event_is_the_whole_answer(name: str) -> None:
    """And each event has the next number."""
    asked = asked_of("responses")
    writer = ResponsesDialect().events(asked)
    data = b"".join(map(writer.feed, CHUNKS[name])) + writer.end({"target": "t"})
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n") if b"data: " in line]
    events = [msgspec.json.decode(line) for line in lines]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]["response"]
    assert events[-1]["type"] == f"response.{last['status']}"
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert last["output"] == done
    assert last["outlast"] == {"target": "t"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"a\\n"}', "a\n"),
        ('{"input":', '{"input":'),
        ("[]", "[]"),
        ('{"input":1}', '{"input":1}'),
    ],
)
def test_the_text_of_a_custom_tool(arguments: str, text: str) -> None:
    assert custom_input(arguments) == text
