"""What the tests of the accounts share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outlast.features.gateway.accounts.accounts import GatewayAccounts
from outlast.features.gateway.accounts.keys import LimitRow
from outlast.features.gateway.accounts.periods import Period
from outlast.features.gateway.accounts.values import Caller, Estimate, Spent

DAY_30 = 1_796_040_000.0
"""2026-11-30 12:00 UTC."""
ESTIMATE = Estimate(60, 40, 1_000)


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, now: float = DAY_30) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def accounts(home: Path, clock: Clock | None = None, **more: Any) -> GatewayAccounts:
    """Accounts that are never flushed by themselves."""
    return GatewayAccounts(home, clock=clock or Clock(), flush_seconds=3600, **more)


def caller(
    box: GatewayAccounts, *limits: LimitRow, models: Sequence[str] = (), name: str = "alice"
) -> Caller:
    """A new key's caller."""
    _, secret = box.keys.new(name, tuple(models), limits)
    return box.authenticate(secret)


def by_day(
    tokens: int | None = None, money: int | None = None, requests: int | None = None
) -> LimitRow:
    return LimitRow(period=Period.DAY, tokens=tokens, money=money, requests=requests)


def spent(prompt: int = 50, completion: int = 30, money: int | None = 700, **more: Any) -> Spent:
    values: dict[str, Any] = {
        "target": "first",
        "provider": "openai",
        "model": "gpt",
        "jurisdiction": "US",
        "seconds": 0.5,
    }
    return Spent(prompt_tokens=prompt, completion_tokens=completion, money=money, **(values | more))


def counted(box: GatewayAccounts, who: Caller, route: str = "fast") -> list[tuple[int, int, int]]:
    """Tokens, money and requests of each limit."""
    return [
        (one.tokens, one.money, one.requests) for one in box.standings(box.limits_of(who, route))
    ]
