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

from outlast.node.status_client import UnixConnection

FOLDER: Final = "gateways"
_NAME: Final = re.compile(r"([0-9]{1,10})\.([0-9]{1,3})\.sock\Z")
_PRIVATE_FOLDER: Final = 0o700
_PRIVATE: Final = 0o600


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
    folder = home / FOLDER
    folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    folder.chmod(_PRIVATE_FOLDER)
    for other in places(home):
        _sweep(other.path)
    path = place_of(home, group, number)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        try:
            path.chmod(_PRIVATE)  # before it listens, so no connection can come earlier
            sock.setblocking(False)
            yield sock
        finally:
            path.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return


def read(path: Path, what: str, most: int, seconds: float) -> bytes:
    """The answer to ``GET what``, of at most `most` bytes. Raises OSError and
    :class:`http.client.HTTPException`.
    """
    connection = UnixConnection(path, seconds)
    try:
        connection.request("GET", what)
        response = connection.getresponse()
        data = response.read(most + 1)
        if response.status != 200 or len(data) > most:
            raise http.client.HTTPException(f"it answers {response.status}")
        return data
    finally:
        connection.close()
