"""Reserves before a request, settles after it: in one transaction each, so that callers in several
processes never spend more than a budget together.

Of a process that ended with reservations, each counts as spent in full: what the provider charged
is not known, and never more than that.
"""

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from outlast.core.errors import BudgetSpentError
from outlast.features.gateway.accounts.ledger import LedgerRow, add_rows
from outlast.features.gateway.accounts.money import dollars_text
from outlast.features.gateway.accounts.owners import ProcessMark
from outlast.features.gateway.accounts.periods import Period, period_at, seconds_left
from outlast.features.gateway.accounts.values import (
    MOST_MONEY,
    MOST_TOKENS,
    Charge,
    Estimate,
    Limit,
    Reservation,
    Spent,
)

_log = logging.getLogger(__name__)

_NO_LIMIT: Final = 1 << 62
_to_json: Final = msgspec.json.Encoder().encode
# A row of an older period begins anew; one of a later period stays: the clock went back. It changes
# nothing, and gives no row, where a limit would be passed.
_CHARGE: Final = """INSERT INTO counters (account, kind, period, tokens, money, requests)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (account, kind) DO UPDATE SET
        tokens = CASE WHEN ?3 > period THEN ?4 ELSE tokens + ?4 END,
        money = CASE WHEN ?3 > period THEN ?5 ELSE money + ?5 END,
        requests = CASE WHEN ?3 > period THEN ?6 ELSE requests + ?6 END,
        period = MAX(period, ?3)
    WHERE ?3 > period
        OR (tokens + ?4 <= ?7 AND money + ?5 <= ?8 AND requests + ?6 <= ?9)
    RETURNING period"""
_ADJUST: Final = """UPDATE counters
    SET tokens = tokens + ?, money = money + ?, requests = requests + ?
    WHERE account = ? AND kind = ? AND period = ?"""
_HOLD: Final = """INSERT INTO holds
    (owner, charges, caller, route, model, prompt_tokens, max_tokens, money)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_BUSY_AGAIN: Final = 1.0
"""Seconds after which a caller that has too many open requests may ask again."""


class _OverLimitError(Exception):
    """A limit would be passed."""

    def __init__(self, limit: Limit) -> None:
        super().__init__()
        self.limit: Final = limit


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """What counts against one limit: spent and set aside together, in `period`."""

    limit: Limit
    period: str
    tokens: int
    money: int
    requests: int


def refuse_unknown(limits: Sequence[Limit], estimate: Estimate) -> None:
    """Raises :class:`BudgetSpentError` for a request that no budget can be held against."""
    if not (0 <= estimate.tokens <= MOST_TOKENS and 0 <= (estimate.money or 0) <= MOST_MONEY):
        raise BudgetSpentError("the request asks for more tokens than any budget has")
    if estimate.money is None:
        for limit in limits:
            if limit.money is not None:
                raise BudgetSpentError(
                    f"{limit.title} has a budget of money, and the price of this model is unknown",
                    hint="write its price into [prices] of gateway.toml",
                )


def take(
    db: sqlite3.Connection,
    owner: int,
    reservation: Reservation,
    limits: Sequence[Limit],
    now: float,
) -> None:
    """Sets the estimate aside on the account of each limit, or nothing on any; within a
    transaction. Raises :class:`BudgetSpentError`, after which the transaction must not be
    committed.
    """
    try:
        charges = tuple(_charge(db, limit, reservation.estimate, now) for limit in limits)
    except _OverLimitError as over:
        raise _refusal(db, over.limit, now) from None
    estimate = reservation.estimate
    text = _to_json([(one.account, one.kind.value, one.period) for one in charges]).decode()
    found = db.execute(
        _HOLD,
        (
            owner,
            text,
            reservation.caller.key,
            reservation.route,
            reservation.model,
            estimate.prompt_tokens,
            estimate.max_tokens,
            estimate.money,
        ),
    )
    reservation.hold, reservation.charges = found.lastrowid, charges


def settle(
    db: sqlite3.Connection, reservation: Reservation, spents: Sequence[Spent], day: str
) -> bool:
    """Puts what was spent in place of what was set aside; within a transaction. No `spents`: it was
    not spent. False where the reservation was taken back already: this process was held for dead.
    """
    if not db.execute("DELETE FROM holds WHERE id = ?", (reservation.hold,)).rowcount:
        return False
    estimate = reservation.estimate
    counted = [believed(spent, estimate) for spent in spents]
    tokens = sum(spent.tokens for spent, _ in counted)
    money = sum(_money(spent, estimate) for spent, _ in counted)
    for charge in reservation.charges:
        is_open = charge.kind is Period.OPEN
        change = (
            (0, 0, -1)
            if is_open
            else (
                tokens - estimate.tokens,
                money - (estimate.money or 0),
                0 if spents else -1,
            )
        )
        db.execute(_ADJUST, (*change, charge.account, charge.kind.value, charge.period))
    add_rows(
        db,
        [
            LedgerRow.of(day, reservation.caller.key, reservation.route, spent, certain=certain)
            for spent, certain in counted
        ],
    )
    return True


def take_back(db: sqlite3.Connection, owner: int, day: str) -> int:
    """Counts all reservations of a process that has ended as spent, and forgets the process; within
    a transaction. Returns how many there were.
    """
    rows = db.execute(
        "SELECT charges, caller, route, model, prompt_tokens, max_tokens, money FROM holds "
        "WHERE owner = ?",
        (owner,),
    ).fetchall()
    for charges, caller, route, model, prompt_tokens, max_tokens, money in rows:
        for account, kind, period in msgspec.json.decode(charges):
            if kind == Period.OPEN:
                db.execute(_ADJUST, (0, 0, -1, account, kind, period))
        lost = Spent("", "", model, "unknown", prompt_tokens, max_tokens, money, 0.0)
        add_rows(db, [LedgerRow.of(day, caller, route, lost, certain=False)])
    db.execute("DELETE FROM holds WHERE owner = ?", (owner,))
    db.execute("DELETE FROM owners WHERE id = ?", (owner,))
    return len(rows)


def enter(db: sqlite3.Connection, mark: ProcessMark) -> int:
    """Notes a process; returns its number for `take`."""
    found = db.execute(
        "INSERT INTO owners (token, boot, pid, started) VALUES (?, ?, ?, ?)",
        (mark.token, mark.boot, mark.pid, mark.started),
    )
    assert found.lastrowid is not None
    return found.lastrowid


def owners(db: sqlite3.Connection) -> list[tuple[int, ProcessMark]]:
    """The processes that have, or may have, something set aside."""
    rows = db.execute("SELECT id, token, boot, pid, started FROM owners").fetchall()
    return [(number, ProcessMark(*rest)) for number, *rest in rows]


def standings(db: sqlite3.Connection, limits: Sequence[Limit], now: float) -> list[BudgetStanding]:
    """What counts against each limit at `now`."""
    return [_standing(db, limit, now) for limit in limits]


def _charge(db: sqlite3.Connection, limit: Limit, estimate: Estimate, now: float) -> Charge:
    period = period_at(limit.period, now)
    is_open = limit.period is Period.OPEN
    tokens = 0 if is_open else estimate.tokens
    money = 0 if is_open else estimate.money or 0
    most = (
        _NO_LIMIT if limit.tokens is None else limit.tokens,
        _NO_LIMIT if limit.money is None else limit.money,
        _NO_LIMIT if limit.requests is None else limit.requests,
    )
    if tokens > most[0] or money > most[1] or most[2] < 1:  # a new row is not compared
        raise _OverLimitError(limit)
    values: tuple[Any, ...] = (limit.account, limit.period.value, period, tokens, money, 1, *most)
    row = db.execute(_CHARGE, values).fetchone()
    if row is None:
        raise _OverLimitError(limit)
    return Charge(limit.account, limit.period, row[0])


def _standing(db: sqlite3.Connection, limit: Limit, now: float) -> BudgetStanding:
    period = period_at(limit.period, now)
    row = db.execute(
        "SELECT period, tokens, money, requests FROM counters WHERE account = ? AND kind = ?",
        (limit.account, limit.period.value),
    ).fetchone()
    if row is None or row[0] < period:
        return BudgetStanding(limit, period, 0, 0, 0)
    return BudgetStanding(limit, *row)


def _refusal(db: sqlite3.Connection, limit: Limit, now: float) -> BudgetSpentError:
    if limit.period is Period.OPEN:
        return BudgetSpentError(
            f"{limit.title}: {limit.requests} requests are open, and no more are allowed at once",
            hint="wait until one has ended",
            retry_after=_BUSY_AGAIN,
        )
    at = _standing(db, limit, now)
    left = [
        f"{max(0, most - used):,} of {most:,} {what}"
        for most, used, what in (
            (limit.tokens, at.tokens, "tokens"),
            (limit.requests, at.requests, "requests"),
        )
        if most is not None
    ]
    if limit.money is not None:
        rest = dollars_text(max(0, limit.money - at.money))
        left.append(f"${rest} of ${dollars_text(limit.money)}")
    when = "" if limit.period is Period.TOTAL else f" this {limit.period}"
    return BudgetSpentError(
        f"{limit.title}: the budget does not have what the request may take: left are "
        f"{', '.join(left)}{when}",
        retry_after=seconds_left(limit.period, now),
    )


def believed(spent: Spent, estimate: Estimate) -> tuple[Spent, bool]:
    """What to count, and whether that is what the target said. One that says what cannot be true
    is counted as the most that it can have been.
    """
    if spent.is_plausible:
        return spent, True
    _log.warning("%s said an impossible usage; the estimate counts", spent.target)
    return Spent(
        spent.target,
        spent.provider,
        spent.model,
        spent.jurisdiction,
        min(estimate.prompt_tokens, MOST_TOKENS),
        min(estimate.max_tokens, MOST_TOKENS),
        estimate.money,
        spent.seconds,
    ), False


def _money(spent: Spent, estimate: Estimate) -> int:
    """Nano-dollars that count: of an unknown price, what was set aside."""
    return (estimate.money or 0) if spent.money is None else spent.money
