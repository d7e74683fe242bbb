"""Several processes on one budget, and processes that are killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from outlast.core.errors import BudgetSpentError
from outlast.features.gateway.accounts.accounts import GatewayAccounts
from outlast.features.gateway.accounts.keys import LimitRow
from outlast.features.gateway.accounts.owners import OwnerLock, ProcessMark, is_gone
from outlast.features.gateway.accounts.periods import Period
from outlast.features.gateway.accounts.values import Caller
from tests.campaign import LONG
from tests.cli.call import until
from tests.features.gateway.accounts.kit import ESTIMATE, accounts, by_day, caller, counted, spent

SPENDER = "tests.features.gateway.accounts.spender"
ROOT = Path(__file__).parents[4]
ALL_DAYS = ("0001-01-01", "9999-12-31")


@contextmanager
def spender(home: Path, secret: str, *more: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", SPENDER, str(home), secret, *map(str, more)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def key_with(home: Path, *limits: LimitRow) -> str:
    with GatewayAccounts(home) as box:
        return box.keys.new("alice", (), limits)[1]


def test_two_hundred_callers_in_several_processes_overspend_nothing(tmp_path: Path) -> None:
    most = 20_000
    secret = key_with(
        tmp_path,
        LimitRow(period=Period.TOTAL, tokens=most),
        LimitRow(period=Period.OPEN, requests=90),
    )
    with ExitStack() as stack:
        spenders = [stack.enter_context(spender(tmp_path, secret, 50, 6)) for _ in range(4)]
        assert [line_of(one) for one in spenders] == ["began"] * 4
        ends = [line_of(one).split() for one in spenders]
    used = sum(int(tokens) for tokens, _ in ends)
    assert sum(int(refused) for _, refused in ends)  # the budget was met
    with GatewayAccounts(tmp_path) as box:
        total, open_now = box.standings(box.limits_of(box.authenticate(secret), "fast"))
        rows = box.usage(*ALL_DAYS)
    assert 0 < total.tokens <= most
    assert total.tokens == used == sum(row.prompt_tokens + row.completion_tokens for row in rows)
    assert open_now.requests == 0
    assert all(row.certain for row in rows)


def test_a_killed_process_leaves_no_reservation(tmp_path: Path) -> None:
    secret = key_with(
        tmp_path, LimitRow(period=Period.DAY, tokens=1000), LimitRow(period=Period.OPEN, requests=6)
    )
    with GatewayAccounts(tmp_path) as box:
        alice = box.authenticate(secret)
        with spender(tmp_path, secret, 0, 0, "hold") as process:
            assert line_of(process) == "held"
            assert counted(box, alice) == [(500, 500, 5), (0, 0, 5)]
            assert box.take_back_of_the_dead() == 0  # it lives
            process.send_signal(signal.SIGKILL)
            process.wait()
        # Six may be open: five of the dead do not keep two of ours out for longer than a look.
        until(lambda: not reserve_fails(box, alice), "five of six are still open")
        held = [box.reserve(alice, "fast", "gpt", ESTIMATE) for _ in range(2)]
        assert counted(box, alice)[1] == (0, 0, 2)
        for one in held:
            box.settle(one, spent(1, 1))
        # What it may have spent counts, and is marked.
        assert counted(box, alice)[0][0] == 504
        lost = [row for row in box.usage(*ALL_DAYS) if not row.certain]
        assert [(row.requests, row.prompt_tokens, row.completion_tokens) for row in lost] == [
            (5, 300, 200)
        ]
        assert len(list((tmp_path / "gateway" / "running").glob("[0-9a-f]*"))) == 1


def reserve_fails(box: GatewayAccounts, who: Caller) -> bool:
    """Whether two requests at once are too many."""
    held = []
    try:
        for _ in range(2):
            held.append(box.reserve(who, "fast", "gpt", ESTIMATE))  # noqa: PERF401 - it may raise
    except BudgetSpentError:
        return True
    finally:
        for one in held:
            box.release(one)
    return False


def test_the_next_start_takes_back_what_a_kill_left(tmp_path: Path) -> None:
    secret = key_with(tmp_path, LimitRow(period=Period.OPEN, requests=5))
    with spender(tmp_path, secret, 0, 0, "hold") as process:
        assert line_of(process) == "held"
    with GatewayAccounts(tmp_path) as box:
        assert counted(box, box.authenticate(secret)) == [(0, 0, 0)]


@pytest.mark.parametrize("rounds", [pytest.param(1, id="once"), pytest.param(25, id="long")])
def test_killed_in_the_middle_nothing_is_overspent(tmp_path: Path, rounds: int) -> None:
    if rounds > 1 and not LONG:
        pytest.skip("make torture")
    most = 30_000
    secret = key_with(tmp_path, LimitRow(period=Period.TOTAL, tokens=most))
    for _ in range(rounds):
        with spender(tmp_path, secret, 20, 100_000) as process:
            assert line_of(process) == "began"
            with GatewayAccounts(tmp_path) as box:  # kill it while it spends
                who = box.authenticate(secret)
                begun = counted(box, who)[0][0]
                until_more(box, secret, begun)
                process.kill()
                process.wait()
    with GatewayAccounts(tmp_path) as box:
        (total,) = box.standings(box.limits_of(box.authenticate(secret), "fast"))
        rows = box.usage(*ALL_DAYS)
        assert total.tokens <= most
        assert total.tokens == sum(row.prompt_tokens + row.completion_tokens for row in rows)
        assert box._db.execute("SELECT count(*) FROM holds").fetchone() == (0,)


def test_callers_kills_and_clocks_that_jump_together(tmp_path: Path) -> None:
    """Two hundred callers in four processes, whose clocks jump by days and decades; two of them are
    killed while they spend. The clocks show two days from the first reservation on, so there are
    two budgets, and no third one.
    """
    most = 20_000
    secret = key_with(
        tmp_path,
        LimitRow(period=Period.DAY, tokens=most),
        LimitRow(period=Period.OPEN, requests=150),
        LimitRow(period=Period.TOTAL, tokens=10**12),
    )
    with accounts(tmp_path) as box:  # its clock stands at the first day
        box.settle(box.reserve(box.authenticate(secret), "fast", "gpt", ESTIMATE), spent(1, 1))
    with ExitStack() as stack:
        four = [stack.enter_context(spender(tmp_path, secret, 50, 8, "jump")) for _ in range(4)]
        assert [line_of(one) for one in four] == ["began"] * 4
        with GatewayAccounts(tmp_path) as box:
            for one in four[:2]:
                begun = whole(box, secret)
                until(lambda at=begun: whole(box, secret) > at or four[3].poll() is not None, "use")  # type: ignore[misc]
                one.kill()
                one.wait()
        ends = [line_of(one).split() for one in four[2:]]
    assert all(len(end) == 2 for end in ends)
    with accounts(tmp_path) as box:
        day, now_open, total = box.standings(box.limits_of(box.authenticate(secret), "fast"))
        rows = box.usage(*ALL_DAYS)
        holds = box._db.execute("SELECT count(*) FROM holds").fetchone()
    assert day.tokens <= most
    assert 0.9 * most < total.tokens <= 2 * most
    assert total.tokens == sum(row.prompt_tokens + row.completion_tokens for row in rows)
    assert now_open.requests == 0
    assert holds == (0,)


def whole(box: GatewayAccounts, secret: str) -> int:
    """Tokens that count by now, over all days."""
    return counted(box, box.authenticate(secret))[2][0]


def until_more(box: GatewayAccounts, secret: str, begun: int) -> None:
    """Waits until the other process spent something, or the budget is spent."""
    who = box.authenticate(secret)
    deadline = threading.Event()
    for _ in range(10_000):
        (now,) = counted(box, who)
        if now[0] > begun or now[0] > 29_900:
            return
        deadline.wait(0.005)
    raise AssertionError("it spends nothing")


def test_a_closed_process_counts_what_is_still_reserved(tmp_path: Path) -> None:
    box = accounts(tmp_path)
    alice = caller(box, by_day(tokens=150))
    box.reserve(alice, "fast", "gpt", ESTIMATE)
    box.close()
    with accounts(tmp_path) as again, pytest.raises(BudgetSpentError):
        again.reserve(alice, "fast", "gpt", ESTIMATE)


def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    lock = OwnerLock(tmp_path / "gateway")
    assert not is_gone(tmp_path / "gateway", lock.mark)
    begun, begin = os.pipe()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # it outlives its parent's lock
        os.close(write)
        os.write(begin, b".")
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    assert os.read(begun, 1) == b"."
    lock._drop()  # as the kernel does when the process is killed
    try:
        assert is_gone(tmp_path / "gateway", lock.mark)
    finally:
        os.close(write)
        os.waitpid(child, 0)


def test_without_locks_the_number_of_a_process_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.store.locks.fault", lambda _: "no locks here")
    with OwnerLock(tmp_path) as own:
        mark = own.mark
        assert not is_gone(tmp_path, mark)
        for other in (
            ProcessMark(mark.token, "another boot", mark.pid, mark.started),
            ProcessMark(mark.token, mark.boot, mark.pid, "1"),
            ProcessMark(mark.token, mark.boot, 2**22 + 1, mark.started),
        ):
            assert is_gone(tmp_path, other)
