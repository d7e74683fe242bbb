"""Every fault of a provider's stream is seen, what came before it is given, and bytes may be split
anywhere.
"""

import http.client
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.features.gateway.dialects.sse import LINE, TOTAL
from outlast.features.gateway.dialects.stream_judge import SseJudge, sound_usage
from outlast.features.gateway.seams import BrokenStream, Json
from tests.campaign import examples
from tests.providersim import Fault, ProviderSim, answer_text

HELLO = [{"role": "user", "content": "hello"}]
PROMPT = "user: hello\n"
TOKENS = 6
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def sim() -> Iterator[ProviderSim]:
    with ProviderSim(tokens=TOKENS) as sim:
        yield sim


PATHS = {"chat": "chat/completions", "completions": "completions", "messages": "messages"}


def stream(sim: ProviderSim, kind: str, fault: Fault | None, **more: Any) -> bytes:
    """The bytes of a stream, as far as they come."""
    body = {"model": "sim-model", "messages": HELLO, "prompt": PROMPT, "max_tokens": 99, **more}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection(sim.root.removeprefix("http://"), timeout=20)
    sim.script.append(fault)
    connection.request("POST", f"/v1/{PATHS[kind]}", json.dumps(body))
    answer, data = connection.getresponse(), b""
    try:
        while piece := answer.read1(65536):
            data += piece
    except (http.client.IncompleteRead, ConnectionResetError):
        pass
    finally:
        connection.close()
    return data


def judge_for(kind: str, *, line: int = LINE, total: int = TOTAL) -> SseJudge:
    if kind == "completions":
        return SseJudge("completions", line=line, total=total)
    return SseJudge(anthropic=kind == "messages", line=line, total=total)


def judged(judge: SseJudge, pieces: Iterator[bytes] | list[bytes]) -> tuple[list[Json], str]:
    """The chunks, and the kind of what broke; empty where nothing did."""
    chunks: list[Json] = []
    try:
        for piece in pieces:
            chunks += judge.feed(piece)
        judge.close()
    except BrokenStream as broken:
        return chunks, broken.kind if "\n" not in str(broken) else "several lines"
    return chunks, ""


def said(chunks: list[Json], kind: str) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    if kind == "completions":
        return "".join(choice.get("text") or "" for choice in choices)
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.mark.parametrize("kind", PATHS)
def test_a_sound_stream(sim: ProviderSim, kind: str) -> None:
    judge = judge_for(kind)
    chunks, broken = judged(judge, [stream(sim, kind, None)])
    assert (broken, judge.done, judge.doubts) == ("", True, [])
    assert judge.text == said(chunks, kind) == answer_text(PROMPT, TOKENS)
    assert judge.finish == "stop"
    assert judge.usage is not None
    assert judge.usage["completion_tokens"] == TOKENS


FAULTS = [
    (Fault("close", after=3), "cut"),
    (Fault("end", after=3), "cut"),
    (Fault("garbage", after=3), "garbage"),
    (Fault("malformed", after=3), "garbage"),
    (Fault("utf8", after=3), "garbage"),
    (Fault("late", after=3), "error"),
]
MORE = [
    (Fault("finish", after=3, value=None), "cut"),
    (Fault("finish", after=0, value="length"), "finish"),
    (Fault("finish", after=3, value="content_filter"), "filtered"),
    (Fault("finish", after=3, value="error"), "finish"),
    (Fault("finish", after=3, value="tool_calls"), "finish"),
    (Fault("model", after=3, value="another"), "model"),
]


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(
    ("fault", "broken"), FAULTS, ids=lambda value: getattr(value, "action", "")
)
def test_a_fault_breaks_it_and_nothing_before_is_lost(
    sim: ProviderSim, kind: str, fault: Fault, broken: str
) -> None:
    data = stream(sim, kind, fault)
    for size in (len(data), 7):
        judge = judge_for(kind)
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        chunks, why = judged(judge, pieces)
        assert (why, judge.done) == (broken or why, False)
        assert judge.text == said(chunks, kind) == answer_text(PROMPT, 3)
        assert judge.may_continue({"messages": HELLO}) is None


@pytest.mark.parametrize(("fault", "broken"), MORE, ids=lambda value: getattr(value, "action", ""))
def test_ends_and_models_that_do_not_fit(sim: ProviderSim, fault: Fault, broken: str) -> None:
    judge = judge_for("chat")
    chunks, why = judged(judge, [stream(sim, "chat", fault)])
    assert (why, judge.done) == (broken, False)
    assert judge.text == said(chunks, "chat") == answer_text(PROMPT, fault.tokens)


def test_a_late_error_tells_its_status(sim: ProviderSim) -> None:
    for kind in ("chat", "messages"):
        judge = judge_for(kind)
        assert judge.feed(stream(sim, kind, Fault("late", after=2)))
        with pytest.raises(BrokenStream, match="late 429") as caught:
            judge.feed(b"")
        assert caught.value.status == 429


def test_a_giant_line_is_never_held(sim: ProviderSim) -> None:
    judge = judge_for("chat", line=10_000)
    assert judged(judge, [b'data: {"id": "', b"A" * 4096, b"A" * 4096]) == ([], "cut")
    assert judged(judge, [b"A" * 4096]) == ([], "large")
    judge = judge_for("chat", total=10_000)
    assert judged(judge, [b": comment\n" * 200] * 10) == ([], "large")
    judge = judge_for("chat", line=10_000)
    with pytest.raises(BrokenStream, match="an event has more"):
        judge.feed(b"data: x\n" * 20_000)
    assert stream(sim, "chat", Fault("giant", size=1000)).startswith(b'data: {"id": "AAA')


def test_a_call_that_is_cut(sim: ProviderSim) -> None:
    judge = judge_for("chat")
    data = stream(sim, "chat", Fault("tool_cut"), tools=[TOOL], tool_choice="required")
    assert judged(judge, [data])[1] == "cut"
    assert judge.tool_call_begun
    assert judge.may_continue({"messages": HELLO}) == "a tool call has begun"


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 6, "total_tokens": 5},
        {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 9},
        {"prompt_tokens": "2", "completion_tokens": 6},
        {"prompt_tokens": 2.5, "completion_tokens": 6},
        {"prompt_tokens": 2, "completion_tokens": 10**12},
        {"completion_tokens": 6},
        {},
        "many",
    ],
)
def test_a_usage_that_cannot_be_true_is_none(sim: ProviderSim, usage: Any) -> None:
    judge = judge_for("chat")
    assert judged(judge, [stream(sim, "chat", Fault("usage", value=usage))])[1] == ""
    assert (judge.usage, judge.done) == (None, True)
    assert "usage" in judge.doubts[0]


def test_a_usage_that_can_be_true() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 1}, "cost": "x", "x_details": {"a": -1}}
    found = sound_usage({"prompt_tokens": 2, "completion_tokens": 3, **details})
    assert found == {
        "prompt_tokens": 2,
        "completion_tokens": 3,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }


def test_more_chunks_than_tokens_are_doubted(sim: ProviderSim) -> None:
    said_usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    judge = judge_for("chat")
    judged(judge, [stream(sim, "chat", Fault("usage", value=said_usage))])
    assert judge.doubts == ["6 chunks came with 1 tokens by its own count"]


def chunk(**delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


@pytest.mark.parametrize(
    "data",
    [
        b"data: [1]\n\n",
        b"data: {}\n\n",
        b'data: {"choices": {}}\n\n',
        b'data: {"choices": [1]}\n\n',
        b'data: {"choices": [{"delta": []}]}\n\n'.replace(b"[]", b"[1]"),
        b'data: {"choices": [{"index": "0", "delta": {}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',
        b'data: {"choices": [{"delta": {}, "finish_reason": 5}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": {"a": 1}}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": 1}}]}}]}\n\n',
        b'data: {"choices": ' + b"[" * 100_000 + b"\n\n",
        b"\x00\n\n",
        b"HTTP/1.1 500 Oh\r\n\r\n",
    ],
)
def test_what_is_no_chunk_is_garbage(data: bytes) -> None:
    judge = SseJudge()
    assert judge.feed(chunk(content="a"))
    with pytest.raises(BrokenStream) as caught:
        judge.feed(data)
    assert caught.value.kind == "garbage"
    assert judge.text == "a"
    with pytest.raises(BrokenStream):
        judge.feed(chunk(content="b"))


def test_nothing_comes_after_the_end() -> None:
    judge = SseJudge()
    end = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    judge.feed(chunk(content="a") + end)
    with pytest.raises(BrokenStream, match="goes on after its end"):
        judge.feed(chunk(content="b"))
    judge = SseJudge()
    assert len(judge.feed(chunk(content="a") + end + b"data: [DONE]\n\n" + chunk(content="b"))) == 2
    assert judge.feed(chunk(content="c")) == []
    assert judge.text == "a"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, None),
        ({"n": 1, "logprobs": False, "response_format": {"type": "text"}}, None),
        ({"tools": [TOOL], "tool_choice": "auto"}, None),
        ({"n": 2}, "several"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 0, "prompt": "x"}, "logprobs"),
        ({"response_format": {"type": "json_schema"}}, "form"),
        ({"response_format": {"type": "json_object"}}, "form"),
        ({"guided_json": {}, "grammar": "root"}, "form"),
        ({"tools": [TOOL], "tool_choice": "required"}, "enforced"),
        ({"modalities": ["text", "audio"]}, "more than text"),
        ({"prompt": "x"}, None),
        ({"prompt": ["x", "y"]}, "one text"),
        ({"prompt": [1, 2]}, "one text"),
        ({"prompt": "x", "echo": True}, "hold more"),
        ({"prompt": "x", "best_of": 2}, "several"),
    ],
)
def test_when_another_may_go_on(asked: Any, why: str | None) -> None:
    judge = SseJudge()
    assert judge.may_continue(asked) is None, "nothing was said yet"
    judge.feed(chunk(content="a"))
    found = judge.may_continue(asked)
    assert found == why if why is None else why in (found or "")


def test_thinking_and_refusals_are_not_continued() -> None:
    judge = SseJudge()
    judge.feed(chunk(reasoning_content="hm"))
    assert judge.may_continue({}) == "its thinking is half-written"
    judge.feed(chunk(content="so"))
    assert judge.may_continue({}) is None
    judge.feed(chunk(refusal="no"))
    assert judge.may_continue({}) == "a refusal has begun"


STREAM = (
    b"\xef\xbb\xbf: hello\r\n\r\nevent: x\ndata: "
    + '{"choices": [{"index": 0, "delta": {"content": "é榕"}}]}'.encode()
    + b'\r\rid: 7\rdata: {"choices": [{"index": 0,\rdata:  "delta": {"content": "b"}}]}\r\r\n'
    + b'retry: 5\r\n\r\ndata:{"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    + b"data: [DONE]\n\n"
)


@examples(60)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_bytes_may_be_split_anywhere(cuts: list[int]) -> None:
    judge, whole = SseJudge(), SseJudge()
    edges = [0, *cuts, len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(edges)]
    assert judged(judge, pieces) == judged(whole, [STREAM])
    assert (judge.text, judge.finish, judge.done) == ("é榕b", "stop", True)


@examples(60)
@given(st.binary(max_size=300), st.sampled_from([b"", b"data: ", b'data: {"choices": [{']))
def test_no_bytes_make_it_fail_otherwise(data: bytes, start: bytes) -> None:
    for anthropic in (False, True):
        judged(SseJudge(anthropic=anthropic), [start + data, b"\n\n"])
