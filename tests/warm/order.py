"""What the process that forks is told, and how: JSON after its length, with descriptors."""

import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

OUTLAST = "outlast.__main__:run"
FILES = 3
"""Descriptors that come with an order: where its end is reported, its stdout and its stderr."""
NUMBER = struct.Struct("!q")
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Order:
    """A command to run. The environment is the whole one; `run` is the ``module:function`` that is
    called with `given`, values of JSON, once ``sys.argv`` has the arguments. `namespace` is the
    network namespace to run in, if any.
    """

    arguments: Sequence[str]
    env: Mapping[str, str]
    folder: str = field(default_factory=os.getcwd)
    run: str = OUTLAST
    given: Sequence[Any] = ()
    namespace: str = ""

    def send(self, connection: socket.socket, descriptors: Sequence[int]) -> None:
        data = json.dumps(asdict(self)).encode()
        socket.send_fds(connection, [_LENGTH.pack(len(data))], descriptors)
        connection.sendall(data)

    @classmethod
    def receive(cls, connection: socket.socket) -> tuple[Self, list[int]] | None:
        """An order and its descriptors; None once the other side has closed."""
        head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, FILES)
        if not head:
            return None
        head += exactly(connection, _LENGTH.size - len(head))
        data = exactly(connection, *_LENGTH.unpack(head))
        return cls(**json.loads(data)), descriptors


def exactly(connection: socket.socket, count: int) -> bytes:
    """The next `count` bytes. Raises EOFError where the other side closes before."""
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError("the other side has gone")
        data += part
    return bytes(data)
