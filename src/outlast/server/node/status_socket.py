"""The Unix socket on which a node tells its own user how it is: ``nodes/<pid>.sock`` in the folder
of the archive, HTTP, ``GET /status``.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from outlast.core.events import Emit, Note
from outlast.node.private_socket import make_folder, private_socket, sweep
from outlast.node.status_client import FOLDER, SUFFIX, sockets
from outlast.server.http.exchange import Exchange
from outlast.server.http.listening import Answer, Bounds, listening_on
from outlast.server.http.replies import failure, json_reply

_BOUNDS = Bounds(body=4096, connections=32, stall=10.0, grace=0.1)

Status = Callable[[], dict[str, Any]]


@contextlib.asynccontextmanager
async def node_socket(home: Path, status: Status, emit: Emit) -> AsyncIterator[None]:
    """Answers while the block runs. `status` is called in a thread of its own, and makes a JSON
    document. Where there can be no socket a note says why, and everything else goes on.
    """
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(_open(home))
        except OSError as error:
            reason = error.strerror or str(error)
            emit(Note(f"'outlast status' cannot ask this process: no socket in {home}: {reason}"))
            yield
            return
        async with listening_on(sock, _answering(status), _BOUNDS):
            yield


def _answering(status: Status) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        exchange = Exchange(request, what="status")
        try:
            if request.method != "GET" or request.rel_url.raw_path != "/status":
                return failure(404, "", "nothing is served at this path")
            return json_reply(await asyncio.to_thread(status))
        except Exception as error:  # noqa: BLE001 - told apart, and bugs are logged
            return exchange.failed(error)

    return answer


def _open(home: Path) -> contextlib.AbstractContextManager[socket.socket]:
    folder = home / FOLDER
    make_folder(folder)
    path = folder / f"{os.getpid()}{SUFFIX}"
    for other in sockets(home):
        if other == path or not _runs(int(other.stem)):
            sweep(other)
    return private_socket(path)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
