"""A store that speaks what obstore needs of S3, in memory, and fails when it is told to.

It checks no signature: a real server does (docs/adr/0036-second-home.md says which was asked).
"""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET: Final = "models"
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)\Z")


class S3Server:
    """Has `objects` by key. Each of `faults` is for the next request that it takes: it gets the
    method and the key, and says ``500``, ``503``, ``429``, ``cut`` (half of the body) or ``hang``.
    """

    def __init__(self, *, conditions: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: list[Callable[[str, str], str]] = []
        self.asked: list[tuple[str, str]] = []
        self.conditions = conditions
        self.endless = False
        """Whether each page of a list says that there is another, which is the same one."""
        self.sent: Callable[[int], object] = bool
        """Told of the bytes of each body of an object that it sends."""
        self.lock = threading.Lock()
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.stop = threading.Event()
        owner = self

        class Handler(_Handler):
            server_of = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail(self, what: str, times: int, *, method: str = "", key: str = "") -> None:
        """The next requests of that method, for keys that contain `key`, end so."""

        def fault(asked: str, name: str) -> str:
            return what if asked.startswith(method) and key in name else ""

        self.faults += [fault] * times

    def take_fault(self, method: str, key: str) -> str:
        with self.lock:
            self.asked.append((method, key))
            for number, fault in enumerate(self.faults):
                if said := fault(method, key):
                    del self.faults[number]
                    return said
        return ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: S3Server

    def log_message(self, *_: object) -> None:
        """Tests do not read it."""

    def _reply(self, status: int, body: bytes = b"", /, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self) -> tuple[str, dict[str, str], bytes] | None:
        """The key, the query and the body; None where a fault has answered."""
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        query = {name: found[0] for name, found in parse_qs(parts.query, True).items()}
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server_of.take_fault(self.command, key)
        if fault.isdecimal():
            self._reply(int(fault), b"<Error><Code>SlowDown</Code></Error>")
            return None
        if fault == "hang":
            self.server_of.stop.wait(60)
            self.close_connection = True
            return None
        self.cut = fault == "cut"
        return key, query, data

    def do_GET(self) -> None:
        asked = self._begin()
        if asked is None:
            return
        key, query, _ = asked
        if "list-type" in query:
            self._list(query["prefix"])
            return
        data = self.server_of.objects.get(key)
        if data is None:
            self._reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        found = _RANGE.match(self.headers.get("Range", ""))
        begin, end = (
            (int(found[1]), int(found[2] or len(data) - 1) + 1) if found else (0, len(data))
        )
        part = data[begin:end]
        told = {"ETag": '"1"', "Last_Modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
        if found:
            told["Content_Range"] = f"bytes {begin}-{begin + len(part) - 1}/{len(data)}"
        told["Content_Length"] = str(len(part))
        if self.cut:
            self.close_connection = True
            part = part[: len(part) // 2]
        if self.command == "GET":
            self.server_of.sent(len(part))
        self._reply(206 if found else 200, part, **told)

    do_HEAD = do_GET  # noqa: N815

    def _list(self, prefix: str) -> None:
        keys = sorted(key for key in self.server_of.objects if key.startswith(prefix))
        rows = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-11-30T00:00:00.000Z</LastModified>"
            f"<ETag>1</ETag><Size>{len(self.server_of.objects[key])}</Size></Contents>"
            for key in keys
        )
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>1</NextContinuationToken>"
        rows += more * self.server_of.endless
        self._reply(200, f"<ListBucketResult>{rows}</ListBucketResult>".encode())

    def do_PUT(self) -> None:
        asked = self._begin()
        if asked is None:
            return
        key, query, data = asked
        server = self.server_of
        with server.lock:
            if "partNumber" in query:
                server.uploads[query["uploadId"]][int(query["partNumber"])] = data
            elif self.headers.get("If-None-Match") and not server.conditions:
                self._reply(501, b"<Error><Code>NotImplemented</Code></Error>")
                return
            elif self.headers.get("If-None-Match") and key in server.objects:
                self._reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            else:
                server.objects[key] = data
        self._reply(200, ETag='"1"')

    def do_POST(self) -> None:
        asked = self._begin()
        if asked is None:
            return
        key, query, _ = asked
        server = self.server_of
        with server.lock:
            if "uploads" in query:
                name = str(len(server.uploads) + 1)
                server.uploads[name] = {}
                body = f"<R><Bucket>b</Bucket><Key>k</Key><UploadId>{name}</UploadId></R>"
            else:
                parts = server.uploads.pop(query["uploadId"])
                server.objects[key] = b"".join(parts[number] for number in sorted(parts))
                body = "<R><Location>x</Location><ETag>1</ETag></R>"
        self._reply(200, body.encode())

    def do_DELETE(self) -> None:
        asked = self._begin()
        if asked is not None:
            self.server_of.uploads.pop(asked[1].get("uploadId", ""), None)
            self._reply(204)
