"""Reservations and settlements: a budget is never overspent, and nothing is left hanging."""

import sqlite3
from pathlib import Path

import pytest

from outlast.core.errors import (
    BudgetSpentError,
    CorruptError,
    DiskFullError,
    ModelForbiddenError,
    StorageError,
)
from outlast.features.gateway.accounts.keys import LimitRow
from outlast.features.gateway.accounts.ledger import MOST_PENDING, LedgerRow
from outlast.features.gateway.accounts.periods import Period
from outlast.features.gateway.accounts.values import Caller, Estimate, Limit
from tests.features.gateway.accounts.kit import (
    DAY_30,
    ESTIMATE,
    Clock,
    accounts,
    by_day,
    caller,
    counted,
    spent,
)

HOUR = 3600.0


def test_what_was_spent_takes_the_place_of_what_was_set_aside(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, by_day(tokens=1000, money=10_000))
        held = box.reserve(alice, "fast", "gpt", ESTIMATE)
        assert counted(box, alice) == [(100, 1000, 1)]
        box.settle(held, spent())
        assert counted(box, alice) == [(80, 700, 1)]
        box.settle(held, spent())
        box.release(held)
        assert counted(box, alice) == [(80, 700, 1)]


def test_what_was_released_was_not_spent(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, by_day(tokens=100, requests=1))
        box.release(box.reserve(alice, "fast", "gpt", ESTIMATE))
        assert counted(box, alice) == [(0, 0, 0)]
        box.settle(box.reserve(alice, "fast", "gpt", ESTIMATE), spent())
        assert [row.requests for row in box.usage("2026-01-01", "2026-12-31")] == [1]


def test_all_targets_that_took_part_count(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, by_day(tokens=1000))
        held = box.reserve(alice, "fast", "gpt", ESTIMATE)
        box.settle(held, spent(50, 10, 100), spent(60, 20, None, target="second"))
        assert counted(box, alice) == [(140, 1100, 1)]
        rows = box.usage("2026-11-30", "2026-11-30")
        assert [(row.target, row.money, row.unpriced) for row in rows] == [
            ("first", 100, 0),
            ("second", 0, 1),
        ]


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (by_day(tokens=199), "99 of 199 tokens"),
        (by_day(money=1999), r"\$0.000000999 of \$0.000001999"),
        (by_day(requests=1), "0 of 1 requests"),
    ],
)
def test_a_budget_that_has_not_enough_refuses(tmp_path: Path, limit: LimitRow, left: str) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, LimitRow(period=Period.TOTAL, tokens=10**6), limit)
        box.reserve(alice, "fast", "gpt", ESTIMATE)
        before = counted(box, alice)
        with pytest.raises(BudgetSpentError, match=f"key alice: .* {left} this day") as refused:
            box.reserve(alice, "fast", "gpt", ESTIMATE)
        assert refused.value.retry_after == 12 * HOUR
        assert counted(box, alice) == before  # nothing was set aside on the first limit either


def test_of_two_budgets_for_the_same_the_least_holds(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, by_day(tokens=500, requests=9), by_day(tokens=100, money=10**9))
        (limit,) = box.limits_of(alice, "fast")
        assert (limit.tokens, limit.money, limit.requests) == (100, 10**9, 9)
        box.reserve(alice, "fast", "gpt", ESTIMATE)
        assert counted(box, alice) == [(100, 1000, 1)]


def test_a_request_that_no_new_budget_has(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, by_day(tokens=99))
        with pytest.raises(BudgetSpentError):
            box.reserve(alice, "fast", "gpt", ESTIMATE)
        assert counted(box, alice) == [(0, 0, 0)]


def test_so_many_at_once(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, LimitRow(period=Period.OPEN, requests=2))
        first, _ = [box.reserve(alice, "fast", "gpt", ESTIMATE) for _ in range(2)]
        with pytest.raises(BudgetSpentError, match="2 requests are open"):
            box.reserve(alice, "fast", "gpt", ESTIMATE)
        box.settle(first, spent())
        box.release(box.reserve(alice, "fast", "gpt", ESTIMATE))
        box.reserve(alice, "fast", "gpt", ESTIMATE)


def test_budgets_of_a_route_hold_for_all(tmp_path: Path) -> None:
    limits = {"fast": [Limit("route:fast", Period.DAY, "route fast", requests=1)]}
    with accounts(tmp_path, limits=limits) as box:
        own = LimitRow(period=Period.DAY, route="slow", requests=1)
        alice, bob = caller(box, own), caller(box, name="bob")
        box.reserve(alice, "fast", "gpt", ESTIMATE)
        with pytest.raises(BudgetSpentError, match="route fast"):
            box.reserve(bob, "fast", "gpt", ESTIMATE)
        box.reserve(alice, "slow", "gpt", ESTIMATE)
        with pytest.raises(BudgetSpentError, match="key alice on slow"):
            box.reserve(alice, "slow", "gpt", ESTIMATE)
        box.reserve(bob, "slow", "gpt", ESTIMATE)


def test_an_unknown_price_is_not_free(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, by_day(money=10**9))
        with pytest.raises(BudgetSpentError, match="price of this model is unknown"):
            box.reserve(alice, "fast", "gpt", Estimate(1, 1, None))
        bob = caller(box, by_day(tokens=10**9), name="bob")
        box.settle(box.reserve(bob, "fast", "gpt", Estimate(1, 1, None)), spent(1, 1, None))
        (row,) = box.usage("2026-11-30", "2026-11-30")
        assert (row.money, row.unpriced) == (0, 1)


def test_a_key_uses_the_models_that_it_may(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice = caller(box, models=["small-*", "fast"])
        box.reserve(alice, "small-1", "gpt", ESTIMATE)
        with pytest.raises(ModelForbiddenError):
            box.reserve(alice, "Fast", "gpt", ESTIMATE)


@pytest.mark.parametrize(
    ("back", "kind"), [(30 * HOUR, Period.DAY), (40 * 24 * HOUR, Period.MONTH)]
)
def test_a_clock_that_goes_back_gives_nothing_back(
    tmp_path: Path, back: float, kind: Period
) -> None:
    clock = Clock()
    with accounts(tmp_path, clock) as box:
        alice = caller(box, LimitRow(period=kind, requests=1))
        box.reserve(alice, "fast", "gpt", ESTIMATE)
        for now in (DAY_30 - back, 0.0, -5.0, DAY_30):
            clock.now = now
            with pytest.raises(BudgetSpentError):
                box.reserve(alice, "fast", "gpt", ESTIMATE)
    with accounts(tmp_path, Clock(DAY_30 - back)) as box, pytest.raises(BudgetSpentError):
        box.reserve(alice, "fast", "gpt", ESTIMATE)


def test_the_next_day_begins_anew(tmp_path: Path) -> None:
    clock = Clock()
    with accounts(tmp_path, clock) as box:
        alice = caller(box, by_day(requests=1), LimitRow(period=Period.TOTAL, requests=2))
        late = box.reserve(alice, "fast", "gpt", ESTIMATE)
        clock.now += 12 * HOUR
        box.reserve(alice, "fast", "gpt", ESTIMATE)
        box.settle(late, spent(1, 1))  # of yesterday: today's is as before
        assert counted(box, alice) == [(100, 1000, 1), (102, 1700, 2)]
        clock.now += 24 * HOUR
        with pytest.raises(BudgetSpentError) as refused:
            box.reserve(alice, "fast", "gpt", ESTIMATE)
        assert refused.value.retry_after is None


@pytest.mark.parametrize("number", [10**13, 10**30, -1])
def test_numbers_that_cannot_be_true(tmp_path: Path, number: int) -> None:
    with accounts(tmp_path) as box:
        alice, bob = caller(box, by_day(tokens=10**6)), caller(box, name="bob")
        with pytest.raises(BudgetSpentError):
            box.reserve(alice, "fast", "gpt", Estimate(0, number, 0))
        for who in (alice, bob):
            box.settle(box.reserve(who, "fast", "gpt", ESTIMATE), spent(number, 1))
        assert counted(box, alice) == [(100, 1000, 1)]
        rows = box.usage("2026-11-30", "2026-11-30")
        found = [(row.certain, row.prompt_tokens, row.completion_tokens) for row in rows]
        assert found == [(False, 60, 40)] * 2


def test_without_a_budget_nothing_is_written_until_it_is_flushed(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        bob = caller(box)
        for _ in range(3):
            box.settle(box.reserve(bob, "fast", "gpt", ESTIMATE), spent())
        with sqlite3.connect(tmp_path / "gateway" / "usage.sqlite") as db:
            assert db.execute("SELECT count(*) FROM ledger").fetchone() == (0,)
        db.close()
        (row,) = box.usage("2026-11-30", "2026-11-30")
        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (3, 150, 90)
        assert (row.money, row.milliseconds) == (2100, 1500)
        box.settle(box.reserve(bob, "fast", "gpt", ESTIMATE), spent())
    with accounts(tmp_path) as box:  # the rest was written at the end
        assert [row.requests for row in box.usage("2026-11-30", "2026-11-30")] == [4]


def test_old_days_are_dropped(tmp_path: Path) -> None:
    clock = Clock()
    with accounts(tmp_path, clock) as box:
        for days in range(4):
            clock.now = DAY_30 + days * 24 * HOUR
            box.settle(box.reserve(Caller(), "fast", "gpt", ESTIMATE), spent())
    with accounts(tmp_path, clock, keep_days=2) as box:
        days_left = [row.day for row in box.usage("2026-11-01", "2026-12-31")]
        assert days_left == ["2026-12-01", "2026-12-02", "2026-12-03"]


def test_hostile_names_are_one_line_and_short(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        evil = spent(model="a\nb\x1b[2J" + "x" * 5000, target="\ud800", jurisdiction="")
        box.settle(box.reserve(Caller(), "fast", "gpt", ESTIMATE), evil)
        (row,) = box.usage("2026-11-30", "2026-11-30")
        assert row.model.startswith("a\\nb\\x1b[2Jxxx")
        assert len(row.model) < 220
        assert (row.target, row.jurisdiction) == ("\\ud800", "unknown")


# The disk


def full(box: object, pages: int) -> None:
    db: sqlite3.Connection = box._db  # type: ignore[attr-defined]
    db.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_refuses_budgeted_requests_and_loses_nothing(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        alice, bob = caller(box, by_day(tokens=10**9)), caller(box, name="bob")
        held = []
        full(box, 1)
        with pytest.raises(DiskFullError):  # noqa: PT012 - it takes a page sooner or later
            for _ in range(200):
                held.append(box.reserve(alice, "r" * 200, "gpt", ESTIMATE))  # noqa: PERF401
        before = counted(box, alice, "r" * 200)
        assert before == [(100 * len(held), 1000 * len(held), len(held))]
        for number in range(100):  # origins that need new pages
            box.settle(
                box.reserve(bob, "fast", "gpt", ESTIMATE), spent(1, 1, target=f"{number}" * 50)
            )
        with pytest.raises(DiskFullError):
            box.usage("2026-11-30", "2026-11-30")
        for one in held:
            box.settle(one, spent(target="t" * 200))  # waits, if it must
        full(box, 1 << 20)
        rows = box.usage("2026-11-30", "2026-11-30")
        assert sum(row.requests for row in rows) == 100 + len(held)
        assert counted(box, alice, "r" * 200) == [(80 * len(held), 700 * len(held), len(held))]


def test_what_cannot_be_written_is_bounded(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        full(box, 1)
        for number in range(MOST_PENDING):
            box._pending.put_back([row_of(number)])
        with pytest.raises(DiskFullError):
            box.reserve(Caller(), "fast", "gpt", ESTIMATE)
        full(box, 1 << 20)


def row_of(number: int) -> LedgerRow:
    return LedgerRow.of("2026-11-30", "", "r", spent(target=str(number)), certain=True)


@pytest.mark.parametrize("damage", ["gone", "empty", "garbage", "page", "header"])
def test_a_damaged_database_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "gateway" / "usage.sqlite"
    with accounts(tmp_path) as box:
        alice = caller(box, by_day(requests=1))
        for number in range(200):
            box.settle(
                box.reserve(Caller(), "fast", "gpt", ESTIMATE), spent(target=f"{number}" * 20)
            )
        box.reserve(alice, "fast", "gpt", ESTIMATE)
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        at = 6 * 1024
        path.write_bytes(
            {
                "empty": b"",
                "garbage": b"\xff" * len(data),
                "page": data[:at] + b"\xff" * 1024 + data[at + 1024 :],
                "header": b"?" + data[1:],
            }[damage]
        )
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(CorruptError) as refused:
        accounts(tmp_path)
    assert "budgets begin anew" in refused.value.hint
    assert (path.read_bytes() if path.exists() else None) == left
    # What the hint says helps.
    path.unlink(missing_ok=True)
    path.with_name("usage.made").unlink()
    with accounts(tmp_path) as box:
        box.reserve(alice, "fast", "gpt", ESTIMATE)


def test_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    accounts(tmp_path).close()
    path = tmp_path / "gateway" / "usage.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(StorageError, match="another version"):
        accounts(tmp_path)


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    with accounts(tmp_path) as box:
        box.settle(box.reserve(caller(box), "fast", "gpt", ESTIMATE), spent())
        box.flush()
        for path in (tmp_path / "gateway").glob("*.*"):
            if path.suffix != ".lock":
                assert path.stat().st_mode & 0o077 == 0, path
