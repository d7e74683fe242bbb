"""In which order targets and replicas are asked."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from outlast.core.names import Target
from outlast.features.gateway.routes.choice import TargetSeen, in_turn, pick, prefix_of
from outlast.features.gateway.routes.values import (
    Endpoint,
    GatewayRoute,
    GatewayTarget,
    LocalModel,
    Mode,
)

CLOUD = GatewayTarget("cloud:x", "x", Endpoint("cloud", ("https://c",)))
DEAR = GatewayTarget("dear:x", "x", Endpoint("dear", ("https://d",)))
RACK = GatewayTarget("rack:x", "x", Endpoint("rack", ("http://r",), hosted=False))
OWN = GatewayTarget("archive:o/n", "o/n", local=LocalModel(Target.parse("o/n")))
SEEN = {
    "cloud:x": TargetSeen(first_token=0.5, price=2_000),
    "dear:x": TargetSeen(first_token=0.1, price=9_000),
    "rack:x": TargetSeen(first_token=0.2),
    "archive:o/n": TargetSeen(first_token=3.0),
}


def _order(mode: Mode, seen: dict[str, TargetSeen] = SEEN, **more: float) -> list[str]:
    route = replace(GatewayRoute("m", (CLOUD, DEAR, RACK, OWN), mode), **more)  # type: ignore[arg-type]
    return [target.name for target in in_turn(route, lambda t: seen[t.name])[1]]


@pytest.mark.parametrize(
    ("mode", "more", "names"),
    [
        ("as-listed", {}, ["cloud:x", "dear:x", "rack:x", "archive:o/n"]),
        ("hosted-first", {}, ["cloud:x", "dear:x", "rack:x", "archive:o/n"]),
        ("local-first", {}, ["rack:x", "archive:o/n", "cloud:x", "dear:x"]),
        ("cheapest", {"latency_goal": 1.0}, ["rack:x", "cloud:x", "dear:x", "archive:o/n"]),
        ("cheapest", {"latency_goal": 0.3}, ["rack:x", "dear:x", "archive:o/n", "cloud:x"]),
        ("fastest", {"most_price": 5_000}, ["rack:x", "cloud:x", "archive:o/n"]),
        ("fastest", {"most_price": 10_000}, ["dear:x", "rack:x", "cloud:x", "archive:o/n"]),
    ],
)
def test_modes(mode: Mode, more: dict[str, Any], names: list[str]) -> None:
    assert _order(mode, **more) == names


def test_what_does_not_answer_comes_last() -> None:
    seen = {**SEEN, "cloud:x": TargetSeen(answers=False)}
    assert _order("as-listed", seen) == ["dear:x", "rack:x", "archive:o/n", "cloud:x"]


def test_an_unknown_price_is_not_within_one() -> None:
    seen = {**SEEN, "cloud:x": TargetSeen(first_token=0.01)}
    assert "cloud:x" not in _order("fastest", seen, most_price=10**9)


@dataclass
class One:
    url: str
    answers: bool = True
    under_way: int = 0


def test_conversations_stay_with_their_replica() -> None:
    four = [One(f"http://{n}/v1") for n in range(4)]
    firsts = [pick(four, b"%d" % n)[0] for n in range(400)]
    assert firsts == [pick(four, b"%d" % n)[0] for n in range(400)]
    assert min(Counter(firsts).values()) > 50
    # One more replica takes its share, and moves no others.
    moved = [pick([*four, One("http://4/v1")], b"%d" % n)[0] for n in range(400)]
    assert {new for old, new in zip(firsts, moved, strict=True) if old != new} == {4}


def test_load_goes_before_affinity_and_life_before_load() -> None:
    two = [One("http://0/v1"), One("http://1/v1")]
    first = pick(two, b"x")[0]
    two[first].under_way = 2
    assert pick(two, b"x")[0] == first
    two[first].under_way = 3
    assert pick(two, b"x")[0] != first
    two[1 - first].answers = False
    assert pick(two, b"x") == [first, 1 - first]


def test_the_beginning_counts() -> None:
    system = {"role": "system", "content": "s" * 5000}
    one = prefix_of({"messages": [system, {"role": "user", "content": "a"}, {"content": "1"}]})
    assert one == prefix_of({"messages": [system, {"role": "user", "content": "a"}]})
    assert one != prefix_of({"messages": [system, {"role": "user", "content": "b"}]})
    assert prefix_of({"prompt": "a"}) != prefix_of({"prompt": "b"})
    assert prefix_of({})
