"""What the gateway's handler and the accounts tell each other."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from outlast.features.gateway.accounts.periods import Period

MOST_TOKENS: Final = 10**12
"""Of one request. No model has a context of a ten-thousandth of it: a number beyond is a lie."""
MOST_MONEY: Final = 10**15
"""Nano-dollars of one request: a million dollars. Likewise."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be spent on `account` in each `period`; None: no limit. `money` is in
    nano-dollars. With the period OPEN, `requests` is how many may run at once. `title` names the
    account to a person.
    """

    account: str
    period: Period
    title: str
    tokens: int | None = None
    money: int | None = None
    requests: int | None = None


def merged(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """One limit for each account and period, the least of each kind: an account is charged once."""
    found: dict[tuple[str, Period], Limit] = {}
    for limit in limits:
        place = (limit.account, limit.period)
        before = found.get(place)
        found[place] = limit if before is None else _least(before, limit)
    return tuple(found.values())


def _least(one: Limit, other: Limit) -> Limit:
    def least(first: int | None, second: int | None) -> int | None:
        return min((part for part in (first, second) if part is not None), default=None)

    return replace(
        one,
        tokens=least(one.tokens, other.tokens),
        money=least(one.money, other.money),
        requests=least(one.requests, other.requests),
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the key that was given, "" where the gateway has no keys. `models` are globs of
    route names that the key may use, and `limits` its budgets by route ("*": all routes together).
    """

    key: str = ""
    name: str = ""
    models: tuple[str, ...] = ("*",)
    limits: tuple[tuple[str, Limit], ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """The most that a request can take: tokens of its prompt, tokens of its answer, and
    nano-dollars; None where the price is unknown. Budgets hold exactly as far as this is an upper
    bound.
    """

    prompt_tokens: int
    max_tokens: int
    money: int | None

    @property
    def tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.max_tokens


@dataclass(frozen=True, slots=True)
class Spent:
    """What a request took at one target: `target` is the operator's name of it, `provider` who runs
    it, `jurisdiction` the country of the model's publisher (two letters, or "unknown"), `money` in
    nano-dollars, None where the price is unknown.
    """

    target: str
    provider: str
    model: str
    jurisdiction: str
    prompt_tokens: int
    completion_tokens: int
    money: int | None
    seconds: float

    @property
    def tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def is_plausible(self) -> bool:
        """Whether the counts can be true. Providers write them."""
        return (
            0 <= self.prompt_tokens <= MOST_TOKENS
            and 0 <= self.completion_tokens <= MOST_TOKENS
            and (self.money is None or 0 <= self.money <= MOST_MONEY)
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """Where a reservation was counted: on which account, in which period of which kind."""

    account: str
    kind: Period
    period: str


@dataclass(slots=True)
class Reservation:
    """What was set aside for a request. `hold` is its row in the database, None where no budget
    applies; `done`: it was settled or released, and counts no more.
    """

    caller: Caller
    route: str
    model: str
    estimate: Estimate
    hold: int | None = None
    charges: tuple[Charge, ...] = ()
    done: bool = field(default=False, compare=False)
