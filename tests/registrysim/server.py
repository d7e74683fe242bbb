"""The server: who may read, what is answered, and what goes wrong on request."""

import base64
import contextlib
import json
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.registrysim.faults import Answer, Fault
from tests.registrysim.images import OCI_MANIFEST, Image, digest_of

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<what>manifests|blobs|tags)/(?P<which>[^/]+)\Z")


@dataclass(frozen=True)
class Asked:
    """One request, and the status that it got."""

    method: str
    path: str
    host: str
    authorization: str
    range: str
    status: int


@dataclass
class RegistrySim:
    """A registry in this process: `with RegistrySim() as sim`."""

    login: str = ""
    secret: str = ""
    private: frozenset[str] = frozenset()
    storage: bool = False
    page: int = 100
    plain: bool = False
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """Digests by tag, by repository."""

    def __enter__(self) -> Self:
        self._tokens: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def elsewhere(self) -> str:
        """The same server, by a name that makes it another host."""
        return f"http://localhost:{self._server.server_port}"

    def push(self, name: str, made: Image, *tags: str) -> str:
        """Puts an image there; its digest."""
        self.blobs.update(made.blobs)
        return self.put(name, made.document, *tags)

    def put(self, name: str, document: Any, *tags: str) -> str:
        """Puts a manifest or index there, or what pretends to be one; its digest."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = digest_of(data)
        self.manifests[name, digest] = data
        self.names[name].update(dict.fromkeys(tags, digest))
        return digest

    def expire(self) -> None:
        """No token that was given holds any more."""
        with self._lock:
            self._tokens.clear()

    def requests(self, part: str) -> list[Asked]:
        """The requests whose path contains `part`."""
        with self._lock:
            return [asked for asked in self.asked if part in asked.path]

    # Answering

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        host = headers.get("Host", "").partition(":")[0]
        authorization = headers.get("Authorization", "")
        answer = self._faulty(path, self._answer(method, path, host, headers))
        with self._lock:
            self.asked.append(
                Asked(method, path, host, authorization, headers.get("Range", ""), answer.status)
            )
        return answer

    def _answer(self, method: str, path: str, host: str, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(path)
        if parts.path == "/token":
            return self._token(parse_qs(parts.query), host, headers.get("Authorization", ""))
        if parts.path.startswith("/storage/"):
            return _ranged(self.blobs[parts.path.rpartition("/")[2]], headers.get("Range", ""))
        route = _ROUTE.match(parts.path)
        if route is None or (method == "HEAD" and self.plain):
            return Answer(404, b"404 page not found", {"Content-Type": "text/plain"})
        name, what, which = route["name"], route["what"], route["which"]
        if not self._admits(name, headers.get("Authorization", "")):
            return self._challenge(name)
        if what == "tags":
            return self._tags(name, parse_qs(parts.query))
        if what == "blobs":
            return self._blob(name, which, headers.get("Range", ""))
        return self._manifest(name, which)

    def _admits(self, name: str, authorization: str) -> bool:
        if not self.login:
            return True
        scheme, _, said = authorization.partition(" ")
        if self.login == "basic":
            expected = base64.b64encode(self.secret.encode()).decode()
            return scheme == "Basic" and said == expected
        if scheme == "Bearer" and self.secret and said == self.secret:
            return True
        with self._lock:
            return scheme == "Bearer" and name in self._tokens.get(said, ())

    def _challenge(self, name: str) -> Answer:
        base = self.elsewhere if self.login == "elsewhere" else self.url
        challenge = (
            'Basic realm="all"'
            if self.login == "basic"
            else f'Bearer realm="{base}/token",service="sim",scope="repository:{name}:pull"'
        )
        errors = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return _json(401, errors, {"WWW-Authenticate": challenge})

    def _token(self, query: Mapping[str, list[str]], host: str, authorization: str) -> Answer:
        name = query["scope"][0].split(":")[1]
        given = authorization.removeprefix("Bearer ")
        if authorization.startswith("Basic "):
            given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if authorization and given != self.secret:
            return _json(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]})
        opens = {name} if authorization or name not in self.private else set()
        with self._lock:
            token = f"token-{host}-{len(self._tokens)}.{len(self.asked)}"
            self._tokens[token] = frozenset(opens)
        return _json(200, {"token": token, "expires_in": 300})

    def _tags(self, name: str, query: Mapping[str, list[str]]) -> Answer:
        if self.plain:
            return Answer(404, b"404 page not found", {"Content-Type": "text/plain"})
        if name not in self.names:
            return _unknown("NAME_UNKNOWN")
        tags = sorted(self.names[name])
        tags = [tag for tag in tags if tag > query.get("last", [""])[0]]
        shown = tags[: self.page]
        headers = {}
        if len(shown) < len(tags):
            headers["Link"] = f'</v2/{name}/tags/list?last={shown[-1]}&n={self.page}>; rel="next"'
        return _json(200, {"name": name, "tags": shown}, headers)

    def _manifest(self, name: str, which: str) -> Answer:
        digest = self.names.get(name, {}).get(which, which)
        data = self.manifests.get((name, digest))
        if data is None:
            knows = self.plain or name in self.names
            return _unknown("MANIFEST_UNKNOWN" if knows else "NAME_UNKNOWN")
        if self.plain:
            return Answer(200, data, {"Content-Type": "text/plain; charset=utf-8"})
        return Answer(200, data, {"Content-Type": _type_of(data), "Docker-Content-Digest": digest})

    def _blob(self, name: str, digest: str, ranged: str) -> Answer:
        if name not in self.names or digest not in self.blobs:
            return _unknown("BLOB_UNKNOWN")
        if self.storage:
            return Answer(307, b"", {"Location": f"{self.elsewhere}/storage/{digest}"})
        answer = _ranged(self.blobs[digest], ranged)
        answer.headers["Docker-Content-Digest"] = digest
        return answer

    # Faults

    def _faulty(self, path: str, answer: Answer) -> Answer:
        for fault in self._due(path, answer):
            fault.apply(answer)
        return answer

    def _due(self, path: str, answer: Answer) -> Iterator[Fault]:
        parts = urlsplit(path).path
        what = "token" if parts == "/token" else "blobs" if "/storage/" in parts else ""
        route = _ROUTE.match(parts)
        what = what or (route["what"] if route else "")
        hurts = answer.status in {200, 206, 307}
        for fault in self.faults:
            fits = fault.what == what and fault.path in path and fault.count != 0
            if fits and (hurts or fault.action == "status"):
                if fault.count is not None:
                    fault.count -= 1
                yield fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sim: RegistrySim) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), {"sim": sim}))

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may hang up."""

    def end_connections(self) -> None:
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    sim: RegistrySim

    def do_GET(self) -> None:
        answer = self.sim.answer(self.command, self.path, dict(self.headers))
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
        if answer.cut:
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def _json(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    more = {"Content-Type": "application/json", **(headers or {})}
    return Answer(status, json.dumps(document).encode(), more)


def _unknown(code: str) -> Answer:
    return _json(404, {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]})


def _type_of(data: bytes) -> str:
    try:
        document = json.loads(data)
    except ValueError:
        return OCI_MANIFEST
    said = document.get("mediaType") if isinstance(document, dict) else None
    return said if isinstance(said, str) else OCI_MANIFEST


def _ranged(data: bytes, ranged: str) -> Answer:
    match = re.match(r"bytes=(\d+)-(\d+)\Z", ranged)
    if match is None:
        return Answer(200, data, {"Content-Type": "application/octet-stream"})
    start, stop = int(match[1]), int(match[2]) + 1
    if start >= len(data):
        return Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    part = data[start:stop]
    said = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
    return Answer(206, part, {"Content-Range": said})
