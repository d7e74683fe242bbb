"""Sending a reply over the wire, well or badly."""

import asyncio
import fcntl
import gzip
import socket
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator

from aiohttp import web

from tests.hubsim.faults import RuleJson
from tests.hubsim.log import LogEntry
from tests.hubsim.reply import Body, Memory, Reply

_CHUNK = 256 << 10
_FLUSH_SECONDS = 2.0
_CUTS = ("truncate", "reset", "stall")


async def send(
    request: web.BaseRequest, reply: Reply, rule: RuleJson, entry: LogEntry
) -> web.StreamResponse:
    """Send the reply, with those faults that concern the bytes on the wire."""
    if rule.get("action") == "gzip":
        _compress(reply)
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if reply.chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = reply.body.size
    entry.status = reply.status
    await response.prepare(request)
    if request.method == "HEAD" or reply.status == 304:
        return response
    cut = rule.get("action") if rule.get("action") in _CUTS else None
    size = reply.body.size
    limit = min(rule.get("at", size // 2), size) if cut else size
    rate = rule.get("rate", 1 << 16 if rule.get("action") == "slow" else 0)
    await _send_body(request, response, reply.body, entry, limit=limit, rate=rate)
    if cut:
        await _break(request, response, cut)
    return response


async def _send_body(
    request: web.BaseRequest,
    response: web.StreamResponse,
    body: Body,
    entry: LogEntry,
    *,
    limit: int,
    rate: int,
) -> None:
    """Send the first `limit` bytes; `entry.sent` is right even if the client leaves midway."""
    on_disk = body.on_disk()
    transport = request.transport
    if on_disk is None or rate or limit == 0 or transport is None or response.chunked:
        async for chunk in _paced(body, limit, rate):
            entry.sent += len(chunk)
            await response.write(chunk)
        return
    path, offset = on_disk
    with path.open("rb") as file:
        file.seek(offset)
        entry.sent = limit
        try:
            await asyncio.get_running_loop().sendfile(transport, file, offset, limit)
        except (OSError, RuntimeError, asyncio.CancelledError):
            entry.sent = file.tell() - offset
            raise


async def _paced(body: Body, limit: int, rate: int) -> AsyncIterator[bytes]:
    """The body in chunks; with a rate, not faster than that many bytes a second."""
    step = max(1, min(_CHUNK, rate // 20)) if rate else _CHUNK
    began = time.monotonic()
    for position in range(0, limit, step):
        if rate:
            await asyncio.sleep(max(0.0, began + position / rate - time.monotonic()))
        yield body.read(position, min(step, limit - position))


async def _break(request: web.BaseRequest, response: web.StreamResponse, cut: str) -> None:
    """End the connection, or the hope for more."""
    transport = request.transport
    if transport is None:
        return
    response.force_close()
    if cut == "stall":
        await asyncio.Event().wait()
    if cut == "truncate":
        transport.close()
        return
    sock = transport.get_extra_info("socket")
    await _flushed(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _flushed(sock: socket.socket) -> None:
    """Wait, not forever, until the peer's kernel has what was sent: a reset discards the rest."""
    if sys.platform != "linux":
        return
    deadline = time.monotonic() + _FLUSH_SECONDS
    while time.monotonic() < deadline:
        waiting = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
        if not any(waiting):
            return
        await asyncio.sleep(0.001)


def _compress(reply: Reply) -> None:
    if reply.status != 200:
        return
    reply.body = Memory(gzip.compress(reply.body.read(0, reply.body.size), mtime=0))
    reply.chunked = True
    reply.headers["Content-Encoding"] = "gzip"
    reply.headers.pop("Accept-Ranges", None)
    if etag := reply.headers.get("ETag"):
        reply.headers["ETag"] = f"W/{etag}"
