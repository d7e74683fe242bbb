"""The stand-in says what README.md promises, and misbehaves as asked."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.providersim import ACTIONS, Fault, ProviderSim, answer_text

HELLO = [{"role": "user", "content": "hello"}]
PROMPT = "user: hello\n"


@pytest.fixture
def sim() -> Iterator[ProviderSim]:
    with ProviderSim(tokens=5) as sim:
        yield sim


def post(sim: ProviderSim, path: str = "chat/completions", **body: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(sim.root.removeprefix("http://"), timeout=20)
    try:
        document = {"model": "sim-model", "messages": HELLO, **body}
        connection.request("POST", f"/v1/{path}", json.dumps(document))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def deltas(stream: bytes) -> list[Any]:
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n") if line[:5] == b"data:"]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def text_of(stream: bytes) -> str:
    choices = [choice for chunk in deltas(stream) for choice in chunk["choices"]]
    return "".join(one["delta"].get("content") or "" for one in choices)


def test_it_says_the_same_whole_and_streamed(sim: ProviderSim) -> None:
    status, body = post(sim)
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (
        200,
        answer_text(PROMPT, 5),
    )
    assert text_of(post(sim, stream=True)[1]) == answer_text(PROMPT, 5)
    assert [one.prompt for one in sim.requests("chat", "hello")] == [PROMPT, PROMPT]


@pytest.mark.parametrize("length", [2, 9, 17])
@pytest.mark.parametrize("asked", [{}, {"continue_final_message": True}])
def test_it_continues_what_was_begun(sim: ProviderSim, length: int, asked: Any) -> None:
    """At any character: a stream may be cut inside a token."""
    begun = answer_text(PROMPT, 5)[:length]
    turns = [*HELLO, {"role": "assistant", "content": begun}]
    _, body = post(sim, messages=turns, stream=True, add_generation_prompt=False, **asked)
    assert begun + text_of(body) == answer_text(PROMPT, 5)
    _, body = post(sim, "completions", prompt="once " + answer_text("once ", 5)[:length])
    rest = json.loads(body)["choices"][0]["text"]
    assert answer_text("once ", 5)[:length] + rest == answer_text("once ", 5)


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - {"drip", "delay", "tool_cut", "usage"}))
def test_what_goes_wrong_differs_from_what_does_not(sim: ProviderSim, action: str) -> None:
    _, whole = post(sim, stream=True)
    sim.script.append(Fault(action, after=2, seconds=0.01, size=1000, value="other", status=451))
    if action in ("reset", "close"):
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            post(sim, stream=True)
        return
    status, body = post(sim, stream=True)
    if action == "stall":
        assert text_of(body) == answer_text(PROMPT, 5)
    else:
        assert (status, body.replace(b"sim-2", b"sim-1")) != (200, whole)


def test_a_call_is_cut_in_half(sim: ProviderSim) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    _, whole = post(sim, tools=[tool], tool_choice="required")
    call = json.loads(whole)["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(call["arguments"]) == {"city": "oak"}
    sim.fail("tool_cut", count=1)
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(sim, tools=[tool], tool_choice="required", stream=True)
    assert b"arguments" in caught.value.partial
    assert b'finish_reason": "' not in caught.value.partial


def test_a_giant_body_is_never_in_memory(sim: ProviderSim) -> None:
    sim.fail("giant")
    connection = http.client.HTTPConnection(sim.root.removeprefix("http://"), timeout=20)
    connection.request(
        "POST", "/v1/chat/completions", json.dumps({"model": "sim-model", "messages": HELLO})
    )
    answer = connection.getresponse()
    assert answer.length == 10 * 10**9
    assert len(answer.read(1 << 20)) == 1 << 20
    answer.close()
    connection.close()


def test_faults_fit_requests(sim: ProviderSim) -> None:
    sim.fail("status", status=429, count=2, prompt="hello", headers={"Retry-After": "7"})
    assert [post(sim)[0] for _ in range(3)] == [429, 429, 200]
    sim.gone.add("sim-model")
    assert post(sim)[0] == 404
    sim.keys = frozenset({"other"})
    assert post(sim)[0] == 401
    with pytest.raises(ValueError, match="no action"):
        Fault("explode")
