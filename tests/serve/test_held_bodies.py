"""The bytes of a long body wait at its sender until it is read: those of many clients, taken in
before their turns, would keep the event loop from all others.
"""

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import web

from outlast.server.http.listening import Bounds, listening_on
from outlast.server.http.memory import Memory
from outlast.server.http.queries import read_body
from outlast.server.tuning import TUNING

SIZE = 16 << 20  # more than the kernel takes of it


def ask(length: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def fill(client: socket.socket) -> int:
    """Sends until the kernel takes no more for some time; how many bytes of a body that was."""
    client.settimeout(1.0)
    sent = 0
    try:
        while True:
            sent += client.send(bytes(64 << 10))
    except TimeoutError:
        return sent


@pytest.mark.parametrize("reads", [True, False])
def test_a_long_body_waits_until_it_is_read_or_refused(tmp_path: Path, *, reads: bool) -> None:
    async def run() -> None:
        held = asyncio.get_running_loop().create_future()
        filled: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def answer(request: web.Request) -> web.StreamResponse:
            await filled
            held.set_result(request.content.total_bytes)
            if reads:
                with Memory().lease() as lease:
                    body = await read_body(request, SIZE, lease, TUNING)
                return web.Response(text=str(len(body)))
            return web.Response(status=404)

        place = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as client:
            sock.bind(place)
            sock.listen()
            client.connect(place)
            async with listening_on(sock, answer, Bounds(SIZE, 16, 5.0)):
                client.sendall(ask(SIZE))
                sent = await asyncio.to_thread(fill, client)
                assert sent < SIZE
                filled.set_result(sent)
                assert await held <= 2 * TUNING.head_read  # one read more until it is asked for
                client.settimeout(None)
                await asyncio.to_thread(client.sendall, bytes(SIZE - sent))
                told = await asyncio.to_thread(client.recv, 1 << 16)
        assert told.startswith(b"HTTP/1.1 200" if reads else b"HTTP/1.1 404"), told
        assert not reads or told.endswith(str(SIZE).encode())

    asyncio.run(run())
