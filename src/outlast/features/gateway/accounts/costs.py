"""Hosted against local: what a route cost at providers, what its answers cost on a machine of one's
own, and from which load on that is cheaper.

A machine costs by the hour, whatever it does. So a million tokens of answers cost (dollars an hour)
/ (tokens a second x 3600) x 1e6, which falls with the load: a curve, not a number. What hosted
answers cost is taken with the prompts that came with them, as the ledger has them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from outlast.features.gateway.accounts.ledger import LedgerRow
from outlast.features.gateway.accounts.money import NANO
from outlast.features.gateway.accounts.tables import LocalMachine

LOCAL: Final = "local"
"""The provider of models that run here."""
_MILLION: Final = 10**6
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """With `load` requests at once: tokens of answers a second, and dollars for a million."""

    load: int
    tokens_per_second: Decimal
    dollars_per_million: Decimal


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From which load on a machine of one's own is cheaper: `tokens_per_second` of answers at all
    hours, which it gives from `load` requests at once on. None: it cannot give so many.
    """

    tokens_per_second: Decimal
    load: Decimal | None


@dataclass(frozen=True, slots=True)
class RouteCost:
    """A route's hosted requests in a time, and what its own machine would cost. `money`:
    nano-dollars of those with a known price; `dollars_per_million`: for tokens of answers, of rows
    whose prices are all known; None where there are none.
    """

    route: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    money: int
    unpriced: int
    local_requests: int
    dollars_per_million: Decimal | None
    average_tokens_per_second: Decimal
    curve: tuple[CurvePoint, ...]
    break_even: BreakEven | None

    @property
    def is_own_cheaper(self) -> bool | None:
        """Whether one's own machine would have been cheaper at the average load of the time; None
        where that is not known.
        """
        at = self.break_even
        if at is None:
            return None
        return at.load is not None and self.average_tokens_per_second >= at.tokens_per_second


def route_costs(
    rows: Iterable[LedgerRow], machines: Mapping[str, LocalMachine], seconds: float
) -> list[RouteCost]:
    """The routes of `rows`, which are of a time of so many seconds, and those of `machines`."""
    by_route: dict[str, list[LedgerRow]] = {name: [] for name in machines}
    for row in rows:
        by_route.setdefault(row.route, []).append(row)
    return [
        _route_cost(route, found, machines.get(route), max(seconds, 1.0))
        for route, found in sorted(by_route.items())
    ]


def _route_cost(
    route: str, rows: Iterable[LedgerRow], machine: LocalMachine | None, seconds: float
) -> RouteCost:
    local = [row for row in rows if row.provider == LOCAL]
    hosted = [row for row in rows if row.provider != LOCAL]
    priced = [row for row in hosted if not row.unpriced]
    answers = sum(row.completion_tokens for row in priced)
    spent = Decimal(sum(row.money for row in priced)) / NANO
    hosted_rate = spent * _MILLION / answers if answers and spent else None
    curve = _curve(machine) if machine is not None else ()
    all_answers = sum(row.completion_tokens for row in (*hosted, *local))
    return RouteCost(
        route,
        sum(row.requests for row in hosted),
        sum(row.prompt_tokens for row in hosted),
        sum(row.completion_tokens for row in hosted),
        sum(row.money for row in hosted),
        sum(row.unpriced for row in hosted),
        sum(row.requests for row in local),
        hosted_rate,
        Decimal(all_answers) / Decimal(seconds),
        curve,
        None if machine is None or hosted_rate is None else _break_even(machine, hosted_rate),
    )


def _curve(machine: LocalMachine) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(load, rate, machine.dollars_per_hour * _MILLION / (rate * _HOUR))
        for load, rate in machine.curve
    )


def _break_even(machine: LocalMachine, hosted: Decimal) -> BreakEven:
    """`hosted`: dollars for a million tokens of answers."""
    needed = machine.dollars_per_hour * _MILLION / (hosted * _HOUR)
    return BreakEven(needed, _load_for(machine, needed))


def _load_for(machine: LocalMachine, needed: Decimal) -> Decimal | None:
    """How many requests at once give so many tokens a second: between two points of the curve in
    proportion, and no more than its last point shows.
    """
    before_load, before_rate = Decimal(0), Decimal(0)
    for load, rate in machine.curve:
        if rate >= needed:
            part = (needed - before_rate) / (rate - before_rate)
            return before_load + part * (load - before_load)
        if rate > before_rate:
            before_load, before_rate = Decimal(load), rate
    return None
