"""One request to an engine's HTTP server on a socket in the file system, with bounds on time and
size. The process that asks need not wait: it looks at a cancel token meanwhile.
"""

import json
import select
import socket
import time
from dataclasses import dataclass
from typing import Any, Final

from outlast.core.cancel import Cancel
from outlast.core.errors import EngineError

_HEAD_END: Final = b"\r\n\r\n"
_READ: Final = 1 << 18


class NoAnswerError(Exception):
    """There was no answer by the deadline."""


class TooLongError(Exception):
    """The answer is longer than it may be."""


@dataclass(frozen=True, slots=True)
class AskBounds:
    """`deadline` is of :func:`time.monotonic`; `most` are bytes of the answer, its head included;
    `poll` are seconds between two looks at the cancel token.
    """

    deadline: float
    most: int
    poll: float


def ask(path: str, target: str, body: object, bounds: AskBounds, cancel: Cancel) -> tuple[int, Any]:
    """Sends a request (GET where `body` is None, else POST) and returns the status and the JSON of
    the answer. Raises :class:`NoAnswerError`, :class:`TooLongError`, :class:`Cancelled`, and
    :class:`EngineError` where the engine breaks off or does not speak HTTP.
    """
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{'GET' if body is None else 'POST'} {target} HTTP/1.0\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        "Connection: close\r\n\r\n"
    )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(path)
            sock.setblocking(False)
            answer = _exchange(sock, head.encode() + data, bounds, cancel)
    except OSError as error:
        raise EngineError(f"the engine does not answer: {error.strerror or error}") from error
    start, end, text = answer.partition(_HEAD_END)
    try:
        status = int(start.split(b" ", 2)[1])
        return status, json.loads(text)
    except (IndexError, ValueError):
        how = "not HTTP" if not end else "not JSON"
        raise EngineError(f"the engine's answer is {how}") from None


def _exchange(sock: socket.socket, data: bytes, bounds: AskBounds, cancel: Cancel) -> bytes:
    """Writes all of `data`, and reads until the engine closes the connection or has sent all that
    it announced.
    """
    left, found = memoryview(data), bytearray()
    poller = select.poll()
    poller.register(sock, select.POLLIN | select.POLLOUT)
    while True:
        cancel.check()
        if time.monotonic() > bounds.deadline:
            raise NoAnswerError
        events = dict(poller.poll(bounds.poll * 1000)).get(sock.fileno(), 0)
        if events & select.POLLOUT and left:
            left = left[sock.send(left) :]
            if not left:
                poller.modify(sock, select.POLLIN)
        elif events:
            chunk = sock.recv(_READ)
            found += chunk
            if len(found) > bounds.most:
                raise TooLongError
            if not chunk or _is_whole(found):
                return bytes(found)


def _is_whole(found: bytearray) -> bool:
    head, end, body = found[:65_536].partition(_HEAD_END)
    if not end:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(found) - len(head) - len(end) >= int(value)
    del body
    return False
