"""`outlast status`: what the nodes of an archive say at their sockets."""

import contextlib
import json
import os
import pty
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import StorageError
from outlast.core.events import Event, Note
from outlast.core.status import NodeStatus
from outlast.node.status_client import ask_nodes
from outlast.store.archive import Archive
from tests.cli.call import COMMAND, environment, inside, until
from tests.core.test_status import NODE
from tests.serve.peers import Peer

Answer = Callable[[], dict[str, Any]]


@contextmanager
def node(home: Path, answer: Answer, events: list[Event] | None = None) -> Iterator[Path]:
    """A node of this process that gives this status; its socket."""
    with Archive(home / "archive", create=True) as archive:
        emit = (events if events is not None else []).append
        with Peer(archive).serving(status=answer, emit=emit):
            yield home / "archive" / "nodes" / f"{os.getpid()}.sock"


def mine() -> dict[str, Any]:
    return replace(NODE, pid=os.getpid()).to_json()


class TestSockets:
    def test_only_its_user_may_ask(self, tmp_path: Path) -> None:
        with node(tmp_path, mine) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert stat.S_ISSOCK(path.stat().st_mode)
        assert list((tmp_path / "archive" / "nodes").iterdir()) == []

    def test_the_folder_is_closed_where_it_was_open(self, tmp_path: Path) -> None:
        folder = tmp_path / "archive" / "nodes"
        folder.mkdir(parents=True, mode=0o755)
        with node(tmp_path, mine):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_what_it_says(self, tmp_path: Path) -> None:
        with node(tmp_path, mine):
            found = ask_nodes(tmp_path / "archive")
        assert found.nodes == (NodeStatus.from_json(mine()),)
        assert found.problems == ()

    def test_it_is_asked_each_time(self, tmp_path: Path) -> None:
        count = 0

        def counted() -> dict[str, Any]:
            nonlocal count
            count += 1
            return mine() | {"sent": count}

        with node(tmp_path, counted):
            sent = [ask_nodes(tmp_path / "archive").nodes[0].sent for _ in range(3)]
        assert sent == [1, 2, 3]

    @pytest.mark.parametrize("target", ["/", "/status/", "/metrics", "/outlast/v1/node"])
    def test_nothing_else_is_there(self, tmp_path: Path, target: str) -> None:
        with node(tmp_path, mine) as path, socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert sock.makefile("rb").readline().split()[1] == b"404"

    def test_the_dead_are_swept(self, tmp_path: Path) -> None:
        folder = tmp_path / "archive" / "nodes"
        folder.mkdir(parents=True)
        dead = folder / f"{_dead_pid()}.sock"
        own, other = folder / f"{os.getpid()}.sock", folder / "notes.txt"
        for path in (dead, own):
            _left_behind(path)
        other.touch()
        with node(tmp_path, mine) as path:
            assert set(folder.iterdir()) == {path, other}
            assert len(ask_nodes(tmp_path / "archive").nodes) == 1

    def test_one_that_answers_is_not_swept(self, tmp_path: Path) -> None:
        """As of a container with the same folder, whose process ids mean nothing here."""
        folder = tmp_path / "archive" / "nodes"
        folder.mkdir(parents=True)
        elsewhere = folder / f"{_dead_pid()}.sock"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(elsewhere))
            sock.listen()
            with node(tmp_path, mine):
                assert elsewhere.exists()

    def test_a_path_too_long(self, tmp_path: Path) -> None:
        events: list[Event] = []
        home = tmp_path / ("d" * 100)
        home.mkdir()
        with node(home, mine, events) as path:
            assert not path.exists()
        [event] = events
        assert isinstance(event, Note)
        assert "outlast status" in event.text

    def test_a_bug_in_the_status(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def bug() -> dict[str, Any]:
            raise RuntimeError("a bug")

        with node(tmp_path, bug):
            found = ask_nodes(tmp_path / "archive")
        assert found.nodes == ()
        assert "500" in found.problems[0]
        assert "RuntimeError: a bug" in capsys.readouterr().err

    def test_a_failure_in_the_status(self, tmp_path: Path) -> None:
        def failure() -> dict[str, Any]:
            raise StorageError("the disk")

        with node(tmp_path, failure):
            assert "500" in ask_nodes(tmp_path / "archive").problems[0]


def _dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _left_behind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@contextmanager
def liar(path: Path, data: bytes, *, hangs: bool = False) -> Iterator[None]:
    """Something else behind the socket of a node."""
    path.parent.mkdir(parents=True)
    done = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(data)
            if hangs:
                done.wait()

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        done.set()
        thread.join()


class TestLies:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.1 500 Oh\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n[]",
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n\xff",
        ],
        ids=lambda data: str(data[:40]),
    )
    def test_what_is_no_status(self, tmp_path: Path, data: bytes) -> None:
        with liar(tmp_path / "nodes" / "77.sock", data):
            found = ask_nodes(tmp_path)
        assert found.nodes == ()
        assert len(found.problems) == 1
        assert "process id 77 " in found.problems[0]

    def test_silence(self, tmp_path: Path) -> None:
        with liar(tmp_path / "nodes" / "77.sock", b"", hangs=True):
            assert len(ask_nodes(tmp_path, timeout=0.1).problems) == 1


class TestCommand:
    def test_no_node(self, home: Path) -> None:
        call = inside("status", home=home).ok()
        assert call.out.startswith(f"the archive in {home / 'archive'} takes ")
        assert (call.out.count("\n"), call.err.count("\n")) == (1, 1)
        assert "no node of the swarm runs" in call.err
        assert "without the swarm is not shown" in call.err

    def test_no_archive(self, tmp_path: Path) -> None:
        assert inside("status", "--json", home=tmp_path).ok().result == []
        assert list(tmp_path.iterdir()) == []

    def test_json(self, home: Path) -> None:
        assert inside("status", "--json", home=home).ok().result == []
        with node(home, mine):
            (said,) = inside("status", "--json", home=home).ok().result
            assert said.pop("archive_bytes") > 0
            assert said == json.loads(json.dumps(mine() | {"v": 1}))

    def test_tables(self, home: Path) -> None:
        with node(home, mine):
            for flags in ((), ("--once",)):
                text = inside("status", *flags, home=home).ok().out
                for part in ("outlast pull org/name", "76 % https://hub", "BANNED", "fe80::1%eth0"):
                    assert part in text

    def test_what_others_say_forges_no_line(self, home: Path) -> None:
        bad = "x\n\x1b[2Jevil"
        forged = replace(
            NODE,
            command=bad,
            transfers=(replace(NODE.transfers[0], path=bad),),
            peers=(replace(NODE.peers[0], client=bad),),
        )
        with node(home, forged.to_json):
            text = inside("status", home=home).ok().out
        assert "\x1b" not in text
        assert not any(line.startswith("evil") for line in text.splitlines())
        assert text.count(r"x\n\x1b[2Jevil") == 3

    def test_one_that_does_not_answer_as_it_should(self, home: Path) -> None:
        with liar(home / "archive" / "nodes" / "77.sock", b"HTTP/1.1 200 OK\r\n\r\n{}"):
            call = inside("status", home=home).ok()
        assert "process id 77 " in call.err

    @pytest.mark.parametrize("terminal", [True, False])
    def test_it_is_redrawn_until_it_is_interrupted(self, home: Path, terminal: bool) -> None:
        count = 0

        def counted() -> dict[str, Any]:
            nonlocal count
            count += 1
            return mine()

        ours, theirs = pty.openpty() if terminal else os.pipe()
        flags = () if terminal else ("--watch",)
        with node(home, counted):
            process = subprocess.Popen(
                [*COMMAND, "status", *flags],
                env=environment(home, TERM="xterm", COLUMNS="200"),
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=subprocess.PIPE,
            )
            os.close(theirs)
            until(lambda: count >= 2, "a second drawing")
            process.terminate()
            text = _all(ours)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert b"outlast pull org/name" in text
        assert b"BANNED" in text


def _all(fd: int) -> bytes:
    """What comes until the other side has closed: a terminal says that by an error."""
    data = b""
    with contextlib.suppress(OSError):
        while part := os.read(fd, 1 << 16):
            data += part
    os.close(fd)
    return data
