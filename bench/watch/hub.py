"""A hub of many models that answers what watching asks, from formulas: it keeps nothing of them."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DELETED = "/_bench/delete/"
COUNTS = "/_bench/counts"


class Hub(ThreadingHTTPServer):
    """Answers for every name; `deleted` are not there. `models` is how many an account has."""

    daemon_threads = True

    def __init__(self, models: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.deleted: set[str] = set()
        self.lock = threading.Lock()
        self.requests = 0
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that closes its connection is no error."""

    def names(self, account: str) -> Iterator[str]:
        found = (f"{account}/model-{number}" for number in range(self.models))
        return (name for name in found if name not in self.deleted)


def commit_of(name: str) -> str:
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def description(name: str) -> dict[str, object]:
    """What hubs say of a model, of the length that it has there."""
    return {
        "_id": commit_of(name)[:24],
        "id": name,
        "private": False,
        "gated": False,
        "disabled": False,
        "sha": commit_of(name),
        "lastModified": "2030-01-01T00:00:00.000Z",
        "tags": ["transformers", "safetensors", "text-generation", "en", "license:apache-2.0"],
        "cardData": {"license": "apache-2.0", "language": ["en"], "tags": ["chat"]},
        "usedStorage": 4_000_000_000,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # an answer in one packet
    server: Hub

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/_bench/"):
            self._control(parts.path)
            return
        status, document, more = self._answer(parts.path, parse_qs(parts.query))
        body = json.dumps(document).encode()
        etag = f'W/"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'
        if status == 200 and self.headers.get("If-None-Match") == etag:
            status, body = 304, b""
        self._send(status, body, {"ETag": etag, **more})
        with self.server.lock:
            self.server.requests += 1
            self.server.sent += len(body)

    def _answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, object, dict[str, str]]:
        if path == "/api/models":
            return self._list(query)
        name = path.removeprefix("/api/models/")
        refs = name.endswith("/refs")
        name = name.removesuffix("/refs")
        if name in self.server.deleted:
            said = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            return 404, {"error": "Repository not found"}, said
        if not refs:
            return 200, description(name), {}
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": commit_of(name)}
        return 200, {"branches": [branch], "tags": [], "converts": []}, {}

    def _list(self, query: dict[str, list[str]]) -> tuple[int, object, dict[str, str]]:
        author = query.get("author", ["any"])[0]
        names = [*self.server.names(author)]
        start, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
        more = {}
        if start + limit < len(names):
            cursor = f"author={author}&limit={limit}&cursor={start + limit}"
            more = {"Link": f'<{self.server.url}/api/models?{cursor}>; rel="next"'}
        return 200, [*map(description, names[start : start + limit])], more

    def _control(self, path: str) -> None:
        if path.startswith(DELETED):
            self.server.deleted.add(path.removeprefix(DELETED))
        counts = {"requests": self.server.requests, "sent": self.server.sent}
        self._send(200, json.dumps(counts).encode(), {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Says nothing."""
