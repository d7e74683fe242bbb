"""Clients that are a burden, in a process of their own: ``python -m tests.serve.load URL JSON``.

It prints ``ready`` when all of them are there, and when its input ends, what became of them.
"""

import contextlib
import json
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

_SECONDS = 120.0


@dataclass(frozen=True)
class Burden:
    """How many of each kind, and from how many addresses. Slow ones ask for `big` and read
    nothing; `bodies` POST a body of `size` bytes to `post`.
    """

    slow: int
    idle: int
    bodies: int
    addresses: int
    big: str
    post: str
    size: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class _Load:
    def __init__(self, url: str, burden: Burden) -> None:
        at = urlsplit(url)
        self._at = (at.hostname or "", at.port or 0)
        self._burden = burden
        self._next = 0
        self.told: Counter[str] = Counter()
        self.held: list[socket.socket] = []

    def _connect(self, buffer: int = 0) -> socket.socket | None:
        sock = socket.socket()
        self._next += 1
        try:
            sock.settimeout(_SECONDS)
            if buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock.bind((f"127.0.7.{1 + self._next % self._burden.addresses}", 0))
            sock.connect(self._at)
        except OSError:
            self.told["not connected"] += 1
            sock.close()
            return None
        return sock

    def begin(self) -> None:
        for _ in range(self._burden.idle):
            if (sock := self._connect()) is not None:
                self.held.append(sock)
        head = f"GET {self._burden.big} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for _ in range(self._burden.slow):
            if (sock := self._connect(4096)) is not None:
                with contextlib.suppress(OSError):
                    sock.sendall(head)
                self.held.append(sock)
        for sock in self.held[-self._burden.slow :]:
            with contextlib.suppress(OSError):
                sock.recv(1)  # its answer has begun, or it was refused

    def send_bodies(self) -> None:
        """All at once, a piece of each in turn; then what is told to each."""
        body = b'{"paths":[' + b'"",' * 19_000 + b'"' + b"a" * (self._burden.size - 60_000) + b'"]}'
        head = (
            f"POST {self._burden.post} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        data = head.encode() + body
        selector = selectors.DefaultSelector()
        for _ in range(self._burden.bodies):
            if (sock := self._connect()) is not None:
                sock.setblocking(False)
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                selector.register(sock, both, [memoryview(data), b""])
        deadline = time.monotonic() + _SECONDS
        while selector.get_map() and time.monotonic() < deadline:
            for key, events in selector.select(1.0):
                self._step(selector, key, events)
        self.told["body not answered"] += len(selector.get_map())

    def _step(
        self, selector: selectors.BaseSelector, key: selectors.SelectorKey, events: int
    ) -> None:
        sock, state = key.fileobj, key.data
        assert isinstance(sock, socket.socket)
        ended = False
        try:
            if events & selectors.EVENT_READ:
                data = sock.recv(65536)
                state[1] += data
                ended = not data
            elif events & selectors.EVENT_WRITE:
                state[0] = state[0][sock.send(state[0][:65536]) :]
                if not state[0]:
                    selector.modify(sock, selectors.EVENT_READ, state)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            selector.unregister(sock)
            sock.close()
            words = state[1].split(b" ", 2)
            self.told[f"body {words[1].decode()}" if len(words) > 1 else "body cut off"] += 1

    def still_open(self) -> int:
        """How many of those held the server has not closed, read to the end of what it sent."""
        count = 0
        for sock in self.held:
            sock.settimeout(10.0)  # the kernel may still have some of what was sent before the end
            try:
                while sock.recv(1 << 20):
                    pass
            except TimeoutError:
                count += 1
            except OSError:
                pass
        return count


def main() -> None:
    load = _Load(sys.argv[1], Burden(**json.loads(sys.argv[2])))
    load.begin()
    print("ready", flush=True)
    load.send_bodies()
    print("sent", flush=True)
    sys.stdin.read()
    print(json.dumps({**load.told, "open": load.still_open()}), flush=True)


if __name__ == "__main__":
    main()
