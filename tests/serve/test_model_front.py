"""The front of a model's API before an engine that behaves badly, which a real one seldom does."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError
from outlast.server.model import server as model_server
from outlast.server.model.front import Serves
from outlast.server.model.origin import Origin
from outlast.server.model.requests import Loaded

CHAT = "/v1/chat/completions"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
STAMPED = (200, json.dumps({"outlast": Origin("", "").field}).encode())
RENDER = b"POST /apply-template"
HELLO = json.dumps({"messages": []}).encode()


@dataclass
class Engine:
    """An engine on a socket; `answer` gets each connection, and its number."""

    path: Path
    answer: Callable[[socket.socket, int], None]
    alive: bool = True
    count: int = 0
    problems: list[Exception] = field(default_factory=list)
    template_seconds: float = 30.0
    template_bytes: int = 1 << 20

    def condemn(self, error: EngineError) -> None:
        self.problems.append(error)

    @property
    def socket_path(self) -> str:
        return str(self.path)

    def failure(self) -> EngineError:
        return EngineError("the engine ended")

    def run(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if connection.recv(len(RENDER), socket.MSG_PEEK | socket.MSG_WAITALL) == RENDER:
                with connection:  # the request is tried with the template first
                    read_request(connection)
                    connection.sendall(OK)
                continue
            self.count += 1
            with connection:
                self.answer(connection, self.count)


def read_request(connection: socket.socket) -> bytes:
    """One request with its body; empty where the connection ended."""
    data = b""
    while b"\r\n\r\n" not in data or not data.endswith(b"}"):
        if not (more := connection.recv(65536)):
            return b""
        data += more
    return data


@contextlib.contextmanager
def fronted(
    folder: Path, answer: Callable[[socket.socket, int], None]
) -> Iterator[tuple[int, Engine]]:
    engine = Engine(folder / "engine.sock", answer)
    cancel, up = Cancel(), threading.Event()
    api = model_server.Api(Serves(Loaded.under("org/name", (), tools=False, embeddings=False)))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(engine.socket_path)
        listener.listen()
        runs = threading.Thread(target=engine.run, args=(listener,))
        sock = model_server.bind("127.0.0.1", 0)
        port = sock.getsockname()[1]
        serves = threading.Thread(
            target=model_server.serve, args=(engine, sock, api, up.set, cancel)
        )
        runs.start()
        serves.start()
        try:
            assert up.wait(60)
            yield port, engine
        finally:
            cancel.set()
            serves.join()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            runs.join()


def post(port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", CHAT, HELLO)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_an_engine_that_closes_idle_connections(tmp_path: Path) -> None:
    """It promises to keep a connection, and closes it on the next request: no client sees that."""

    def answer(connection: socket.socket, number: int) -> None:
        del number
        if read_request(connection):
            connection.sendall(OK)
            connection.recv(1)  # the next request, or the end

    with fronted(tmp_path, answer) as (port, engine):
        assert [post(port) for _ in range(3)] == [STAMPED] * 3
        assert engine.count == 3


def test_a_client_that_leaves_ends_the_work_for_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked, left = threading.Event(), threading.Event()

    def answer(connection: socket.socket, number: int) -> None:
        del number
        read_request(connection)
        asked.set()
        if connection.recv(1) == b"":
            left.set()

    with fronted(tmp_path, answer) as (port, _):
        with socket.create_connection(("127.0.0.1", port)) as client:
            head = (
                f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(HELLO)}\r\n\r\n"
            )
            client.sendall(head.encode() + HELLO)
            assert asked.wait(60)
        assert left.wait(60)
    assert capfd.readouterr().err == ""


def test_a_client_that_leaves_within_a_stream_ends_it(tmp_path: Path) -> None:
    left = threading.Event()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    def answer(connection: socket.socket, number: int) -> None:
        del number
        read_request(connection)
        connection.sendall(head + b"8\r\ndata: 1\n\r\n")
        if connection.recv(1) == b"":
            left.set()

    with fronted(tmp_path, answer) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", CHAT, HELLO)
        assert connection.getresponse().read(7) == b"data: 1"
        assert not left.is_set()
        connection.close()
        assert left.wait(60)


def test_an_engine_that_breaks_off_within_a_stream(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No second answer follows, and nothing that looks like an end."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    def answer(connection: socket.socket, number: int) -> None:
        del number
        read_request(connection)
        connection.sendall(head + b"8\r\ndata: 1\n\r\n")

    head_sent = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(HELLO)}\r\n\r\n"
    data = b""
    with (
        fronted(tmp_path, answer) as (port, _),
        socket.create_connection(("127.0.0.1", port), 60) as client,
    ):
        client.sendall(head_sent.encode() + HELLO)
        while more := client.recv(65536):
            data += more
    assert data.count(b"HTTP/1.1") == 1
    assert b"\r\n0\r\n" not in data
    assert capfd.readouterr().err == ""


def test_an_engine_that_breaks_off(tmp_path: Path) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        read_request(connection)
        if number > 1:
            connection.sendall(OK)

    with fronted(tmp_path, answer) as (port, _):
        status, data = post(port)
        assert status == 503
        assert "engine does not answer" in json.loads(data)["error"]["message"]
        assert post(port) == STAMPED


def test_an_engine_that_is_gone(tmp_path: Path) -> None:
    """Its socket is the server's matter."""
    with fronted(tmp_path, lambda _connection, _number: None) as (port, engine):
        engine.path.unlink()
        status, data = post(port)
        assert status == 503
        assert b"a path of the server" in data
        assert str(tmp_path).encode() not in data


def test_an_error_within_a_stream_speaks_of_our_options(tmp_path: Path) -> None:
    error = {"error": {"code": 500, "message": "It broke. Start it with `--mend`"}}
    event = b"data: " + json.dumps(error).encode() + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    def answer(connection: socket.socket, number: int) -> None:
        del number
        read_request(connection)
        connection.sendall(head + event)

    with fronted(tmp_path, answer) as (port, _):
        status, data = post(port)
        assert status == 200
        assert json.loads(data.removeprefix(b"data: "))["error"]["message"] == "It broke."


@pytest.mark.parametrize("status", [400, 404, 500, 501, 503])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error": "x"}', b'{"error": {"message": 7}}']
)
def test_errors_of_any_form(tmp_path: Path, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} Bad\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def answer(connection: socket.socket, number: int) -> None:
        del number
        read_request(connection)
        connection.sendall(head + body)

    with fronted(tmp_path, answer) as (port, _):
        found, data = post(port)
        assert found == status
        assert json.loads(data)["error"]["message"]
