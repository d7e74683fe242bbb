"""Small servers that stand between a client and a hub: an HTTP proxy, a SOCKS5 proxy, and TLS."""

import contextlib
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 30


@dataclass(slots=True)
class Seen:
    """Where a proxy listens, and what it was asked for: ``host:port`` of each request."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is no error."""


@contextlib.contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _join(one: socket.socket, other: socket.socket) -> None:
    """Copies both ways until both have ended."""
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join()


def _connect(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=_SECONDS)


def _read_head(client: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and (data := client.recv(1 << 16)):
        head += data
    return head


@contextlib.contextmanager
def http_proxy() -> Iterator[Seen]:
    """A proxy for ``GET http://…`` and for ``CONNECT``; one request a connection."""
    seen = Seen()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = _read_head(self.request)
            line, _, rest = head.partition(b"\r\n")
            method, _, after = line.decode().partition(" ")
            target = after.rpartition(" ")[0]
            at = urlsplit(target if "://" in target else f"//{target}")
            seen.asked.append(at.netloc)
            seen.heads.append(head)
            with _connect(at.hostname or "", at.port or 80) as server:
                if method == "CONNECT":
                    self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _join(self.request, server)
                    return
                path = target.partition(at.netloc)[2] or "/"
                once = rest.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
                server.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + once)
                _pump(server, self.request)

    with _serving(Handler) as seen.port:
        yield seen


@contextlib.contextmanager
def socks_proxy() -> Iterator[Seen]:
    """A SOCKS5 proxy without authentication (RFC 1928); names are resolved here."""
    seen = Seen()

    class Handler(socketserver.BaseRequestHandler):
        def take(self, count: int) -> bytes:
            data = b""
            while len(data) < count:
                data += self.request.recv(count - len(data)) or b"\0" * count
            return data

        def handle(self) -> None:
            _, methods = self.take(2)
            self.take(methods)
            self.request.sendall(b"\x05\x00")
            kind = self.take(4)[3]
            if kind == 3:
                host = self.take(self.take(1)[0]).decode()
            else:
                host = socket.inet_ntop(
                    *(
                        (socket.AF_INET, self.take(4))
                        if kind == 1
                        else (socket.AF_INET6, self.take(16))
                    )
                )
            (port,) = struct.unpack(">H", self.take(2))
            seen.asked.append(f"{host}:{port}")
            with _connect(host, port) as server:
                self.request.sendall(b"\x05\x00\x00\x01" + bytes(6))
                _join(self.request, server)

    with _serving(Handler) as seen.port:
        yield seen


@contextlib.contextmanager
def tls_front(url: str, certificate: Path) -> Iterator[str]:
    """An https URL in front of a plain server; `certificate` holds the key too."""
    at = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                _connect(at.hostname or "", at.port or 80) as server,
            ):
                _join(client, server)

    with _serving(Handler) as port:
        yield f"https://localhost:{port}"


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for localhost, with its key, in one file."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both
