"""An endpoint of chat completions that answers as a test says."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[BaseHTTPRequestHandler, dict[str, Any], int], None]
"""Answers a request, given its body and its number from 0."""


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def completion(text: str, model: str = "m", tops: list[Any] | None = None) -> bytes:
    """A chat completion; each of `tops` is the list of likeliest tokens of one token."""
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    if tops is not None:
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top} for top in tops]}
    return json.dumps({"model": model, "choices": [choice]}).encode()


@contextlib.contextmanager
def hostile(reply: Reply) -> Iterator[str]:
    """Its URL up to /v1, while the block runs."""
    numbers = iter(range(1 << 30))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with contextlib.suppress(OSError):
                reply(self, body, next(numbers))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
