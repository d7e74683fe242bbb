"""Providers that answer at once: nginx with canned answers, and one that takes its time.

The quick one is nginx, so that no Python stands between a gateway and what it can do.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.hub import free_port, wait_for
from bench.process import Command, Server, clean_environment

MODEL: Final = "bench-1"
CHUNKS: Final = 16
PACE: Final = 0.02
"""Seconds between the chunks of the provider that takes its time."""
_USAGE: Final = {"prompt_tokens": 12, "completion_tokens": CHUNKS, "total_tokens": 12 + CHUNKS}
_CONF: Final = """\
{user}worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    keepalive_requests 10000000;
    {inside}
}}
"""
_CANNED: Final = """\
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location /plain/v1/ {{ default_type application/json; return 200 '{plain}'; }}
        location /stream/v1/ {{ default_type text/event-stream; return 200 '{stream}'; }}
        location / {{ return 204; }}
    }}
"""
_PROXY: Final = """\
    upstream provider {{ server 127.0.0.1:{upstream}; keepalive 128; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
"""


@contextlib.contextmanager
def canned(program: str, folder: Path) -> Iterator[int]:
    """The port of nginx that answers chats: below /plain/v1 whole, below /stream/v1 in chunks."""
    with _nginx(program, folder, _CANNED, plain=_whole(), stream=_streamed()) as port:
        yield port


@contextlib.contextmanager
def nginx_proxy(program: str, folder: Path, upstream: int) -> Iterator[int]:
    """The port of nginx as a plain proxy in front of port `upstream`."""
    with _nginx(program, folder, _PROXY, upstream=upstream) as port:
        yield port


@contextlib.contextmanager
def _nginx(program: str, folder: Path, inside: str, **values: object) -> Iterator[int]:
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    text = inside.format(port=port, **values)
    config.write_text(_CONF.format(user=user, root=folder, inside=text))
    command: Command = [program, "-c", config, "-p", folder, "-g", "daemon off;"]
    server = Server(command, clean_environment(folder), folder / "nginx.log")
    try:
        wait_for(server, f"http://127.0.0.1:{port}/")
        yield port
    finally:
        server.stop()


def _whole() -> str:
    message = {"role": "assistant", "content": "word " * CHUNKS}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _USAGE,
        }
    )


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }
    return f"data: {json.dumps(document)}\n\n"


def _streamed() -> str:
    parts = [_chunk({"role": "assistant", "content": ""})]
    parts += [_chunk({"content": "word "}) for _ in range(CHUNKS)]
    parts.append(_chunk({}, "stop"))
    return "".join(parts) + "data: [DONE]\n\n"


# The provider that takes its time: a process of its own.


@contextlib.contextmanager
def paced(folder: Path, *, mute: bool = False) -> Iterator[int]:
    """The port of a provider that sends a chunk each :data:`PACE`, with the time at which it did;
    or, `mute`, one that takes requests and sends nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "bench.gateway.provider", str(port), *["--mute"][:mute]]
    root = Path(__file__).parent.parent.parent
    environment = clean_environment(folder, PYTHONPATH=str(root))
    server = Server(command, environment, folder / f"provider-{port}.log")
    try:
        wait_for(server, f"http://127.0.0.1:{port}/")
        yield port
    finally:
        server.stop()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, mute: bool
) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            lengths = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
            await reader.readexactly(sum(lengths))
            if head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                continue
            if mute:
                await asyncio.Event().wait()
            await _stream(writer)


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    parts = [_chunk({"role": "assistant", "content": ""})]
    parts += [""] * CHUNKS + [_chunk({}, "stop"), "data: [DONE]\n\n"]
    for part in parts:
        text = part or _chunk({"content": f"{time.monotonic_ns()} "})
        data = text.encode()
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()
        await asyncio.sleep(PACE)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _serve(port: int, *, mute: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(reader, writer, mute=mute)

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--mute", action="store_true")
    options = parser.parse_args()
    asyncio.run(_serve(options.port, mute=options.mute))
