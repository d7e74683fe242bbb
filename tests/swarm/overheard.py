"""A stranger on the LAN that says it is a node, has nothing, and keeps all that it is asked."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class Overheard:
    """What came to it: each request with its headers and body."""

    port: int = 0
    node: str = field(default_factory=lambda: secrets.token_hex(20))
    heard: list[str] = field(default_factory=list)

    def knows(self, *secrets_: str) -> list[str]:
        """Which of these it was told."""
        said = "\n".join(self.heard)
        return [one for one in secrets_ if one in said]

    def about(self) -> bytes:
        document = {
            "outlast": 1,
            "node": self.node,
            "version": "0",
            "swarm_port": 6881,
            "peer_port": self.port,
            "private": False,
        }
        return json.dumps(document).encode()


@contextmanager
def overhearing(
    host: str = "127.0.0.1", port: int = 0, *, holds: str = "nothing"
) -> Iterator[Overheard]:
    """One that runs until the block ends, and answers no question about what it `holds` back."""
    found, over = Overheard(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.heard.append(f"{self.path}\n{self.headers}\n{body!r}")
            is_node = self.path.endswith("/node")
            answer = found.about() if is_node else b"{}"
            if holds in self.path:
                over.wait()
            self.send_response(200 if is_node else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_HEAD = do_GET  # noqa: N815 - names of http.server

    server = ThreadingHTTPServer((host, port), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
