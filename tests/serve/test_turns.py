"""New connections begin a few in each round of the event loop, and fewer of an address, so that a
client with many of them keeps the others waiting for a round, and not for all of its own. So do
those end that are closed together.
"""

import asyncio
import socket
import time
from dataclasses import replace

import pytest

from outlast.server.http.connections import Connections
from outlast.server.http.listening import keep_waiting
from outlast.server.http.memory import YieldingTurns
from outlast.server.tuning import TUNING

AT_ONCE = 3
ALL_AT_ONCE = 5
GREEDY, MODEST = "127.0.0.2", "127.0.0.3"


class Closes(asyncio.Protocol):
    """Closes each connection that is accepted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Transport(asyncio.Transport):
    """Of a client at `address`; remembers whether it is read from."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1)})
        self.reads = True
        self.closed = False

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        del data

    def close(self) -> None:
        self.closed = True

    abort = close


def gate(most: int = 100) -> Connections:
    return Connections(
        asyncio.Protocol,
        most,
        lambda _: None,
        stall=1.0,
        body=1,
        tuning=replace(
            TUNING,
            begun_at_once=ALL_AT_ONCE,
            begun_of_one=AT_ONCE,
            sweep_every=0.0,
            dropped_at_once=AT_ONCE,
        ),
    )


def arrive(door: Connections, address: str, count: int) -> list[Transport]:
    transports = [Transport(address) for _ in range(count)]
    for transport in transports:
        protocol = door()
        protocol.connection_made(transport)
        assert not transport.reads
    return transports


def reading(transports: list[Transport]) -> int:
    return sum(transport.reads for transport in transports)


def test_each_address_begins_a_few_in_a_round() -> None:
    async def run() -> None:
        door = gate()
        many = arrive(door, GREEDY, 3 * AT_ONCE + 1)
        one = arrive(door, MODEST, 1)
        begun = []
        for _ in range(5):
            await asyncio.sleep(0)  # one round
            begun.append((reading(many), reading(one)))
        assert begun == [(3, 1), (6, 1), (9, 1), (10, 1), (10, 1)]
        assert reading(arrive(door, GREEDY, 1)) == 0
        await asyncio.sleep(0)
        assert reading(many) == len(many)

    asyncio.run(run())


def test_so_do_many_addresses_in_turn() -> None:
    async def run() -> None:
        door = gate()
        each = [arrive(door, f"127.0.1.{n}", 2) for n in range(6)]
        begun = []
        for _ in range(3):
            await asyncio.sleep(0)
            begun.append([reading(transports) for transports in each])
        assert begun == [[2, 2, 1, 0, 0, 0], [2, 2, 1, 2, 2, 1], [2, 2, 2, 2, 2, 2]]

    asyncio.run(run())


def test_what_is_of_no_use_ends_a_few_in_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        door = gate()
        many = arrive(door, GREEDY, 3 * AT_ONCE + 1)
        for _ in range(4):
            await asyncio.sleep(0)
        later = time.monotonic() + TUNING.first_request + 1
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: later)
            sweep = asyncio.create_task(door.sweep())
            closed = []
            for _ in range(6):
                await asyncio.sleep(0)
                closed.append(sum(transport.closed for transport in many))
        sweep.cancel()
        assert sorted({*closed}) == [0, 3, 6, 9, 10]

    asyncio.run(run())


def test_what_was_closed_meanwhile_does_not_begin() -> None:
    async def run() -> None:
        door = gate()
        gone, *_, last = arrive(door, GREEDY, AT_ONCE)
        gone.close()
        await asyncio.sleep(0)
        assert (gone.reads, last.reads) == (False, True)

    asyncio.run(run())


def test_a_connection_without_a_place_is_answered_and_closed() -> None:
    async def run() -> None:
        door = gate(most=1)
        arrive(door, GREEDY, 1)
        [refused] = arrive(door, GREEDY, 1)
        assert refused.closed
        await asyncio.sleep(0)
        assert not refused.reads

    asyncio.run(run())


def test_the_kernel_holds_more_than_are_accepted_in_a_round() -> None:
    """A listener's queue is what `listen` was told last: with 1, a third client gets no answer."""

    async def run(*, more: bool) -> int:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, backlog=1)
        if more:
            keep_waiting(server, 64)
        clients = [socket.socket() for _ in range(16)]
        try:
            for client in clients:  # the loop does not run meanwhile, and accepts none of them
                client.setblocking(False)
                client.connect_ex(server.sockets[0].getsockname())
            ready = [client for client in clients if is_connected(client)]
            return len(ready)
        finally:
            for client in clients:
                client.close()
            server.close()

    assert asyncio.run(run(more=False)) < 16
    assert asyncio.run(run(more=True)) == 16


def is_connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


def test_no_more_are_accepted_at_once_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = 0
    accept = socket.socket.accept

    def counted(sock: socket.socket) -> tuple[socket.socket, object]:
        nonlocal accepted
        found = accept(sock)
        accepted += 1
        return found

    monkeypatch.setattr(socket.socket, "accept", counted)

    async def run() -> int:
        most = 0
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Closes, "127.0.0.1", 0, backlog=4)
        keep_waiting(server, 64)
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(16)]
        while accepted < len(clients):
            before = accepted
            await asyncio.sleep(0)
            most = max(most, accepted - before)
        for client in clients:
            client.setblocking(False)
            assert await loop.sock_recv(client, 1) == b""
            client.close()
        server.close()
        return most

    assert 0 < asyncio.run(run()) <= 5  # from Python 3.13 on asyncio takes one more


class TestYieldingTurns:
    def test_so_many_are_at_work_in_their_order(self) -> None:
        async def course() -> list[str]:
            turns, told = YieldingTurns(2, 60), list[str]()

            async def work(number: int) -> None:
                async with turns.turn():
                    told.append(f"+{number}")
                    await asyncio.sleep(0)
                    told.append(f"-{number}")

            await asyncio.gather(*(work(number) for number in range(4)))
            return told

        assert asyncio.run(course()) == ["+0", "+1", "-0", "-1", "+2", "+3", "-2", "-3"]

    def test_who_waits_for_a_slow_client_leaves_its_place_meanwhile(self) -> None:
        async def course() -> list[str]:
            turns, told = YieldingTurns(1, 0.001), list[str]()
            came, has_it = asyncio.Event(), asyncio.Event()

            async def slow() -> None:
                async with turns.turn() as turn:
                    await turn.waiting(came.wait)
                    told.append("came")
                    has_it.set()
                    await turn.take()
                    told.append("goes on")

            waits = asyncio.create_task(slow())
            await asyncio.sleep(0)
            async with turns.turn():  # which is free once that one has left it
                came.set()
                await has_it.wait()
                told.append("other")
            await waits
            async with turns.turn():
                told.append("free again")
            return told

        assert asyncio.run(course()) == ["came", "other", "goes on", "free again"]

    def test_who_sends_a_byte_now_and_then_keeps_it_no_longer(self) -> None:
        """Patience is for all of its waits together."""

        async def course() -> int:
            loop = asyncio.get_running_loop()
            turns, bytes_read, another = YieldingTurns(1, 0.02), 0, loop.create_future()

            async def wants() -> None:
                async with turns.turn():
                    another.set_result(None)

            async with turns.turn() as turn:
                waits = asyncio.create_task(wants())
                while not another.done():
                    await turn.waiting(lambda: asyncio.sleep(0.004))
                    bytes_read += 1
                await waits
            return bytes_read

        assert asyncio.run(course()) <= 6

    def test_an_end_in_the_middle_frees_it_once(self) -> None:
        async def course() -> bool:
            turns = YieldingTurns(1, 0.001)

            async def ends(*, left: bool) -> None:
                async with turns.turn() as turn:
                    if left:
                        turn.leave()
                    raise ConnectionError

            for left in (False, True):
                with pytest.raises(ConnectionError):
                    await ends(left=left)
            with pytest.raises(TimeoutError):  # and not twice
                async with turns.turn(), asyncio.timeout(0.001), turns.turn():
                    pass
            return True

        assert asyncio.run(course())
