"""The usage ledger: what was used, by day, key, route and origin; exact to the token.

What has a budget is written with its settlement. What has none costs no transaction: it is summed
up in memory, and written every few seconds.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from outlast.core.errors import one_line
from outlast.features.gateway.accounts.values import Spent

UNKNOWN: Final = "unknown"
_MOST_TEXT: Final = 200
MOST_PENDING: Final = 10_000
"""Different origins that wait in memory: 5 MB. Guess: a hundred times what a gateway has in a
day."""
_COLUMNS: Final = (
    "day, caller, route, target, provider, model, jurisdiction, certain, requests, prompt_tokens, "
    "completion_tokens, money, unpriced, milliseconds"
)
_ADD: Final = f"""INSERT INTO ledger ({_COLUMNS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens,
        money = money + excluded.money, unpriced = unpriced + excluded.unpriced,
        milliseconds = milliseconds + excluded.milliseconds"""  # noqa: S608 - of constants
_READ: Final = f"SELECT {_COLUMNS} FROM ledger WHERE day BETWEEN ? AND ?"  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What was used in a day (UTC) from one origin. `caller` is the key's id; `certain` is false
    for what is not known to have been used, because the process ended or the target said what
    cannot be true, and counts as the most that it can have been. `money`: nano-dollars of the
    requests with a known price; `unpriced`: how many have none.
    """

    day: str
    caller: str
    route: str
    target: str
    provider: str
    model: str
    jurisdiction: str
    certain: bool
    requests: int
    prompt_tokens: int
    completion_tokens: int
    money: int
    unpriced: int
    milliseconds: int

    @classmethod
    def of(cls, day: str, caller: str, route: str, spent: Spent, *, certain: bool) -> Self:
        """The row of one request at one target."""
        return cls(*_origin(day, caller, route, spent, certain=certain), *_amounts(spent))

    @property
    def origin(self) -> "_Origin":
        """What makes it a row of its own."""
        return (
            self.day,
            self.caller,
            self.route,
            self.target,
            self.provider,
            self.model,
            self.jurisdiction,
            self.certain,
        )

    def plus(self, other: "LedgerRow") -> "LedgerRow":
        """Both together, under the names of this one."""
        return LedgerRow(*self.origin, *_sum(self.amounts, other.amounts))

    @property
    def amounts(self) -> "_Amounts":
        """What is summed up over the rows of one origin."""
        return (
            self.requests,
            self.prompt_tokens,
            self.completion_tokens,
            self.money,
            self.unpriced,
            self.milliseconds,
        )


class PendingRows:
    """Rows that wait to be written, as sums by origin: every request adds to one. Thread-safe."""

    def __init__(self) -> None:
        self._sums: dict[_Origin, _Amounts] = {}
        self._lock: Final = threading.Lock()

    def note(self, day: str, caller: str, route: str, spent: Spent, *, certain: bool) -> None:
        """Adds one request at one target."""
        self._add(_origin(day, caller, route, spent, certain=certain), _amounts(spent))

    def _add(self, origin: "_Origin", amounts: "_Amounts") -> None:
        with self._lock:
            before = self._sums.get(origin)
            self._sums[origin] = amounts if before is None else _sum(before, amounts)

    def take(self) -> list[LedgerRow]:
        """All of them; none wait afterwards."""
        with self._lock:
            sums, self._sums = self._sums, {}
        return [LedgerRow(*origin, *amounts) for origin, amounts in sums.items()]

    def put_back(self, rows: Iterable[LedgerRow]) -> None:
        """Those that could not be written."""
        for row in rows:
            self._add(row.origin, row.amounts)

    @property
    def is_full(self) -> bool:
        """Whether no further origins should be taken in."""
        return len(self._sums) >= MOST_PENDING


def add_rows(db: sqlite3.Connection, rows: Sequence[LedgerRow]) -> None:
    """Adds to the ledger, within a transaction."""
    for row in rows:
        db.execute(
            _ADD,
            (*row.origin[:-1], int(row.certain), *row.amounts),
        )


def read_rows(db: sqlite3.Connection, first: str, last: str) -> list[LedgerRow]:
    """The rows of the days from `first` to `last`, in their order."""
    found = db.execute(_READ, (first, last)).fetchall()
    return sorted(
        (LedgerRow(*(*row[:7], bool(row[7]), *row[8:])) for row in found),
        key=lambda row: row.origin,
    )


def drop_before(db: sqlite3.Connection, day: str) -> int:
    """Removes the rows of older days; returns how many there were."""
    return db.execute("DELETE FROM ledger WHERE day < ?", (day,)).rowcount


_Origin = tuple[str, str, str, str, str, str, str, bool]
"""Day, caller, route, target, provider, model, jurisdiction, and whether it is certain."""
_Amounts = tuple[int, int, int, int, int, int]
"""Requests, tokens of prompts and of answers, nano-dollars, requests without a price, ms."""


def _origin(day: str, caller: str, route: str, spent: Spent, *, certain: bool) -> _Origin:
    return (
        day,
        caller,
        _text(route),
        _text(spent.target),
        _text(spent.provider),
        _text(spent.model),
        _text(spent.jurisdiction) or UNKNOWN,
        certain,
    )


def _amounts(spent: Spent) -> _Amounts:
    """Of one request."""
    return (
        1,
        spent.prompt_tokens,
        spent.completion_tokens,
        spent.money or 0,
        int(spent.money is None),
        round(min(spent.seconds, 1e6) * 1000) if spent.seconds >= 0 else 0,
    )


def _sum(one: _Amounts, other: _Amounts) -> _Amounts:
    a, b, c, d, e, f = one
    u, v, w, x, y, z = other
    return a + u, b + v, c + w, d + x, e + y, f + z


def _text(text: str) -> str:
    short = len(text) <= _MOST_TEXT and text.isprintable()
    return text if short else one_line(text, _MOST_TEXT)
