"""Hubs that drip: what they keep a mirror's clients from, and for how long."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import ExhaustedError
from outlast.mirror.places import Places
from outlast.mirror.tuning import MirrorTuning
from outlast.sources.in_time import check_ended
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import SECONDS, Node, until
from tests.serve.wire import once, several

FAST_ENOUGH = b" " * 1000
"""Each 0.1 s: more than the least rate, so it may go on for minutes."""


class Front:
    """A hub that drips until it is well. Connections from before drip on."""

    def __init__(self, listener: socket.socket, hub: int) -> None:
        self.well = threading.Event()
        self.over = threading.Event()
        self.dripped = 0
        self._listener = listener
        self._hub = hub
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                work = self._pass_on if self.well.is_set() else self._drip
                threading.Thread(target=work, args=(sock,), daemon=True).start()

    def _drip(self, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            sock.recv(1 << 16)
            self.dripped += 1
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            while not self.over.wait(0.1):
                sock.sendall(FAST_ENOUGH)

    def _pass_on(self, sock: socket.socket) -> None:
        with suppress(OSError), sock, socket.create_connection(("127.0.0.1", self._hub)) as hub:
            back = threading.Thread(target=_copy, args=(hub, sock), daemon=True)
            back.start()
            _copy(sock, hub)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/well").commit({"config.json": b"{}"})
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        yield hub


@contextmanager
def dripping(hub: HubSim) -> Iterator[Front]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        front = Front(listener, int(hub.url.rpartition(":")[2]))
        thread = threading.Thread(target=front.serve, daemon=True)
        thread.start()
        yield front
        front.over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("what", ["resolve/main/config.json", "refs"])
def test_a_mirror_serves_again_as_soon_as_its_hub_is_well(
    hub: HubSim, tmp_path: Path, what: str
) -> None:
    """However many questions the hub still drips at."""
    path = f"/org/{{}}/{what}" if what != "refs" else "/api/models/org/{}/refs"
    tuned = {
        "outlast.mirror.tuning.TUNING.askers": 2,
        "outlast.mirror.tuning.TUNING.answer_timeout": 0.5,
        "outlast.mirror.tuning.TUNING.look": 0.05,
    }
    with dripping(hub) as front, Node(tmp_path / "home", "--upstream", front.url, tuned=tuned) as n:
        with several(n.url, 6) as clients:
            for number, client in enumerate(clients):
                client.ask(path.format(f"slow-{number}"))
            assert {client.reply().status for client in clients} == {503}
        front.well.set()
        assert front.dripped
        until(lambda: once(n.url, path.format("well")).status == 200, "what the hub has")


def test_a_client_gets_what_the_second_hub_has(hub: HubSim, tmp_path: Path) -> None:
    """At its first request, though the first hub says nothing for minutes."""
    tuned = {"outlast.p2p.tuning.TUNING.next_source_after": 0.1}
    with dripping(hub) as front:
        flags = ("--upstream", front.url, "--upstream", hub.url)
        with Node(tmp_path / "home", *flags, tuned=tuned) as node:
            reply = once(node.url, "/org/well/resolve/main/config.json")
            assert (reply.status, reply.body) == (200, b"{}")
            assert once(node.url, "/api/models/org/well/refs").status == 200
        assert front.dripped


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class TestPlaces:
    """Two, and questions that take until they are told to end."""

    TUNING = MirrorTuning(askers=2, answer_timeout=10.0, look=0.01)

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def places(self, clock: Clock) -> Places:
        return Places(self.TUNING, "ask", clock)

    def ask(self, places: Places, stop: Cancel) -> tuple[threading.Event, Future[None]]:
        begun = threading.Event()

        def work() -> None:
            begun.set()
            while not stop.is_set:
                check_ended()
                threading.Event().wait(0.005)

        return begun, places.submit(work)

    def test_the_oldest_makes_room(self, places: Places, clock: Clock) -> None:
        stop = Cancel()
        asked = []
        for _ in range(2):
            asked.append(self.ask(places, stop))
            assert asked[-1][0].wait(SECONDS)
            clock.now += 1
        begun, third = self.ask(places, stop)
        clock.now += 9.5  # the first is too old by now, the second is not
        assert begun.wait(SECONDS)
        assert isinstance(asked[0][1].exception(SECONDS), ExhaustedError)
        assert not asked[1][1].done()
        stop.set()
        assert asked[1][1].result(SECONDS) is None
        assert third.result(SECONDS) is None

    def test_none_ends_where_none_waits(self, places: Places, clock: Clock) -> None:
        stop = Cancel()
        asked = [self.ask(places, stop) for _ in range(2)]
        assert all(begun.wait(SECONDS) for begun, _ in asked)
        clock.now += 1000
        assert not places._overdue()
        stop.set()
        assert [future.result(SECONDS) for _, future in asked] == [None, None]

    def test_none_ends_that_is_not_old(self, places: Places, clock: Clock) -> None:
        stop = Cancel()
        asked = [self.ask(places, stop) for _ in range(3)]
        until(lambda: sum(begun.is_set() for begun, _ in asked) == 2)
        clock.now += 9
        assert not places._overdue()
        clock.now += 2
        until(lambda: all(begun.is_set() for begun, _ in asked))
        stop.set()
        wrong = [isinstance(future.exception(SECONDS), ExhaustedError) for _, future in asked]
        assert sum(wrong) == 1

    def test_what_a_question_says_is_told(self, places: Places) -> None:
        assert places.submit(lambda: 5).result(SECONDS) == 5
        with pytest.raises(ZeroDivisionError):
            places.submit(lambda: 1 // 0).result(SECONDS)
