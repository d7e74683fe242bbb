"""A worker that tries every way to a network, and tells what became of each."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from outlast.engines.worker import Emit, Json, Stopped, work


class Escapes:
    """Its facts are the errors of the ways out by name; empty: the way was open."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        def tcp() -> None:
            socket.create_connection(("127.0.0.1", config["port"]), timeout=5).close()

        def udp() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", ("127.0.0.1", config["port"]))

        def local() -> None:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(config["path"])

        def datagram() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", config["path"])

        self.facts: Json = {
            one.__name__: _error(one) for one in (tcp, udp, local, datagram, _listen)
        }
        self.facts["interfaces"] = Path("/proc/self/net/dev").read_text("ascii")

    def chat(self, request: Mapping[str, Any], emit: Emit, stopped: Stopped) -> Json:
        del request, emit, stopped
        return {}


def _listen() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("own.sock")
        sock.listen()


def _error(way: Callable[[], None]) -> str:
    try:
        way()
    except OSError as error:
        return str(error)
    return ""


def main() -> None:
    work(Escapes)
