"""The option ``--budget`` of ``outlast gateway keys``."""

import re
from typing import Any, Final

import click

from outlast.core.errors import UsageError
from outlast.features.gateway.accounts.keys import ALL_ROUTES, LimitRow
from outlast.features.gateway.accounts.money import nanos_of, parse_dollars
from outlast.features.gateway.accounts.periods import Period

_FORM: Final = re.compile(r"(day|month|total)(?:@([^:]{1,200}))?:(.+)\Z")
_COUNT: Final = re.compile(r"([0-9]{1,15})([kMG]?)\Z")
_POWERS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_HINT: Final = "write it like day:tokens=2M,money=5 or month@fast:requests=10k"


class BudgetType(click.ParamType[LimitRow]):
    """``PERIOD[@ROUTE]:tokens=N,money=DOLLARS,requests=N``."""

    name = "budget"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> LimitRow:
        del param, ctx
        return value if isinstance(value, LimitRow) else parse_budget(str(value))


def parse_budget(text: str) -> LimitRow:
    """A budget as a person writes it. Raises :class:`UsageError`."""
    found = _FORM.match(text)
    if found is None:
        raise UsageError(f"not a budget: {text[:100]!r}", hint=_HINT)
    most: dict[str, int] = {}
    for part in found[3].split(","):
        kind, equals, amount = part.partition("=")
        if not equals or kind not in {"tokens", "money", "requests"} or kind in most:
            raise UsageError(f"not a part of a budget: {part[:100]!r}", hint=_HINT)
        most[kind] = (
            nanos_of(parse_dollars(amount, "--budget")) if kind == "money" else _count(amount)
        )
    return LimitRow(period=Period(found[1]), route=found[2] or ALL_ROUTES, **most)


def _count(text: str) -> int:
    found = _COUNT.match(text)
    count = int(found[1]) * _POWERS[found[2]] if found is not None else -1
    if not 0 <= count <= 10**15:
        raise UsageError(f"not a number for a budget: {text[:100]!r}", hint=_HINT)
    return count
