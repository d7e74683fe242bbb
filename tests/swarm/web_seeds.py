"""A web server on the loopback that serves a folder as a web seed, and notes what it is asked."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)\Z")


class WebSeed:
    """Serves the files below `folder`; without one it sends all requests on to `onward`."""

    def __init__(
        self, folder: Path | None = None, onward: str = "", host: str = "127.0.0.1"
    ) -> None:
        self.asked: list[str] = []
        self.answer = b""
        """Sent in place of a file, if any."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.asked.append(self.path)
                if folder is None and onward:
                    self.send_response(302)
                    self.send_header("Location", onward + self.path.lstrip("/"))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data = owner.answer
                if folder is not None:
                    data = (folder / unquote(self.path).lstrip("/")).read_bytes()
                asked = _RANGE.match(self.headers.get("Range", ""))
                self.send_response(206 if asked else 200)
                if asked:
                    first, last = int(asked[1]), int(asked[2] or len(data) - 1)
                    whole, data = len(data), data[first : last + 1]
                    self.send_header("Content-Range", f"bytes {first}-{last}/{whole}")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://{host}:{self.port}/"

    @contextmanager
    def serving(self) -> Iterator["WebSeed"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
