"""Tells the service manager that started this process that it is ready (sd_notify(3))."""

import contextlib
import socket
from collections.abc import Mapping


def tell_ready(environ: Mapping[str, str], status: str) -> None:
    """Sends one datagram to ``$NOTIFY_SOCKET``, where there is one. `status` is a line for a
    person. A manager that does not listen is none of our business.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path  # @: an abstract socket
    with (
        contextlib.suppress(OSError, ValueError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.setblocking(False)
        sender.sendto(f"READY=1\nSTATUS={status}\n".encode(), address)
