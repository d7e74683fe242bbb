"""Which of the addresses that are heard have a machine at them."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from outlast.swarm.lan.knock import Knocking
from outlast.swarm.settings import HostPort
from outlast.swarm.tuning import TUNING
from tests.ports import free_port
from tests.swarm.sites import until

LAN = replace(TUNING.lan, knock_s=0.1)


@contextmanager
def nothing_there() -> Iterator[int]:
    """A port at which no address of 127/8 takes or refuses a connection: its queue is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("0.0.0.0", 0), backlog=0))  # noqa: S104
        port = full.getsockname()[1]
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port


@pytest.fixture
def found() -> list[HostPort]:
    return []


@pytest.fixture
def here() -> Iterator[HostPort]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def knocking(found: list[HostPort], **more: int) -> Knocking:
    return Knocking(lambda *where: found.append(where), replace(LAN, **more))


def test_where_a_machine_is(found: list[HostPort], here: HostPort) -> None:
    with knocking(found) as knocks:
        for _ in range(3):
            knocks.add(*here)
        for wrong in ("127.0.0.1", "::1", "no address", "127.0.0.1\0", "fe80::1%no-such"):
            knocks.add(wrong, free_port())
        until(lambda: not knocks.is_busy, "all were tried")
        assert set(found) == {here}
        assert not knocks.is_crowded


def test_among_thousands_of_invented_ones(found: list[HostPort], here: HostPort) -> None:
    """Of one that waits with them, and of one that comes when no more can wait."""
    with nothing_there() as port, knocking(found, knocks_wait=1000, knocks_at_once=100) as knocks:
        for number in range(2500):
            knocks.add(f"127.1.{number // 250}.{number % 250}", port)
            if number == 500:
                knocks.add(*here)
        knocks.add("127.0.0.99", here[1])  # refused
        until(lambda: not knocks.is_busy, "all were tried")
        assert knocks.is_crowded
        knocks.add(*here)
        until(lambda: here in found, "it is found")
        assert set(found) == {here}


def test_ports_of_one_host_crowd_out_no_other(found: list[HostPort], here: HostPort) -> None:
    """A random host is next, and of it a random port."""
    knocks = knocking(found)
    knocks._runs = True  # no thread takes any
    for port in range(1, 2000):
        knocks.add("127.1.1.2", port)
    knocks.add(*here)
    taken = [knocks._take() for _ in range(64)]  # each time with a chance of a half
    assert here in taken


def test_nothing_is_told_after_the_end(found: list[HostPort], here: HostPort) -> None:
    with nothing_there() as port:
        with knocking(found) as knocks:
            knocks.add("127.1.1.1", port)
        knocks.add(*here)
        until(lambda: not knocks._runs, "the thread is over")
    assert found == []
