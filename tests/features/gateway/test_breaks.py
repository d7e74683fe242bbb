"""Streams and whole answers that break, in each dialect: none is half without saying so.

Cut, stall, a malformed chunk and a late 429, each over chat, responses and messages: twelve cells,
each where another target can go on, and where none can.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.features.gateway.gateways import Answer, Caller, gateway
from tests.providersim import ProviderSim, answer_text

TOKENS: Final = 8
TEXT: Final = answer_text("user: say\n", TOKENS)
BREAKS: Final = {"cut": "close", "stall": "stall", "malformed": "malformed", "late 429": "late"}
TURN: Final = [{"role": "user", "content": "say"}]
ASKED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "chat": ("/v1/chat/completions", {"messages": TURN}),
    "responses": ("/v1/responses", {"input": "say"}),
    "messages": ("/v1/messages", {"messages": TURN, "max_tokens": 99}),
}


WHOLE: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "no byte": ({"action": "stall"}, "first-byte", "slow-first-token"),
    "half": ({"action": "stall", "after": 0}, "stall", "stalled"),
    "closed": ({"action": "close"}, "", "cut"),
    "spoilt": ({"action": "malformed"}, "", "malformed"),
    "429": ({"action": "status", "status": 429}, "", "rate-limited"),
}
"""Faults of whole answers: what the provider does, the clock that notices it, the reason given."""
CELLS: Final = [
    *((f"{name}.{dialect}.{end}") for name in BREAKS for dialect in ASKED for end in ("on", "no")),
    *((f"{name}.{dialect}.whole") for name in WHOLE for dialect in ASKED),
]
"""A route each, and a model of its own, so that no cell opens the breaker of another one."""


@pytest.fixture(scope="module", name="caller")
def _caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    models = tuple(cell.replace(" ", "-") for cell in CELLS)
    with (
        ProviderSim(tokens=TOKENS, models=models) as a,
        ProviderSim(tokens=TOKENS, models=models) as b,
    ):
        lines = []
        for letter, sim in (("a", a), ("b", b)):
            lines += [f'[endpoints.{letter}-no]\nurl = "{sim.url}"']
            lines += [f'[endpoints.{letter}-on]\nurl = "{sim.url}"\ncontinues = "prefill"']
        for cell, model in zip(CELLS, models, strict=True):
            name, _, end = cell.split(".")
            clocks = {"first-token": 60.0, "stall": 60.0, "first-byte": 60.0}
            if end == "whole":
                a.fail(**WHOLE[name][0], model=model)
                clocks |= {clock: 0.3 for clock in [WHOLE[name][1]] if clock}
            else:
                a.fail(BREAKS[name], after=3, model=model)
                clocks |= {"stall": 0.3} if name == "stall" else {}
            kind = "no" if end == "no" else "on"
            lines += [f'[routes."{model}"]', f'targets = ["a-{kind}:{model}", "b-{kind}:{model}"]']
            lines += [f"{clock} = {seconds}" for clock, seconds in clocks.items()]
        with gateway(tmp_path_factory.mktemp("breaks"), "\n".join(lines)) as caller:
            yield caller


def _ask(caller: Caller, name: str, dialect: str, end: str) -> Answer:
    path, body = ASKED[dialect]
    model = f"{name}.{dialect}.{end}".replace(" ", "-")
    return caller.post(path, {**body, "model": model, "stream": end != "whole"})


def _events(answer: Answer) -> list[dict[str, Any]]:
    lines = [line for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line[6:]) for line in lines if line != b"data: [DONE]"]


def _text(dialect: str, events: list[dict[str, Any]]) -> str:
    """What a client takes as the answer's text."""
    if dialect == "chat":
        choices = [choice for event in events for choice in event.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    if dialect == "responses":
        deltas = [e for e in events if e["type"] == "response.output_text.delta"]
        return "".join(event["delta"] for event in deltas)
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


def _says_whole(dialect: str, answer: Answer) -> bool:
    """Whether the stream has the end that a whole answer has."""
    if dialect == "chat":
        return answer.done
    last = {"responses": "response.completed", "messages": "message_stop"}[dialect]
    return last in {event["type"] for event in _events(answer)}


def _says_error(dialect: str, events: list[dict[str, Any]]) -> bool:
    if dialect == "chat":
        return "error" in events[-1]
    return bool({"error", "response.failed"} & {event["type"] for event in events})


@pytest.mark.parametrize("dialect", ASKED)
@pytest.mark.parametrize("name", BREAKS)
def test_a_stream_goes_on(caller: Caller, name: str, dialect: str) -> None:
    answer = _ask(caller, name, dialect, "on")
    events = _events(answer)
    assert _text(dialect, events) == TEXT
    assert _says_whole(dialect, answer)
    assert not _says_error(dialect, events)


@pytest.mark.parametrize("dialect", ASKED)
@pytest.mark.parametrize("name", BREAKS)
def test_a_stream_ends_in_an_error(caller: Caller, name: str, dialect: str) -> None:
    """But where the fault came together with the first tokens: then all is asked for again."""
    answer = _ask(caller, name, dialect, "no")
    events = _events(answer)
    text = _text(dialect, events)
    if text == TEXT:
        assert name != "stall"
        assert _says_whole(dialect, answer)
    else:
        assert text in {answer_text("user: say\n", count) for count in range(1, 4)}
        assert _says_error(dialect, events)
        assert not _says_whole(dialect, answer)


@pytest.mark.parametrize("dialect", ASKED)
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_comes_from_the_next_target(caller: Caller, name: str, dialect: str) -> None:
    """One that stalls costs its clock, and not the time of an answer as a whole."""
    answer = _ask(caller, name, dialect, "whole")
    assert answer.status == 200
    (passed,) = answer.json["outlast"]["passed"]
    assert passed["reason"] == WHOLE[name][2]
    assert TEXT in json.dumps(answer.json, ensure_ascii=False)
