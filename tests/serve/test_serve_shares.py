"""One client that takes all it can get: connections, memory, files; and the others meanwhile."""

import asyncio
import contextlib
import json
import os
import resource
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from outlast.core.asker import ASKER
from outlast.core.control import Control
from outlast.core.descriptors import is_exhausted
from outlast.core.errors import ExhaustedError, StorageError
from outlast.ops.verify import verify
from outlast.server.http.connections import asker_of, places
from outlast.server.http.memory import FairTurns, Memory
from outlast.server.tuning import TUNING, ServerTuning
from outlast.store.archive import Archive
from outlast.store.disk import storage_error
from tests.clients.contract import MODEL
from tests.hubsim import HubRepo, HubSim
from tests.serve.conftest import Served
from tests.serve.node import Node, pull, until
from tests.serve.wire import Reply, Wire, once, several

FILE = f"/{MODEL}/resolve/main/config.json"
TREE = f"/api/models/{MODEL}/tree/main"
PATHS_INFO = f"/api/models/{MODEL}/paths-info/main"
BIG = "/org/big/resolve/main/model.safetensors"
SIZE = 48 << 20
FORM = {"Content_Type": "application/x-www-form-urlencoded"}
_TUNING = "outlast.server.tuning.TUNING"


def ask(url: str, source: str, target: str = FILE, body: bytes = b"", **headers: str) -> Reply:
    """One request from an address, on a connection of its own."""
    with Wire(url, source=source) as wire:
        wire.ask(target, "POST" if body else "GET", body, Connection="close", **headers)
        return wire.reply()


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with a large file."""
    root = tmp_path_factory.mktemp("shares")
    hole = root / "hole"
    with hole.open("wb") as file:
        file.truncate(SIZE)
    HubRepo(root / "hub", "org/big").commit({"model.safetensors": hole})
    with HubSim(root / "hub", mode="thread") as hub:
        pull(root / "home", hub.url, "org/big")
    return root / "home"


class TestConnections:
    MOST = 8

    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, big: Path) -> Iterator[Node]:
        with Node(big, "--max-connections", str(cls.MOST)) as node:
            yield node

    def test_one_address_keeps_no_other_out(self, node: Node) -> None:
        with several(node.url, self.MOST, source="127.0.0.2") as wires:
            for wire in wires:
                wire.ask("/healthz")
                assert wire.reply().status == 200
            with Wire(node.url, source="127.0.0.3") as other:
                other.ask("/healthz")
                assert other.reply().status == 200
                assert wires[0].ended()  # the one that was idle longest
                for wire in wires[1:]:
                    wire.ask("/healthz")
                    assert wire.reply().status == 200

    def test_nor_do_five_that_take_and_hold(self, node: Node) -> None:
        """They read nothing of what they asked for, so their connections are at work."""
        with ExitStack() as stack:
            held = []
            for n in range(5 * self.MOST):
                wire = Wire(node.url, buffer=4096, source=f"127.0.1.{1 + n % 5}")
                held.append(stack.enter_context(wire))
                try:
                    wire.ask(BIG)
                    wire.head()
                except (EOFError, ConnectionError):
                    pass  # refused, or put out for another of the five
            for n in range(3):
                assert ask(node.url, f"127.0.2.{n}", "/healthz").status == 200
            assert node.metric("outlast_connections") <= self.MOST

    def test_an_address_gets_no_more_by_asking_again(self, node: Node) -> None:
        with ExitStack() as stack:
            for source in ("127.0.0.2", "127.0.0.3"):
                wires = stack.enter_context(several(node.url, self.MOST // 2, source=source))
                for wire in wires:
                    wire.ask("/healthz")
                    assert wire.reply().status == 200
            for source in ("127.0.0.2", "127.0.0.3"):
                with Wire(node.url, source=source) as late:
                    assert late.reply().status == 503

    def test_places_come_back(self, node: Node) -> None:
        for source in self.MOST * ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            until(partial(self._has_place, node, source))

    @staticmethod
    def _has_place(node: Node, source: str) -> bool:
        return ask(node.url, source, "/healthz").status == 200

    def test_who_is_one(self) -> None:
        assert asker_of("192.0.2.1") != asker_of("192.0.2.2")
        assert asker_of("::ffff:192.0.2.1") == asker_of("192.0.2.1")
        assert asker_of("2001:db8::1") == asker_of("2001:db8::ffff:1:2:3")
        assert asker_of("2001:db8::1") != asker_of("2001:db8:0:1::1")
        assert asker_of("fe80::1%eth0") == asker_of("fe80::2%eth1")
        assert asker_of("") == asker_of(None) == ""


class TestSilence:
    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, served: Served) -> Iterator[Node]:
        tuned = {
            f"{_TUNING}.first_request": 0.3,
            f"{_TUNING}.sweep_every": 0.05,
            f"{_TUNING}.body_pause": 0.3,
        }
        with Node(served.node.home, tuned=tuned) as node:
            yield node

    def test_a_second_request_has_to_come_as_soon_as_a_first(self, node: Node) -> None:
        with Wire(node.url) as wire:
            wire.ask("/healthz")
            assert wire.reply().status == 200
            wire.send(b"GET /healthz HTTP/1.1\r\nHost: ")
            assert wire.ended()

    def test_nor_does_it_help_to_send_it_byte_by_byte(self, node: Node) -> None:
        with Wire(node.url) as wire:
            wire.ask("/healthz")
            assert wire.reply().status == 200
            wire.sock.settimeout(0.02)
            for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 2000:
                try:
                    wire.send(bytes([byte]))
                    assert wire.read(1) == b""
                except TimeoutError:
                    continue  # nothing came, and it is open
                except ConnectionError:
                    pass
                return
            pytest.fail("it stayed open")

    def test_a_body_has_to_go_on_coming(self, node: Node) -> None:
        with Wire(node.url) as wire:
            wire.send(
                f"POST {PATHS_INFO} HTTP/1.1\r\nHost: localhost\r\n"
                "Content-Length: 100\r\n\r\npaths=".encode()
            )
            while data := wire.read(1 << 16):
                assert data.startswith(b"HTTP/1.1 4")


class TestMemory:
    TUNED = ServerTuning(memory=1000, memory_each=600, memory_always=100)

    def take(self, memory: Memory, asker: str, count: int) -> bool:
        try:
            memory.take(asker, count)
        except ExhaustedError:
            return False
        return True

    def test_an_asker_has_its_share_and_no_more(self) -> None:
        memory = Memory(self.TUNED)
        assert self.take(memory, "a", 600)
        assert not self.take(memory, "a", 1)
        assert self.take(memory, "b", 400)
        assert not self.take(memory, "b", 1)

    def test_a_little_is_there_for_each(self) -> None:
        memory = Memory(self.TUNED)
        assert self.take(memory, "a", 600)
        assert self.take(memory, "b", 400)
        for n in range(50):
            assert self.take(memory, f"c{n}", 100)
            assert not self.take(memory, f"c{n}", 1)

    def test_all_of_it_comes_back(self) -> None:
        memory = Memory(self.TUNED)
        for _ in range(100):
            with memory.lease() as lease:
                lease.more(300)
                lease.more(300)
                with pytest.raises(ExhaustedError):
                    lease.more(1)
        assert self.take(memory, "", 600)
        assert self.take(memory, "b", 400)

    def test_announced_bodies_take_nothing(self, served: Served) -> None:
        with several(served.url, 60, source="127.0.0.2") as wires:
            for wire in wires:
                wire.send(
                    f"POST {PATHS_INFO} HTTP/1.1\r\nHost: localhost\r\n"
                    "Content-Length: 1000000\r\n\r\n".encode()
                )
            for source in ("127.0.0.2", "127.0.0.3"):
                reply = ask(served.url, source, PATHS_INFO, b"paths=config.json", **FORM)
                assert reply.status == 200

    def test_large_bodies_of_one_address_do_not_shut_out_others(self, served: Served) -> None:
        """Those that got memory hold it: they do not end. The others are told to come again, but
        for further ones of the same addresses, which wait for their turn.
        """
        tuned = {
            f"{_TUNING}.memory_each": 1 << 20,
            f"{_TUNING}.memory": 2 << 20,
            f"{_TUNING}.body_pause": 600.0,
            f"{_TUNING}.body_timeout": 600.0,
        }
        body = b"paths=" + b"a" * 900_000
        head = (
            f"POST {PATHS_INFO} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(body) + 1}\r\n\r\n"
        ).encode()
        with Node(served.node.home, tuned=tuned) as node, ExitStack() as stack:

            def holder(source: str) -> Wire:
                wire = stack.enter_context(Wire(node.url, source=source))
                wire.send(head + body)
                return wire

            def refused(source: str) -> bool:
                """Whether an address gets no memory for a large body. Where it got some, it may
                have come before a holder, which was refused then: another one takes its place.
                """
                if ask(node.url, source, PATHS_INFO, body, **FORM).status == 503:
                    return True
                for held, wire in holders.items():
                    if select.select([wire.sock], [], [], 0)[0]:
                        holders[held] = holder(held)
                return False

            holders = {source: holder(source) for source in ("127.0.0.2", "127.0.0.3")}
            until(lambda: refused("127.0.0.4"))
            reply = ask(node.url, "127.0.0.4", PATHS_INFO, body, **FORM)
            assert int(reply.headers["retry-after"]) > 0
            for source in ("127.0.0.2", "127.0.0.4"):
                reply = ask(node.url, source, PATHS_INFO, b"paths=config.json", **FORM)
                assert reply.status == 200
            assert not [line for line in node.lines() if "Traceback" in line or "damage" in line]

    @pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
    def test_a_body_beyond_the_bound_is_refused_before_it_comes(
        self, served: Served, kind: str
    ) -> None:
        with Wire(served.url) as wire:
            wire.send(
                f"POST {PATHS_INFO} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
                "Content-Length: 1048577\r\n\r\n".encode()
            )
            assert wire.reply().status == 413

    def test_nor_does_it_help_not_to_say_how_long_it_is(self, served: Served) -> None:
        chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
        with Wire(served.url) as wire:
            wire.send(
                f"POST {PATHS_INFO} HTTP/1.1\r\nHost: localhost\r\n"
                "Transfer-Encoding: chunked\r\n\r\n".encode()
            )
            with contextlib.suppress(ConnectionError):
                wire.send(chunk)
            assert wire.reply().status == 411
            assert wire.ended()

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("application/json", b'{"paths":[' + b'"",' * 40_000 + b'""]}'),
            ("application/x-www-form-urlencoded", b"paths=a&" * 40_000),
        ],
    )
    def test_a_body_of_many_fields_is_refused(self, served: Served, kind: str, body: bytes) -> None:
        reply = ask(served.url, "127.0.0.1", PATHS_INFO, body, Content_Type=kind)
        assert reply.status == 400

    def test_large_bodies_of_an_address_take_turns(self, served: Served) -> None:
        """A small one does not wait for them, nor one of another address."""
        tuned = {f"{_TUNING}.body_timeout": 1.0}
        body = b"paths=config.json&paths=" + b"a" * 100_000
        with Node(served.node.home, tuned=tuned) as node, Wire(node.url, source="127.0.0.2") as one:
            one.send(
                f"POST {PATHS_INFO} HTTP/1.1\r\nHost: localhost\r\n"
                "Content-Length: 1000000\r\n\r\na".encode()
            )
            until(lambda: node.metric("outlast_connections") == 2)
            assert ask(node.url, "127.0.0.3", PATHS_INFO, body, **FORM).status == 200
            assert ask(node.url, "127.0.0.2", PATHS_INFO, body[:100], **FORM).status == 200
            reply = ask(node.url, "127.0.0.2", PATHS_INFO, body, **FORM)
            assert reply.status in {200, 503}  # the one before it may have ended just in time

    def test_what_is_parsed_does_not_hold_up_the_loop(self, served: Served) -> None:
        """A body of the worst kind leaves the loop free: it is parsed in a thread."""
        sabotage = (
            "import threading\n"
            "from outlast.server.hub import hub\n"
            "real = hub.parse_form\n"
            "def parse(body, kind):\n"
            "    assert threading.current_thread() is not threading.main_thread()\n"
            "    return real(body, kind)\n"
            "hub.parse_form = parse\n"
        )
        with Node(served.node.home, sabotage=sabotage) as node:
            reply = ask(node.url, "127.0.0.1", PATHS_INFO, b"paths=config.json", **FORM)
            assert reply.status == 200


class TestHeads:
    """What comes before a request is answered is kept for each connection."""

    def test_one_that_is_too_long_is_refused(self, served: Served) -> None:
        fields = "".join(f"A{n}: {'a' * 4000}\r\n" for n in range(17))
        with Wire(served.url) as wire:
            with contextlib.suppress(ConnectionError):
                wire.send(f"GET {FILE} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
            try:
                assert wire.reply().status == 431
            except EOFError:
                assert wire.was_reset

    def test_one_of_the_usual_kinds_is_not(self, served: Served) -> None:
        with Wire(served.url) as wire:
            for _ in range(3):
                wire.ask(FILE, **{f"A{n}": "a" * 4000 for n in range(10)})
                assert wire.reply().status == 200

    def test_so_much_may_be_sent_ahead(self, served: Served) -> None:
        with Wire(served.url) as wire:
            for _ in range(300):
                wire.ask("/healthz")
            for _ in range(300):
                assert wire.reply().status == 200

    def test_and_no_more(self, big: Path) -> None:
        """While its answer is under way, which it does not read."""
        with Node(big) as node, Wire(node.url, buffer=4096) as wire:
            wire.ask(BIG)
            wire.head()
            with contextlib.suppress(ConnectionError):
                for _ in range(30):
                    wire.ask("/healthz", A="a" * 4000)
            until(lambda: node.metric("outlast_connections") == 1, "its end")

    def test_many_requests_with_bodies_one_after_the_other(self, served: Served) -> None:
        """What a body takes is not counted twice, nor forgotten."""
        body = b"paths=config.json&paths=" + b"a" * 50_000
        with Wire(served.url) as wire:
            for _ in range(10):
                wire.ask(PATHS_INFO, "POST", body, **FORM)
                assert wire.reply().status == 200
                wire.ask(FILE)
                assert wire.reply().status == 200


class TestLongDocuments:
    """Answers that do not fit the buffers of a connection; here everything above 100 bytes."""

    @pytest.fixture(scope="class")
    @classmethod
    def node(cls, served: Served) -> Iterator[Node]:
        tuned = {f"{_TUNING}.written": 100, f"{_TUNING}.memory_always": 50}
        with Node(served.node.home, tuned=tuned) as node:
            yield node

    def test_they_are_the_same_as_others(self, served: Served, node: Node) -> None:
        with Wire(node.url) as wire:
            for path in (TREE, f"/api/models/{MODEL}", TREE):
                for method in ("GET", "HEAD", "GET"):
                    wire.ask(path, method)
                    reply = wire.reply(method)
                    usual = once(served.url, path, method)
                    assert reply.status == usual.status == 200
                    assert int(usual.headers["content-length"]) > 100
                    assert reply.body == usual.body
                    skipped = {"date", "connection", "x-outlast-claims"}
                    names = reply.headers.keys() - skipped
                    assert names == usual.headers.keys() - skipped
                    assert all(reply.headers[name] == usual.headers[name] for name in names)

    def test_without_memory_the_client_is_told_to_come_again(self, served: Served) -> None:
        tuned = {f"{_TUNING}.{name}": 300 for name in ("written", "memory_always", "memory_each")}
        with Node(served.node.home, tuned=tuned) as node, Wire(node.url) as wire:
            wire.ask(TREE)
            reply = wire.reply()
            assert (reply.status, json.loads(reply.body)["error"] != "") == (503, True)
            wire.ask(TREE, "HEAD")
            assert wire.reply("HEAD").status == 200
            wire.ask(FILE)
            assert wire.reply().status == 200

    def test_who_takes_one_too_slowly_is_parted_from(self, served: Served) -> None:
        tuned = {f"{_TUNING}.slow_start": 0.2, f"{_TUNING}.slowest": 1 << 40}
        sabotage = (
            "from outlast.server.hub import documents\n"
            "documents.refs = lambda *_, **__: ['x' * 1000] * 20_000\n"
        )
        with Node(served.node.home, tuned=tuned, sabotage=sabotage) as node:
            with Wire(node.url, buffer=4096) as wire:
                wire.ask(f"/api/models/{MODEL}/refs")
                until(lambda: node.metric("outlast_connections") == 1, "its end")
            whole = once(node.url, FILE)
            assert whole.complete


class TestTurns:
    def test_one_asker_has_so_many_at_once(self) -> None:
        async def scene() -> list[str]:
            turns, log, gate = FairTurns(2), [], asyncio.Event()

            async def work(asker: str) -> None:
                ASKER.set(asker)
                async with turns.turn():
                    log.append(asker)
                    await gate.wait()

            tasks = [asyncio.create_task(work(asker)) for asker in "aaaaab"]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            began = list(log)
            gate.set()
            await asyncio.gather(*tasks)
            assert len(log) == len(tasks)
            assert not turns._of
            return began

        assert sorted(asyncio.run(scene())) == ["a", "a", "b"]


def files_of(home: Path) -> list[Path]:
    """All files of an archive, but for the notes of the server that scrubs it."""
    return sorted(
        path for path in home.rglob("*") if path.is_file() and "durability" not in path.parts
    )


class TestFiles:
    def test_the_soft_limit_is_raised_and_the_hard_one_kept(self) -> None:
        code = (
            "import resource; from outlast.core.descriptors import raise_limit\n"
            "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (100, min(hard, 900)))\n"
            "print(raise_limit(500), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
            "print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
            "print(raise_limit(200), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert done.stdout.decode().split("\n")[:3] == [
            "500 (500, 900)",
            "900 (900, 900)",
            "900 (900, 900)",
        ]

    def test_a_server_raises_it(self, served: Served) -> None:
        sabotage = (
            "import resource\n"
            "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        )
        with Node(served.node.home, sabotage=sabotage) as node:
            assert node.process is not None
            soft, hard = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
            assert soft == min(hard, 65_536)

    def test_there_are_no_more_connections_than_files_for_them(self) -> None:
        assert places(1024, 65_536) == 1024
        assert places(1024, 1024) * TUNING.files_each + TUNING.files_beside <= 1024
        assert places(1024, 64) == TUNING.fewest_connections
        assert places(4, 64) == 4

    @pytest.mark.parametrize("number", ["EMFILE", "ENFILE", "ENOMEM"])
    def test_a_shortage_is_no_damage(self, number: str) -> None:
        import errno  # noqa: PLC0415 - by name

        error = OSError(getattr(errno, number), "short")
        assert is_exhausted(error)
        assert isinstance(storage_error(error, "x"), ExhaustedError)
        assert not isinstance(storage_error(error, "x"), StorageError)
        assert not isinstance(storage_error(OSError(errno.EIO, "bad"), "x"), ExhaustedError)

    @pytest.mark.parametrize("left", range(8))
    def test_verify_does_not_take_it_for_damage(self, served_packed: Served, left: int) -> None:
        """However many files it can open before they run out."""
        home = served_packed.node.home
        with Archive(home) as archive:
            before = files_of(home)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            taken = []
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
                with contextlib.suppress(OSError):
                    while True:
                        taken.append(os.open("/dev/null", os.O_RDONLY))
                for fd in taken[:left]:
                    os.close(fd)
                del taken[:left]
                with contextlib.suppress(ExhaustedError):
                    found = verify(archive, (), control=Control(), quarantine=True).problems
                    assert {problem.code for problem in found} <= {ExhaustedError.code}
                    assert left
            finally:
                for fd in taken:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert before == files_of(home)

    def test_without_files_a_server_is_busy_and_nothing_worse(self, big: Path) -> None:
        """It takes more connections than it has files for; and is as before once they are gone."""
        sabotage = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
        tuned = {f"{_TUNING}.fewest_connections": 1000}
        with Node(big, "--no-swarm", sabotage=sabotage, tuned=tuned) as node:
            told = []
            with several(node.url, 60, buffer=4096) as wires:
                for wire in wires:
                    wire.sock.settimeout(1.0)
                    wire.ask(BIG)
                for wire in wires:
                    try:
                        told.append(wire.head().status)
                    except (TimeoutError, EOFError, ConnectionError):
                        break  # those that follow wait to be accepted
            assert set(told) <= {200, 503}
            assert 200 in told
            until(lambda: once(node.url, "/healthz").status == 200, "its files")
            assert once(node.url, BIG, Range="bytes=0-9").status == 206
            log = "\n".join(node.lines())
            assert "Traceback" not in log
            assert "damage" not in log
