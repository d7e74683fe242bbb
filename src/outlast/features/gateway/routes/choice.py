"""In which order the targets of a route are asked, and which replica of one. Pure."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from outlast.features.gateway.routes.values import GatewayRoute, GatewayTarget

_PREFIX: Final = 1024
"""Characters of a conversation's beginning that choose a replica. Guess: a system prompt differs
within it; engines cache by prefixes."""
_SPARE: Final = 2
"""Requests that a replica may have more than the one with the fewest before it loses what is its by
affinity. Guess: engines batch so many at no cost."""


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """What is known of a target: whether it answers; seconds to its first token, of late (None:
    unknown); nano-dollars of a million tokens, half of them of the answer (None: unknown).
    """

    answers: bool = True
    first_token: float | None = None
    price: int | None = None


def in_turn(
    route: GatewayRoute, seen: Callable[[GatewayTarget], TargetSeen]
) -> tuple[list[GatewayTarget], list[GatewayTarget]]:
    """The targets of a route by its mode, and the same in the order in which they are asked: first
    those that answer. So the first of the former is the choice that another one stands in for.
    """
    known = {target.name: seen(target) for target in route.targets}
    wanted = _by_mode(route, known)
    asked = [t for t in wanted if known[t.name].answers]
    return wanted, asked + [t for t in wanted if not known[t.name].answers]


def _by_mode(route: GatewayRoute, known: dict[str, TargetSeen]) -> list[GatewayTarget]:
    targets = list(route.targets)
    if route.mode == "hosted-first":
        return sorted(targets, key=lambda t: not t.hosted)
    if route.mode == "local-first":
        return sorted(targets, key=lambda t: t.hosted)
    if route.mode == "cheapest":
        return sorted(targets, key=lambda t: _dear(known[t.name], t, route.latency_goal))
    if route.mode == "fastest":
        within = [t for t in targets if _within(known[t.name], t, route.most_price)]
        return sorted(within, key=lambda t: known[t.name].first_token or 0.0)
    return targets


def _dear(seen: TargetSeen, target: GatewayTarget, goal: float | None) -> tuple[bool, bool, int]:
    """Slow targets last; of the others those with a price, the lowest first. A model of one's own
    without a price counts as free: its machine runs anyway.
    """
    slow = goal is not None and seen.first_token is not None and seen.first_token > goal
    price = seen.price if seen.price is not None or target.hosted else 0
    return slow, price is None, price or 0


def _within(seen: TargetSeen, target: GatewayTarget, most: int | None) -> bool:
    """Whether a target is within a price; one that is unknown is not."""
    if seen.price is None:
        return not target.hosted
    return most is None or seen.price <= most


class Replica(Protocol):
    """One of several servers of an endpoint."""

    @property
    def url(self) -> str: ...

    @property
    def answers(self) -> bool: ...

    @property
    def under_way(self) -> int: ...


def pick(replicas: Sequence[Replica], prefix: bytes) -> list[int]:
    """The numbers of `replicas` in the order in which they are asked. Conversations with the same
    beginning go to the same one (rendezvous hashing), unless it has more to do than others; those
    that do not answer come last.
    """
    if len(replicas) == 1:
        return [0]
    fewest = min((r.under_way for r in replicas if r.answers), default=0)

    def rank(number: int) -> tuple[bool, int, bytes]:
        one = replicas[number]
        over = max(0, one.under_way - fewest - _SPARE)
        mark = hashlib.blake2b(prefix + b"\0" + one.url.encode(), digest_size=8).digest()
        return not one.answers, over, mark

    return sorted(range(len(replicas)), key=rank)


def prefix_of(body: dict[str, Any]) -> bytes:
    """The beginning of a request that decides on its replica."""
    messages = body.get("messages")
    parts: Iterable[Any] = messages[:2] if isinstance(messages, list) else (body.get("prompt"),)
    return "\0".join(str(part)[:_PREFIX] for part in parts).encode("utf-8", "replace")
