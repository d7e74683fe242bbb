"""A Unix socket that only its user reaches."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_UNFINISHED: Final = ".new"
_PRIVATE_FOLDER: Final = 0o700
_PRIVATE: Final = 0o600
_SECONDS: Final = 1.0


def make_folder(folder: Path) -> None:
    """Makes the folder of such sockets. Raises OSError."""
    folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    folder.chmod(_PRIVATE_FOLDER)


@contextlib.contextmanager
def private_socket(path: Path) -> Iterator[socket.socket]:
    """A socket at `path` that listens, until the block ends. Raises OSError, also where the path is
    too long for one.

    It has its name once it listens: one that had it earlier would refuse others, and so would
    :func:`sweep`, in another process, take it for the socket of a process that died.
    """
    unfinished = path.with_suffix(_UNFINISHED)
    unfinished.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(unfinished))
        try:
            unfinished.chmod(_PRIVATE)  # before it listens, so no connection can come earlier
            sock.listen()
            sock.setblocking(False)
            os.rename(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        try:
            yield sock
        finally:
            path.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Removes the socket of a process that died; one that answers may be of another machine's or
    container's process, which has the same folder.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_SECONDS)
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
