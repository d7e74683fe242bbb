"""HTTP as bytes: requests that no library would send, and answers with nothing interpreted."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_SECONDS = 120.0


@dataclass(frozen=True)
class Reply:
    """One answer: header names are in lower case."""

    version: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def complete(self) -> bool:
        """Whether it is what was asked for, to the last byte."""
        promised = int(self.headers.get("content-length", -1))
        return self.status in {200, 206} and len(self.body) == promised


class Wire:
    """One connection. `buffer` is the size of its receive buffer in bytes, for slow clients;
    `source` the address that it comes from.
    """

    def __init__(self, url: str, *, buffer: int = 0, source: str = "") -> None:
        at = urlsplit(url)
        self.host = f"{at.hostname}:{at.port}"
        self.sock = socket.socket()
        self.sock.settimeout(_SECONDS)
        if buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect((at.hostname or "", at.port or 0))
        self._rest = bytearray()
        self.was_reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(
        self, target: str | bytes, method: str = "GET", body: bytes = b"", /, **headers: str
    ) -> None:
        """Sends a request whose target goes out as it is."""
        raw = target if isinstance(target, bytes) else target.encode()
        lines = [method.encode() + b" " + raw + b" HTTP/1.1", b"Host: " + self.host.encode()]
        if body or method == "POST":
            lines.append(b"Content-Length: %d" % len(body))
        lines += [
            f"{name.replace('_', '-')}: {value}".encode("utf-8", "surrogateescape")
            for name, value in headers.items()
        ]
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def head(self) -> Reply:
        """The next answer without its body, which `read` gives; EOFError where none came."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        pairs = [line.split(":", 1) for line in lines]
        headers = {name.lower(): value.strip() for name, value in pairs}
        assert len(headers) == len(pairs), f"a header came twice: {lines}"
        return Reply(version, int(status), headers, b"")

    def reply(self, method: str = "GET") -> Reply:
        """The next answer. Its body ends early where the connection does."""
        head = self.head()
        length = 0 if method == "HEAD" else int(head.headers.get("content-length", 0))
        try:
            while len(self._rest) < length:
                self._more()
        except EOFError:
            pass
        return replace(head, body=self._take(length))

    def read(self, count: int) -> bytes:
        """Up to `count` bytes as they come; b"" at the end."""
        if not self._rest:
            try:
                self._more()
            except EOFError:
                return b""
        return self._take(count)

    def ended(self) -> bool:
        """Waits until the other side closes; true where nothing more came before that."""
        return self.read(1) == b""

    def _take(self, count: int) -> bytes:
        data = bytes(self._rest[:count])
        del self._rest[:count]
        return data

    def _more(self) -> None:
        try:
            data = self.sock.recv(1 << 16)
        except ConnectionResetError:
            self.was_reset, data = True, b""
        if not data:
            raise EOFError("the connection is closed")
        self._rest += data


def once(
    url: str, target: str | bytes, method: str = "GET", body: bytes = b"", /, **headers: str
) -> Reply:
    """One request on a connection of its own."""
    with Wire(url) as wire:
        wire.ask(target, method, body, Connection="close", **headers)
        return wire.reply(method)


@contextmanager
def several(url: str, count: int, *, buffer: int = 0, source: str = "") -> Iterator[list[Wire]]:
    """Many connections at once."""
    with ExitStack() as stack:
        yield [stack.enter_context(Wire(url, buffer=buffer, source=source)) for _ in range(count)]
