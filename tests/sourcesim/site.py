"""A web server in threads of this process, with a second address for its files, and faults."""

import contextlib
import re
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = b"<!doctype html><title>Log in</title>"


@dataclass(frozen=True)
class Asked:
    """A request. `cdn`: it came to the second address."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    cdn: bool = False

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Reply:
    """An answer. `cut`: the connection ends after half of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Fault = Callable[[Reply], Reply]


def wrong(reply: Reply) -> Reply:
    """The first byte is another."""
    return replace(reply, body=bytes([reply.body[0] ^ 1]) + reply.body[1:])


def cut(reply: Reply) -> Reply:
    return replace(reply, cut=True)


def short(reply: Reply) -> Reply:
    """A file that lost its end, and whose size is told as it is."""
    return Reply(reply.status, reply.body[:-1])


def page(_: Reply) -> Reply:
    return Reply(200, PAGE, {"Content-Type": "text/html"})


def failing(status: int, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(status, b'{"Message": "as the test says"}', named)


def elsewhere(url: str) -> Fault:
    return lambda _: Reply(302, b"", {"Location": url})


def saying(body: bytes, status: int = 200) -> Fault:
    return lambda _: Reply(status, body, {"Content-Type": "application/json"})


def ranged(data: bytes, asked: Asked) -> Reply:
    """`data`, or the range of it that is asked for."""
    match = re.match(r"bytes=(\d+)-(\d+)$", asked.headers.get("Range", ""))
    if match is None:
        return Reply(200, data)
    first, last = int(match[1]), min(int(match[2]), len(data) - 1)
    if first >= len(data):
        return Reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    return Reply(
        206, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go whenever they like; anything else is a bug of the test."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Site:
    """A context manager. What is asked is in `asked`, oldest first."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._faults: list[tuple[re.Pattern[str], Fault, list[int]]] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._servers: list[ThreadingHTTPServer] = []
        self.url = self.cdn_url = ""

    def __enter__(self) -> Self:
        self.url, self.cdn_url = self._listen(cdn=False), self._listen(cdn=True)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def fault(self, path: str, what: Fault, times: int = 1_000_000) -> None:
        """From now on `what` happens to answers for matching paths, so many `times`."""
        self._faults.append((re.compile(path), what, [times]))

    def count(self, path: str = "", **equal: Any) -> int:
        """Requests whose path matches, and whose fields are equal to these."""
        return sum(
            bool(re.search(path, one.path))
            and all(getattr(one, name) == value for name, value in equal.items())
            for one in self.asked
        )

    def answer(self, asked: Asked) -> Reply:
        raise NotImplementedError

    def _answer(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
        reply = self.answer(asked)
        for path, what, left in self._faults:
            with self._lock:
                hit = left[0] > 0 and path.search(asked.path) is not None
                left[0] -= hit
            if hit:
                reply = what(reply)
        return reply

    def _listen(self, *, cdn: bool) -> str:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body go together, and wait for no acknowledgement

            def setup(self) -> None:
                super().setup()
                with site._lock:
                    site._sockets.add(self.connection)

            def finish(self) -> None:
                with site._lock:
                    site._sockets.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
                asked = Asked(self.command, unquote(parts.path), query, dict(self.headers), cdn)
                with contextlib.suppress(OSError):
                    self._send(site._answer(asked))

            do_HEAD = do_GET  # noqa: N815 - the name that the standard library looks for

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command == "HEAD":
                    return
                if reply.cut:
                    self.wfile.write(reply.body[: len(reply.body) // 2])
                    self.close_connection = True
                    return
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                pass

        server = _Server(("127.0.0.1", 0), Handler)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"
