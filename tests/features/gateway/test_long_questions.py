"""What one process of a gateway asks another is read whole, however long the prompt is, and when
it comes after its head.
"""

import asyncio
import socket
from pathlib import Path

import msgspec

from outlast.features.gateway.local.forwarded import ASK, EngineQuestion
from outlast.features.gateway.processes.sockets import place_of
from outlast.features.gateway.serving.inner import Inner, inner_socket


def test_a_long_prompt_comes_through(tmp_path: Path) -> None:
    question = EngineQuestion("nothing/here", body={"prompt": "word " * 400_000})
    body = msgspec.json.encode(question)
    head = f"POST {ASK} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    inner = Inner(lambda: b"{}", lambda: b"", lambda: None, engines=None, models=dict)

    async def run() -> bytes:
        async with inner_socket(tmp_path, 1, 0, inner):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30.0)
                client.connect(str(place_of(tmp_path, 1, 0)))
                client.sendall(head.encode())
                for _ in range(100):  # the head is read, and what answers it waits for the rest
                    await asyncio.sleep(0)
                await asyncio.to_thread(client.sendall, body)
                return await asyncio.to_thread(client.recv, 1 << 16)

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 404"), answer  # understood, and the model is not there
