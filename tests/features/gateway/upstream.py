"""A provider that does what a test says: OpenAI's protocol on loopback, in a thread."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Doing = dict[str, Any]
Does = Doing | Callable[[dict[str, Any]], Doing]


@dataclass
class Provider:
    """`doing` says what the next requests get; each is a dict: `status`, `headers`, `body`; or of
    a stream: `cut`, `stall`, `garbage`, `error` after so many tokens. Words of an answer: w0 w1 …
    """

    name: str = "provider"
    port: int = 0
    doing: Does = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    words: int = 10
    delay: float = 0.0
    connections: int = 0
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(
            ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
        ):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1])
            for line in head.split("\r\n")
            if line.lower().startswith("content-length")
        )
        body = json.loads(await reader.readexactly(length))
        self.heads.append(head)
        self.asked.append(body)
        doing = self.doing
        if callable(doing):
            doing = doing(body)
        if doing.get("reset"):
            writer.transport.abort()
            return False
        if doing.get("mute"):
            await asyncio.sleep(3600)
        if "status" in doing:
            data = doing.get("body", "{}").encode()
            await self._send(writer, doing["status"], doing.get("headers", {}), data)
            return True
        if body.get("stream"):
            return await self._stream(writer, body, doing)
        await self._send(writer, 200, {}, json.dumps(self._whole(body, doing)).encode())
        return True

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, headers: dict[str, str], data: bytes
    ) -> None:
        headers = {"Content-Type": "application/json", **headers}
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        head = f"HTTP/1.1 {status} x\r\n{lines}Content-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()

    def _begun(self, body: dict[str, Any]) -> int:
        """How many words a begun assistant turn has."""
        last = (body.get("messages") or [{}])[-1]
        return len(last["content"].split()) if last.get("role") == "assistant" else 0

    def _whole(self, body: dict[str, Any], doing: Doing) -> dict[str, Any]:
        if "input" in body:
            return {"object": "list", "data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 2}}
        text = " ".join(f"w{n}" for n in range(self.words))
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": doing.get("text", text)},
            "finish_reason": doing.get("finish", "stop"),
        }
        usage = {"prompt_tokens": 7, "completion_tokens": self.words, "total_tokens": 17}
        return {"id": "x", "model": self.name, "choices": [choice], "usage": usage}

    async def _stream(
        self, writer: asyncio.StreamWriter, body: dict[str, Any], doing: Doing
    ) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        begun = self._begun(body)
        await _send(writer, self._chunk({"role": "assistant", "content": ""}))
        for number in range(begun, self.words):
            await self._misbehave(writer, number, doing)
            if number == doing.get("cut"):
                writer.transport.abort()
                return False
            await asyncio.sleep(self.delay)
            space = " " if number < self.words - 1 else ""
            await _send(writer, self._chunk({"content": f"w{number}{space}"}))
        if not doing.get("no_finish"):
            await _send(writer, self._chunk({}, doing.get("finish", "stop")))
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": 7, "completion_tokens": self.words - begun}
            usage["total_tokens"] = sum(usage.values())
            await _send(writer, _event({"choices": [], "usage": usage}))
        if not doing.get("no_done"):
            await _send(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _misbehave(self, writer: asyncio.StreamWriter, number: int, doing: Doing) -> None:
        """What goes before word `number`."""
        if number == doing.get("wait"):
            await asyncio.to_thread(self.hold.wait, 60)
        if number == doing.get("stall"):
            await asyncio.sleep(3600)
        if number == doing.get("garbage"):
            await _send(writer, b"data: {nonsense\n\n")
        if number == doing.get("error"):
            await _send(writer, _event({"error": {"code": 429, "message": "late"}}))
        if number == doing.get("call"):
            call = {"index": 0, "function": {"name": "f"}}
            await _send(writer, self._chunk({"tool_calls": [call]}))

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _event({"id": f"c-{self.name}", "model": self.name, "choices": [choice]})


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
    await writer.drain()


@contextlib.contextmanager
def providers(*names: str) -> Iterator[list[Provider]]:
    """Providers under these names, until the block ends."""
    made = [Provider(name) for name in names]
    started = threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def main() -> None:
        servers = []
        for one in made:
            server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
            one.port = server.sockets[0].getsockname()[1]
            servers.append(server)
        started.set()
        await ended.wait()
        for server in servers:
            server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    started.wait(10)
    try:
        yield made
    finally:
        for one in made:
            one.hold.set()
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
