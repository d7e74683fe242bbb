"""The private sockets of a gateway's processes: ``gateways/GROUP.NUMBER.sock`` in the archive's
folder. GROUP is the process id of the one that was started, NUMBER counts its processes from 0.
"""

import contextlib
import http.client
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from outlast.node.private_socket import make_folder, private_socket, sweep
from outlast.node.status_client import UnixConnection

FOLDER: Final = "gateways"
WRITE_PATH: Final = "/ledger/write"
_WRITING: Final = 5.0
"""Seconds that a gateway may take for it."""
_NAME: Final = re.compile(r"([0-9]{1,10})\.([0-9]{1,3})\.sock\Z")


class PrivatePlace(NamedTuple):
    """A socket, and whose it is."""

    group: int
    number: int
    path: Path


def places(home: Path) -> list[PrivatePlace]:
    """Those of all gateways of an archive; some may be of processes that were killed."""
    try:
        names = os.listdir(home / FOLDER)
    except OSError:
        return []
    matches = [match for match in map(_NAME.match, names) if match is not None]
    return sorted(PrivatePlace(int(m[1]), int(m[2]), home / FOLDER / m[0]) for m in matches)


def place_of(home: Path, group: int, number: int) -> Path:
    """Where the socket of one process is."""
    return home / FOLDER / f"{group}.{number}.sock"


@contextlib.contextmanager
def listening_at(home: Path, group: int, number: int) -> Iterator[socket.socket]:
    """A socket that only this user can reach, until the block ends; those of processes that were
    killed are removed. Raises OSError, also where the folder's name is too long for one.
    """
    make_folder(home / FOLDER)
    for other in places(home):
        sweep(other.path)
    with private_socket(place_of(home, group, number)) as sock:
        yield sock


def write_ledger(home: Path) -> None:
    """Lets all gateways of an archive write what they have not written yet. One that cannot is left
    aside: it writes when it can.
    """
    for place in places(home):
        with contextlib.suppress(OSError, http.client.HTTPException):
            read(place.path, WRITE_PATH, 0, _WRITING, method="POST")


def read(path: Path, what: str, most: int, seconds: float, *, method: str = "GET") -> bytes:
    """The answer to what is asked for, of at most `most` bytes. Raises OSError and
    :class:`http.client.HTTPException`.
    """
    connection = UnixConnection(path, seconds)
    try:
        connection.request(method, what)
        response = connection.getresponse()
        data = response.read(most + 1)
        if response.status != 200 or len(data) > most:
            raise http.client.HTTPException(f"it answers {response.status}")
        return data
    finally:
        connection.close()
