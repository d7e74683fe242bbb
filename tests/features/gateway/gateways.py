"""A gateway in this process, and a caller of it."""

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.features.gateway.local.starting import Starter
from outlast.features.gateway.routes.file import read_routes
from outlast.features.gateway.serving.server import GatewayService, Parts, serve_gateway
from outlast.features.gateway.upstream.key_record import KeyRecord
from outlast.server.model.server import bind
from outlast.store.archive import Archive


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = [line[6:] for line in self.body.split(b"\n\n") if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]

    @property
    def done(self) -> bool:
        return self.body.endswith(b"data: [DONE]\n\n")

    @property
    def text(self) -> str:
        return "".join(
            choice["delta"].get("content") or ""
            for event in self.events
            for choice in event.get("choices", ())
        )

    @property
    def note(self) -> dict[str, Any]:
        found = [event["outlast"] for event in self.events if "outlast" in event]
        assert len(found) == 1
        note: dict[str, Any] = found[0]
        return note


@dataclass
class Caller:
    port: int

    def get(self, path: str, **headers: str) -> Answer:
        return self._send("GET", path, None, headers)

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Answer:
        return self._send("POST", path, json.dumps(body).encode(), headers)

    def chat(self, model: str = "m", *, stream: bool = False, **more: Any) -> Answer:
        headers = more.pop("headers", {})
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "say"}],
            "stream": stream,
            **more,
        }
        return self.post("/v1/chat/completions", body, **headers)

    def chat_until(self, word: str, then: Callable[[], object], **more: Any) -> Answer:
        """A stream; `then` is called once `word` came."""
        messages = [{"role": "user", "content": "say"}]
        body = {"model": "m", "messages": messages, "stream": True, **more}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            found = b""
            while word.encode() not in found:
                data = answer.read1()
                assert data
                found += data
            then()
            return Answer(answer.status, dict(answer.headers), found + answer.read())
        finally:
            connection.close()

    def _send(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, data, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()


@contextlib.contextmanager
def gateway(
    folder: Path,
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    parts: Parts | None = None,
    substitutes: bool = True,
    archive: Archive | None = None,
) -> Iterator[Caller]:
    """Serves the routes in `text` until the block ends."""
    path = folder / "gateway.toml"
    path.write_text(text)
    cancel, ready = Cancel(), threading.Event()
    problems: list[BaseException] = []
    with contextlib.ExitStack() as stack:
        if archive is None:
            archive = stack.enter_context(Archive(folder / "home", create=True))
        service = GatewayService(
            lambda: read_routes(path, environ or {}),
            Starter(archive, Control()),
            KeyRecord(folder / "home" / "gateway" / "worked.json"),
            substitutes=substitutes,
        )
        if parts is not None:
            service = replace(service, parts=parts)
        sock = bind("127.0.0.1", 0)
        port = sock.getsockname()[1]

        def run() -> None:
            try:
                serve_gateway(service, sock, ready.set, cancel)
            except BaseException as error:
                problems.append(error)
                ready.set()

        thread = threading.Thread(target=run)
        thread.start()
        ready.wait(30)
        try:
            if problems:
                raise problems[0]
            yield Caller(port)
        finally:
            cancel.set()
            thread.join()
