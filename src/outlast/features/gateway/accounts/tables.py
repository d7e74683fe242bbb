"""The tables of ``gateway.toml`` that say what things cost and what may be spent: ``[prices]``,
``[local]``, ``[tariffs]``, ``[[budgets]]`` and ``[ledger]``. Its other tables belong to the routes.
"""

import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from outlast.core.errors import BadConfigError, one_line
from outlast.features.gateway.accounts.keys import LimitRow, limit_of
from outlast.features.gateway.accounts.money import atto, nanos_of, parse_dollars
from outlast.features.gateway.accounts.periods import Period
from outlast.features.gateway.accounts.values import Limit

FILE: Final = "gateway.toml"
"""In the archive's folder."""
_MOST_BYTES: Final = 1 << 20
_MOST_ROWS: Final = 10_000
_MOST_POINTS: Final = 100
_MOST_TARIFF: Final = 1000
KEEP_DAYS: Final = 400
"""Days of the ledger: a year and a month, so that a month can be compared with the last year's."""
_TABLES: Final = ("prices", "local", "tariffs", "budgets", "ledger")


@dataclass(frozen=True, slots=True)
class ModelRates:
    """What a model costs: dollars for a million tokens of prompts and of answers, and for each
    request.
    """

    prompt: Decimal
    answer: Decimal
    request: Decimal = Decimal(0)

    def nanos(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Nano-dollars of one request, rounded up; in whole numbers, so that nothing else is
        rounded.
        """
        per_million = atto(self.prompt) * prompt_tokens + atto(self.answer) * completion_tokens
        return -(-(per_million + atto(self.request) * 10**6) // 10**15)


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """What serves a route on a machine of one's own: dollars an hour, and by how many requests are
    served at once the tokens of answers a second that it gives, as measured; by growing load.
    """

    dollars_per_hour: Decimal
    curve: tuple[tuple[int, Decimal], ...]


@dataclass(frozen=True, slots=True)
class OperatorTables:
    """What the operator says. `prices` by ``provider/model`` or ``model``, `local` and `budgets` by
    route, `tariffs` (factors of money) by jurisdiction or provider.
    """

    prices: Mapping[str, ModelRates] = field(default_factory=dict)
    local: Mapping[str, LocalMachine] = field(default_factory=dict)
    tariffs: Mapping[str, Decimal] = field(default_factory=dict)
    budgets: Mapping[str, Sequence[Limit]] = field(default_factory=dict)
    keep_days: int = KEEP_DAYS


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """A table that may have these keys alone."""


class _PriceRow(_Row, frozen=True):
    input: Any
    output: Any = 0
    request: Any = 0


class _LocalRow(_Row, frozen=True):
    dollars_per_hour: Any
    curve: Annotated[list[tuple[int, Decimal]], Meta(min_length=1, max_length=_MOST_POINTS)]


class _LedgerRow(_Row, frozen=True):
    keep_days: Annotated[int, Meta(ge=1, le=36_500)] = KEEP_DAYS


class _BudgetRow(_Row, frozen=True):
    route: Annotated[str, Meta(min_length=1, max_length=200)]
    period: Period
    tokens: Annotated[int, Meta(ge=0, le=10**15)] | None = None
    money: Any = None
    requests: Annotated[int, Meta(ge=0, le=10**15)] | None = None


class _Tables(msgspec.Struct, frozen=True):
    prices: Annotated[dict[str, _PriceRow], Meta(max_length=_MOST_ROWS)] = {}
    local: Annotated[dict[str, _LocalRow], Meta(max_length=_MOST_ROWS)] = {}
    tariffs: Annotated[dict[str, Any], Meta(max_length=_MOST_ROWS)] = {}
    budgets: Annotated[list[_BudgetRow], Meta(max_length=_MOST_ROWS)] = []
    ledger: _LedgerRow = _LedgerRow()


def read_tables(path: Path) -> OperatorTables:
    """The tables of the file at `path`; the defaults where there is none. Raises
    :class:`BadConfigError`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return OperatorTables()
    except OSError as error:
        raise BadConfigError(f"{path}: {error.strerror}") from error
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise BadConfigError(f"{path} is not a file")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise BadConfigError(f"{path} has more than {_MOST_BYTES} bytes")
    try:
        # Numbers with a point as decimals: 0.1 stays a tenth.
        document = tomllib.loads(data.decode(), parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise BadConfigError(f"{path}: {one_line(str(error), 300)}") from None
    return parse_tables(document, str(path))


def parse_tables(document: Mapping[str, Any], where: str) -> OperatorTables:
    """The tables of a document whose numbers with a point are decimals. Raises
    :class:`BadConfigError`.
    """
    try:
        said = msgspec.convert({key: document[key] for key in _TABLES if key in document}, _Tables)
    except (ValueError, RecursionError) as error:
        raise BadConfigError(f"{where}: {one_line(str(error), 300)}") from None
    return OperatorTables(
        {name: _rates(row, f"{where}: prices.{name}") for name, row in said.prices.items()},
        {name: _machine(row, f"{where}: local.{name}") for name, row in said.local.items()},
        {name: _tariff(value, f"{where}: tariffs.{name}") for name, value in said.tariffs.items()},
        _budgets(said.budgets, f"{where}: budgets"),
        said.ledger.keep_days,
    )


def _rates(row: _PriceRow, where: str) -> ModelRates:
    return ModelRates(
        parse_dollars(row.input, f"{where}.input"),
        parse_dollars(row.output, f"{where}.output"),
        parse_dollars(row.request, f"{where}.request"),
    )


def _machine(row: _LocalRow, where: str) -> LocalMachine:
    loads = [load for load, _ in row.curve]
    rates = [rate for _, rate in row.curve]
    if loads != sorted(set(loads)) or loads[0] < 1:
        raise BadConfigError(
            f"{where}.curve: the loads do not grow",
            hint="write pairs of requests at once and tokens a second: [[1, 40], [8, 210]]",
        )
    if not all(rate.is_finite() and 0 < rate <= 10**9 for rate in rates):
        raise BadConfigError(f"{where}.curve: tokens a second are numbers above 0")
    dollars = parse_dollars(row.dollars_per_hour, f"{where}.dollars-per-hour")
    return LocalMachine(dollars, tuple(row.curve))


def _tariff(value: Any, where: str) -> Decimal:
    found = parse_dollars(value, where)
    if found > _MOST_TARIFF:
        raise BadConfigError(
            f"{where}: a factor is at most {_MOST_TARIFF}", hint="1.25 is 25 % more"
        )
    return found


def _budgets(rows: Sequence[_BudgetRow], where: str) -> dict[str, list[Limit]]:
    found: dict[str, list[Limit]] = {}
    for row in rows:
        money = None if row.money is None else nanos_of(parse_dollars(row.money, f"{where}.money"))
        limit = limit_of(
            "route",
            "all keys",
            LimitRow(
                period=row.period,
                route=row.route,
                tokens=row.tokens,
                money=money,
                requests=row.requests,
            ),
        )
        found.setdefault(row.route, []).append(limit)
    return found
