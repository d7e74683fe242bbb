"""The Unix socket on which a node tells its own user how it is: ``nodes/<pid>.sock`` in the folder
of the archive, HTTP, ``GET /status``.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from outlast.core.events import Emit, Note
from outlast.node.status_client import FOLDER, SUFFIX, sockets
from outlast.server.http.exchange import Exchange
from outlast.server.http.listening import Bounds, listening
from outlast.server.http.memory import Memory
from outlast.server.http.replies import failure, json_reply

_BOUNDS = Bounds(body=4096, connections=32, stall=10.0, grace=0.1)
_PRIVATE_FOLDER = 0o700
_PRIVATE = 0o600

Status = Callable[[], dict[str, Any]]


@contextlib.asynccontextmanager
async def node_socket(home: Path, status: Status, emit: Emit) -> AsyncIterator[None]:
    """Answers while the block runs. `status` is called in a thread of its own, and makes a JSON
    document. Where there can be no socket a note says why, and everything else goes on.
    """
    try:
        sock, path = _open(home)
    except OSError as error:
        reason = error.strerror or str(error)
        emit(Note(f"'outlast status' cannot ask this process: no socket in {home}: {reason}"))
        yield
        return

    async def answer(request: web.Request) -> web.StreamResponse:
        exchange = Exchange(request, what="status")
        try:
            if request.method != "GET" or request.rel_url.raw_path != "/status":
                return failure(404, "", "nothing is served at this path")
            return json_reply(await asyncio.to_thread(status))
        except Exception as error:  # noqa: BLE001 - told apart, and bugs are logged
            return exchange.failed(error)

    async def open_it(make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        return await asyncio.get_running_loop().create_unix_server(make, sock=sock)

    try:
        async with listening(
            answer,
            open_it,
            _BOUNDS,
            hosts=None,
            memory=Memory(),
            count=_ignore,
            beside=_rest,
            level=logging.CRITICAL,
        ):
            yield
    finally:
        sock.close()
        with contextlib.suppress(OSError):
            path.unlink()


def _ignore(count: int) -> None:
    del count


async def _rest() -> None:
    """Nothing has to be done beside."""


def _open(home: Path) -> tuple[socket.socket, Path]:
    folder = home / FOLDER
    folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    folder.chmod(_PRIVATE_FOLDER)
    path = folder / f"{os.getpid()}{SUFFIX}"
    for other in sockets(home):
        if other == path or not _runs(int(other.stem)):
            _sweep(other)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(str(path))
        path.chmod(_PRIVATE)  # before it listens, so no connection can come earlier
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock, path


def _sweep(path: Path) -> None:
    """Removes the socket of a process that died; one that answers may be of another machine's or
    container's process, which has the same folder.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
