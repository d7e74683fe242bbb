"""Clients that are slow, silent, or too many."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.contract import MODEL
from tests.hubsim import HubRepo, HubSim
from tests.serve.conftest import Served
from tests.serve.node import Node, pull, until
from tests.serve.wire import Wire, once, several

FILE = f"/{MODEL}/resolve/main/config.json"
BIG = "/org/big/resolve/main/model.safetensors"
SIZE = 48 << 20
SOME = 12 << 20
MOST = 8
_TUNING = "outlast.server.tuning.TUNING"


class TestConnectionLimit:
    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, served: Served) -> Iterator[Node]:
        with Node(served.node.home, "--max-connections", str(MOST)) as node:
            yield node

    def test_one_too_many_is_told_to_come_back(self, node: Node) -> None:
        with ExitStack() as stack:
            wires = []
            for _ in range(MOST):
                wires.append(stack.enter_context(Wire(node.url)))
                wires[-1].ask("/healthz")
                assert wires[-1].reply().status == 200
            with Wire(node.url) as late:
                reply = late.reply()
                assert (reply.status, reply.headers["connection"]) == (503, "close")
                assert int(reply.headers["retry-after"]) > 0
                assert late.ended()
            for wire in wires:  # those that are in stay in
                wire.ask(FILE)
                assert wire.reply().status == 200
        until(lambda: once(node.url, "/healthz").status == 200, "a free place")

    def test_a_place_is_free_again_when_its_client_goes(self, node: Node) -> None:
        for _ in range(3 * MOST):
            until(lambda: once(node.url, FILE).status == 200, "a free place")

    def test_they_may_all_come_at_once(self, node: Node) -> None:
        """The kernel took them in before the server looked."""
        until(lambda: node.metric("outlast_connections") == 1, "an idle server")
        assert node.process is not None
        os.kill(node.process.pid, signal.SIGSTOP)
        with several(node.url, 5 * MOST) as wires:
            for wire in wires:
                wire.ask("/healthz")
            os.kill(node.process.pid, signal.SIGCONT)
            told = [wire.reply().status for wire in wires]
        assert told.count(200) <= MOST
        assert told.count(200) + told.count(503) == len(told)
        assert told.count(200) > 0


class TestManyAddresses:
    @pytest.mark.parametrize(("patience", "status"), [(0.0, 200), (1000.0, 503)])
    def test_those_that_have_one_idle_connection_each_keep_no_other_out(
        self, served: Served, patience: float, status: int
    ) -> None:
        tuned = {f"{_TUNING}.crowded_idle": patience}
        flags = ("--max-connections", str(MOST))
        with Node(served.node.home, *flags, tuned=tuned) as node, ExitStack() as stack:
            for n in range(MOST):
                wire = stack.enter_context(Wire(node.url, source=f"127.0.7.{1 + n}"))
                wire.ask("/healthz")
                assert wire.reply().status == 200
            late = stack.enter_context(Wire(node.url, source="127.0.7.99"))
            late.ask(FILE)
            assert late.reply().status == status


class TestSilence:
    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, served: Served) -> Iterator[Node]:
        tuned = {
            f"{_TUNING}.first_request": 0.3,
            f"{_TUNING}.sweep_every": 0.05,
            "outlast.server.tuning.TUNING.body_timeout": 0.3,
        }
        with Node(served.node.home, tuned=tuned) as node:
            yield node

    @pytest.mark.parametrize(
        "start",
        [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: [::]\r\nA: b\r\n"],
        ids=["nothing", "a letter", "a line", "headers"],
    )
    def test_who_asks_nothing_is_parted_from(self, node: Node, start: bytes) -> None:
        with Wire(node.url) as wire:
            wire.send(start)
            assert wire.ended()

    def test_who_never_ends_a_body_is_parted_from(self, node: Node) -> None:
        with Wire(node.url) as wire:
            wire.send(
                f"POST /api/models/{MODEL}/paths-info/main HTTP/1.1\r\nHost: [::]\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n"
                "Content-Length: 100\r\n\r\npaths=".encode()
            )
            while data := wire.read(1 << 16):  # an error that says so, perhaps
                assert data.startswith(b"HTTP/1.1 4")

    def test_who_asked_once_may_stay(self, node: Node) -> None:
        with Wire(node.url) as wire, Wire(node.url) as silent:
            wire.ask("/healthz")
            assert wire.reply().status == 200
            assert silent.ended()  # the sweep came by
            wire.ask("/healthz")
            assert wire.reply().status == 200


class TestSlowClients:
    @pytest.fixture(scope="class")
    @classmethod
    def home(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("slow")
        hole = root / "hole"
        with hole.open("wb") as file:
            file.truncate(SIZE)
        HubRepo(root / "hub", "org/big").commit({"model.safetensors": hole})
        with HubSim(root / "hub", mode="thread") as hub:
            pull(root / "home", hub.url, "org/big")
        return root / "home"

    def test_who_does_not_read_is_parted_from(self, home: Path) -> None:
        with Node(home, "--stall", "0.5") as node, Wire(node.url, buffer=4096) as wire:
            wire.ask(BIG, User_Agent="stalls")
            until(lambda: [line for line in node.access() if line["status"] == 200], "its end")
            (line,) = node.access()
            assert line["bytes"] < SIZE
            assert not wire.reply().complete

    @pytest.mark.parametrize("last", ["/metrics", BIG])
    def test_nor_who_asks_for_much_that_is_small(self, home: Path, last: str) -> None:
        """Before it asks for a file, it fills the buffers with answers that it does not read."""
        tuned = {f"{_TUNING}.sweep_every": 0.05}
        flags = ("--stall", "0.5")
        with Node(home, *flags, tuned=tuned) as node, Wire(node.url, buffer=4096) as wire:
            wire.sock.setblocking(False)
            try:
                for _ in range(3000):
                    wire.ask("/metrics")
                wire.ask(last)
            except (BlockingIOError, ConnectionError):
                pass  # it reads no more
            until(lambda: node.metric("outlast_connections") == 1, "the end of the other")

    def test_others_do_not_wait_for_it(self, home: Path) -> None:
        with Node(home) as node, several(node.url, 40, buffer=4096) as slow:
            for wire in slow:
                wire.ask(BIG)
                assert wire.read(1)
            assert once(node.url, BIG).complete
            assert not [line for line in node.access() if line["bytes"] != SIZE]

    def test_who_reads_slowly_but_reads_gets_it_all(self, home: Path) -> None:
        """Longer than the limit in all, but never for long without taking something."""
        with Node(home, "--stall", "1") as node, Wire(node.url, buffer=1 << 16) as wire:
            wire.ask(BIG, Connection="close", Range=f"bytes=0-{SOME - 1}")
            got = 0
            while data := wire.read(1 << 16):
                got += len(data)
                time.sleep(0.01)  # the client's own pace: two seconds in all
            assert got > SOME

    def test_the_end_of_the_server_ends_them(self, home: Path) -> None:
        tuned = {"outlast.server.tuning.TUNING.shutdown": 0.5}
        with Node(home, tuned=tuned) as node, Wire(node.url, buffer=4096) as wire:
            wire.ask(BIG)
            assert wire.read(1)
            assert node.stop() == 0
            assert not [line for line in node.lines() if "Traceback" in line]
