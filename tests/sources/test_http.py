"""What a pool of connections does when a server ends one."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from outlast.core.errors import Cancelled, OutlastError, PolicyError, UnreachableError
from tests.serve.peers import client

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[str, list[int]]]:
    """Gives one of `answers` to each request in turn, on as few connections as it can, and hangs up
    instead where it is empty; and which connection each request came on.
    """
    came: list[int] = []
    left = list(answers)

    def serve(listener: socket.socket) -> None:
        for number in range(len(answers)):
            with suppress(OSError), listener.accept()[0] as sock:
                sock.settimeout(10)
                while left and sock.recv(1 << 16):
                    came.append(number)
                    if not (answer := left.pop(0)):
                        break
                    sock.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", came
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("body", [None, b"{}"], ids=["GET", "POST"])
def test_a_connection_that_ended_meanwhile(body: bytes | None) -> None:
    """The request goes out again, on another."""
    http = client()
    with server(_ANSWER, b"", _ANSWER) as (url, came):
        for _ in range(2):
            with http.ask(url, body=body) as answer:
                assert answer.read_all(10) == b"hi"
    assert came == [0, 0, 1]


@pytest.mark.parametrize("status", [200, 304, 404, 503])
def test_an_answer_without_a_byte(status: int) -> None:
    """Its connection is used again, and the next answer is read."""
    http = client()
    with server(b"HTTP/1.1 %d Empty\r\nContent-Length: 0\r\n\r\n" % status, _ANSWER) as (url, came):
        http.get(url).close()
        with http.get(url) as answer:
            assert answer.read_all(10) == b"hi"
    assert came == [0, 0]


def test_a_server_that_never_answers() -> None:
    with server(b"", b"", _ANSWER) as (url, came), pytest.raises(UnreachableError):
        client().get(url)
    assert came == [0, 1]


def test_the_log_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a token, nor a URL's user, password, path or query."""
    away = (
        b"HTTP/1.1 302 Away\r\nContent-Length: 0\r\nLocation: /canary-path?q=canary-query\r\n\r\n"
    )
    caplog.set_level(logging.DEBUG, logger="outlast")
    with server(away, b"", _ANSWER) as (url, _):
        secret = url.replace("//", "//user:canary-password@") + "x?q=canary-query"
        with client().get(secret, token="canary-token") as answer:
            assert answer.read_all(10) == b"hi"
    said = [r.getMessage() for r in caplog.records if r.name.startswith("outlast.")]
    host = url.split("/")[2]
    assert said == [
        f"GET {host}: HTTP 302",
        f"{host} closed a kept connection: one more try",
        f"GET {host}: HTTP 200",
    ]


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "[::1]"])
def test_a_public_host_does_not_send_us_inside(
    monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    """The name is public where it is looked up, and leads to a server of this test."""
    real = socket.getaddrinfo

    def look_up(host: str, port: str | int | None, *rest: Any, **more: Any) -> Any:
        if host == "hub.example":
            host = "8.8.8.8" if port is None else "127.0.0.1"
        return real(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://%s:9/\r\nContent-Length: 0\r\n\r\n"
    with server(moved % inside.encode()) as (url, came):
        port = url.rpartition(":")[2]
        with pytest.raises(PolicyError, match="inside this network"):
            client().get(f"http://hub.example:{port}")
    assert came == [0]


@pytest.mark.parametrize("kept", [b"", b"Connection: close\r\n"])
def test_nor_to_a_name_that_leads_inside_when_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, kept: bytes
) -> None:
    """It leads outside when it is looked at (DNS rebinding). Also where its URL is asked again
    later, as that of a CDN is. Here 127.0.0.2 alone is inside.
    """
    for room in ("http", "in_time"):
        monkeypatch.setattr(f"outlast.sources.{room}.is_outside", lambda a: a != "127.0.0.2")
    real = socket.getaddrinfo

    def look_up(host: str, port: str | int | None, *rest: Any, **more: Any) -> Any:
        if host == "rebinds.example":
            host = "127.0.0.1" if port is None else "127.0.0.2"
        return real(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with socket.create_server(("127.0.0.2", 0)) as inside:
        led = f"http://rebinds.example:{inside.getsockname()[1]}/admin"
        moved = b"HTTP/1.1 302 Found\r\nLocation: %s\r\n%sContent-Length: 0\r\n\r\n"
        with server(moved % (led.encode(), kept)) as (url, _), client() as http:
            for asked in (url, led):
                with pytest.raises(PolicyError, match="inside this network"):
                    http.get(asked, timeout=5)
                peer, _ = inside.accept()
                with peer:
                    assert peer.recv(100) == b""


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"])
def test_closing_ends_what_other_threads_wait_for(sent: bytes) -> None:
    """Whether the head of the answer or its body does not come; and nothing is asked any more."""
    http, waits = client(), threading.Event()
    caught: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        def ask() -> None:
            try:
                with http.ask(url) as answer:
                    waits.set()
                    answer.read_all(10)
            except OutlastError as error:
                caught.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        with listener.accept()[0] as sock:
            assert sock.recv(1 << 16)
            sock.sendall(sent)
            if sent:
                assert waits.wait(10)
            http.close()
            asking.join(10)
            assert not asking.is_alive()
        assert len(caught) == 1
        with pytest.raises(Cancelled):
            http.ask(url)
