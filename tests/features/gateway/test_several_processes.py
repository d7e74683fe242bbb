"""Several processes behind one port: one gateway to its callers, its provider and its operator."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from outlast.features.gateway.processes.board import BreakerBoard, BreakerNote
from outlast.features.gateway.processes.figures import added
from outlast.features.gateway.processes.shared_breakers import SharedBreakers
from outlast.features.gateway.processes.sockets import places, read
from outlast.features.gateway.processes.status import (
    GatewayStatus,
    ProcessStatus,
    gateway_statuses,
)
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.features.gateway.upstream.standing import ServerStanding
from tests.cli.call import inside
from tests.features.gateway.gateways import Caller
from tests.features.gateway.upstream import Provider, providers
from tests.warm.calls import finish, start
from tests.warm.client import Child

COUNT: Final = 3
PATIENCE: Final = 60.0


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)  # between two looks, at what no event tells


@contextlib.contextmanager
def serving(home: Path, count: int = COUNT) -> Iterator[tuple[Caller, Child]]:
    more = ("--listen", "127.0.0.1:0", "--json", "--processes", str(count))
    process = start("gateway", *more, home=home)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, finish(process).err
    try:
        yield Caller(int(json.loads(line)["url"].split(":")[2].removesuffix("/v1"))), process
    finally:
        process.kill()


def _write(home: Path, a: Provider, b: Provider, more: str = "") -> Path:
    path = home / "archive" / "gateway.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f'[endpoints.a]\nurl = "{a.url}"\nhosted = true\n[endpoints.b]\nurl = "{b.url}"\n'
        f'[routes.m]\ntargets = ["a:big", "b:small"]\n{more}'
    )
    return path


def _pids(group: int) -> list[int]:
    """The processes below one."""
    text = Path(f"/proc/{group}/task/{group}/children").read_text()
    return [int(word) for word in text.split()]


def _status(home: Path) -> GatewayStatus:
    (found,) = gateway_statuses(home / "archive")
    return found


def test_they_are_one_gateway(tmp_path: Path) -> None:
    with providers("a", "b") as (a, b), serving(_home(tmp_path, a, b)) as (caller, process):
        for _ in range(20):
            assert caller.chat().status == 200
        _until(lambda: _status(tmp_path).processes == COUNT)
        status = _status(tmp_path)
        assert status.pid == process.pid
        assert status.status is not None
        (route,) = status.status.routes
        assert [(t.target, t.requests) for t in route.targets] == [("a:big", 20), ("b:small", 0)]
        figures = caller.get("/metrics").body.decode()
        assert 'outlast_gateway_requests_total{route="m",target="a:big"} 20.0' in figures

        # What one process finds of a target, all know; one of them probes it.
        a.doing = {"status": 451}
        assert caller.chat().json["outlast"]["target"] == "b:small"
        _until(lambda: _opens(tmp_path) == COUNT)
        before = len(a.asked)
        for _ in range(20):
            assert caller.chat().json["outlast"]["target"] == "b:small"
        assert len(a.asked) == before
        shown = inside("status", "--once", home=tmp_path)
        (row,) = [line.split() for line in shown.out.splitlines() if " a:big " in line]
        assert row[:3] == ["m", "a:big", "banned,"]

        # One that is killed is started anew, and learns of the breaker from the others.
        first, *_ = _pids(process.pid)
        os.kill(first, signal.SIGKILL)
        _until(lambda: first not in _pids(process.pid) and _opens(tmp_path) == COUNT)

        # SIGHUP reaches all.
        path = tmp_path / "archive" / "gateway.toml"
        path.write_text(path.read_text().replace('"a:big", "b:small"', '"b:new"'))
        process.send_signal(signal.SIGHUP)
        _until(lambda: _targets(tmp_path) == [["b:new"]] * COUNT)

        # A stream that is under way ends before the gateway does.
        b.doing = {"wait": 4}

        def end() -> None:
            process.send_signal(signal.SIGTERM)
            b.hold.set()

        assert caller.chat_until("w3 ", end).done
        assert finish(process).code == 0
    assert places(tmp_path / "archive") == []


def _home(home: Path, a: Provider, b: Provider) -> Path:
    _write(home, a, b)
    return home


def _each(home: Path) -> Iterator[GatewayStatus]:
    """What each process says alone."""
    for group, _, path in places(home / "archive"):
        with contextlib.suppress(OSError):
            said = msgspec.json.decode(read(path, "/status", 1 << 20, 10), type=ProcessStatus)
            yield GatewayStatus(group, 1, said)


def _opens(home: Path) -> int:
    """How many processes know that the first target does not answer."""
    states = [
        one.status.routes[0].targets[0].servers[0].state
        for one in _each(home)
        if one.status is not None
    ]
    return len([state for state in states if state != "closed"])


def _targets(home: Path) -> list[list[str]]:
    return [
        [target.target for target in one.status.routes[0].targets]
        for one in _each(home)
        if one.status is not None
    ]


def test_they_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    with providers("a", "b") as (a, b), serving(_home(tmp_path, a, b), 2) as (_, process):
        pids = _pids(process.pid)
        process.send_signal(signal.SIGKILL)
        finish(process)
        _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_what_hinders_the_first_is_said_once(tmp_path: Path) -> None:
    with providers("a", "b") as (a, b):
        path = _write(tmp_path, a, b)
        (tmp_path / "archive" / "gateway").mkdir()
        (tmp_path / "archive" / "gateway" / "usage.made").touch()
        call = finish(
            start("gateway", "--listen", "127.0.0.1:0", "--processes", "3", home=tmp_path)
        )
        assert path.exists()
    assert call.code not in {0, 1}
    assert call.err.count("usage.sqlite is gone") == 1
    assert call.out == ""


def _standing(target: str, clock: list[float]) -> ServerStanding:
    return ServerStanding(target, "http://x", lambda *_: None, now=lambda: clock[0])


def test_the_newest_change_of_a_breaker_holds() -> None:
    clock = [10.0]
    board = BreakerBoard(2)
    ours, theirs = SharedBreakers(board, 0), SharedBreakers(board, 1)
    one, other = _standing("t", clock), _standing("t", clock)
    one.changed, other.changed = ours.changed, theirs.changed
    one.failed(Fault(FaultKind.BANNED, "no", status=451))
    assert other.answers
    theirs.look([other])
    assert other.fault is not None
    assert (other.fault.kind, other.fault.status, other.due) == (FaultKind.BANNED, 451, one.due)
    clock[0] = 11.0
    other.succeeded()
    ours.look([one])
    assert one.answers
    assert SharedBreakers(board, 0)  # a process that takes the place goes on with what it has
    theirs.look([other])
    assert other.answers


def test_a_target_that_was_changed_begins_anew() -> None:
    board = BreakerBoard(2)
    theirs = SharedBreakers(board, 1)
    board.write(0, {"t\0http://x": BreakerNote(5.0, 60.0, 1, "banned", "no")})
    new = _standing("t", [9.0])
    new.changed_at = 9.0
    theirs.look([new])
    assert new.answers


@pytest.mark.parametrize("at", [0, 8, 12, 16, 40])
def test_a_place_that_is_half_written_is_passed_over(at: int) -> None:
    board = BreakerBoard(2)
    board.write(0, {"t": BreakerNote(5.0, 60.0, 1, "banned", "no")})
    assert board.read(0)
    memory = board._memory
    memory[at] ^= 0xFF
    assert board.read(0) is None
    board.write(0, {"t": BreakerNote(6.0)})
    found = board.read(0)
    assert found is not None
    assert found["t"].at == 6.0


def test_figures_are_added() -> None:
    head = b"# HELP a A.\n# TYPE a counter\n"
    breaker = b"# HELP outlast_gateway_breaker B.\n# TYPE outlast_gateway_breaker gauge\n"
    one = head + b'a_total{x="1 2"} 2.0\n' + breaker + b"outlast_gateway_breaker 2.0\n"
    other = one.replace(b" 2.0\n", b" 1.0\n").replace(b'"1 2"', b'"3"')
    lines = added([one, other, one]).decode().splitlines()
    assert 'a_total{x="1 2"} 4.0' in lines
    assert 'a_total{x="3"} 1.0' in lines
    assert "outlast_gateway_breaker 2.0" in lines
    assert lines.count("# HELP a A.") == 1
