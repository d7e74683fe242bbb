"""Streams that break go on at the next target, or end in an error; never half, never twice."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaign import LONG
from tests.features.gateway.gateways import gateway
from tests.features.gateway.test_falls_over import WORDS, routes
from tests.features.gateway.upstream import Provider, providers


@pytest.fixture(name="two")
def _two() -> Iterator[list[Provider]]:
    with providers("a", "b") as made:
        yield made


BREAKS: dict[str, tuple[dict[str, Any], str]] = {
    "cut": ({"cut": 4}, "cut"),
    "stall": ({"stall": 4}, "stalled"),
    "garbage": ({"garbage": 4}, "malformed"),
    "late 429": ({"error": 4}, "rate-limited"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_it_goes_on(two: list[Provider], tmp_path: Path, name: str) -> None:
    a, b = two
    doing, kind = BREAKS[name]
    a.doing = {**doing, "wait": 4}
    b.hold.set()
    with gateway(tmp_path, routes(a, b, waits=20, stall=1)) as caller:
        options = {"include_usage": True}
        answer = caller.chat_until("w3 ", a.hold.set, max_tokens=20, stream_options=options)
    assert answer.text == WORDS
    assert answer.done
    assert len({event["id"] for event in answer.events if "id" in event}) == 1
    assert sum("role" in c["delta"] for e in answer.events for c in e["choices"]) == 1
    note = answer.note
    assert note["target"] == "b:small"
    assert note["continued"] == [{"from": "a:big", "reason": kind, "characters": 12}]
    (asked,) = b.asked
    assert asked["messages"][-1] == {"role": "assistant", "content": "w0 w1 w2 w3 "}
    assert asked["max_tokens"] == 16
    assert answer.events[-1]["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 10,
        "total_tokens": 13,
    }


def test_it_goes_on_as_vllm_does(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"cut": 2}
    text = routes(a, b).replace('"prefill"', '"continue_final_message"')
    with gateway(tmp_path, text) as caller:
        assert caller.chat(stream=True).text == WORDS
    assert b.asked[0]["continue_final_message"] is True
    assert b.asked[0]["add_generation_prompt"] is False


@pytest.mark.parametrize(
    ("doing", "more", "why"),
    [
        ({"call": 2, "cut": 4}, {}, "a tool call has begun"),
        ({"cut": 4}, {"response_format": {"type": "json_object"}}, "half-written"),
        ({"cut": 4}, {"logprobs": True}, "logprobs"),
    ],
)
def test_it_ends_in_an_error(
    two: list[Provider], tmp_path: Path, doing: dict[str, Any], more: dict[str, Any], why: str
) -> None:
    a, b = two
    a.doing = doing
    with gateway(tmp_path, routes(a, b)) as caller:
        answer = caller.chat(stream=True, **more)
        assert "outlast_gateway_broken_streams_total" in caller.get("/metrics").body.decode()
    assert not answer.done
    assert why in answer.events[-1]["error"]["message"]
    assert b.asked == []


def test_no_target_can_go_on(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"cut": 4}
    text = routes(a, b).replace('continues = "prefill"', "")
    with gateway(tmp_path, text) as caller:
        answer = caller.chat(stream=True)
    assert not answer.done
    assert "a:big: cut" in answer.events[-1]["error"]["message"]


def test_several_break(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    with providers("c") as (c,):
        a.doing, b.doing = {"cut": 3}, {"cut": 6}
        text = routes(a, b) + f'[endpoints.c]\nurl = "{c.url}"\ncontinues = "prefill"\n'
        with gateway(tmp_path, text.replace('"b:small"]', '"b:small", "c:x"]')) as caller:
            answer = caller.chat(stream=True)
        assert answer.text == WORDS
        assert [part["from"] for part in answer.note["continued"]] == ["a:big", "b:small"]
        assert c.asked[0]["messages"][-1]["content"] == "w0 w1 w2 w3 w4 w5 "
        assert len(c.asked[0]["messages"]) == 2


def test_a_text_that_is_whole_needs_no_end(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"no_done": True}
    with gateway(tmp_path, routes(a, b)) as caller:
        answer = caller.chat(stream=True)
    assert answer.text == WORDS
    assert answer.done
    assert answer.note["target"] == "a:big"


def test_an_end_without_a_reason_is_a_cut(two: list[Provider], tmp_path: Path) -> None:
    a, b = two
    a.doing = {"no_finish": True, "wait": 9}
    b.words = 12
    with gateway(tmp_path, routes(a, b, waits=20, stall=20)) as caller:
        answer = caller.chat_until("w8 ", a.hold.set)
    assert answer.note["continued"][0]["reason"] == "cut"
    assert answer.done


def _killed(tmp_path: Path, count: int) -> None:
    """Streams of an upstream that is killed at random: all are whole, once."""
    dice = random.Random(16)
    with providers("a", "b") as (a, b):
        faults = ("cut", "garbage", "error")
        a.doing = lambda _: {dice.choice(faults): dice.randrange(0, 14)}
        with gateway(tmp_path, routes(a, b, waits=60, stall=60)) as caller:
            for _ in range(count):
                answer = caller.chat(stream=True)
                assert answer.text == WORDS
                assert answer.done


def test_killed_at_random(tmp_path: Path) -> None:
    _killed(tmp_path, 60)


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="make torture")
def test_killed_at_random_for_long(tmp_path: Path) -> None:
    _killed(tmp_path, 1000)
