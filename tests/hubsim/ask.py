"""The plainest client there is: one request, what came back, and nothing done on its own."""

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    broken: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, path: str = "", method: str = "GET", body: str = "", **headers: str) -> Answer:
    """One request, no redirects followed; a body that ends early is kept and marked broken."""
    at = urlsplit(url + path)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=10)
    try:
        target = at.path + (f"?{at.query}" if at.query else "")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body=body or None, headers=sent)
        response = connection.getresponse()
        data = bytearray()
        try:
            while chunk := response.read1(1 << 16):
                data += chunk
        except ConnectionResetError:
            return Answer(response.status, response.headers, bytes(data), broken=True)
        told = response.headers.get("Content-Length")
        short = method != "HEAD" and told is not None and len(data) < int(told)
        return Answer(response.status, response.headers, bytes(data), short)
    finally:
        connection.close()
