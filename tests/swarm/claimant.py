"""A node that says it fetches a file, or has it, and does as much as a test wants: on loopback, or
on a machine of a lab.
"""

import functools
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from outlast.codec.hashing import TreeHasher
from outlast.codec.merkle import PIECE, Tree
from outlast.core.digest import Digest
from outlast.swarm.lan.datagrams import Heard, Want, Wish, want_key, wants
from outlast.swarm.lan.multicast import PORT

_GROUP = "239.192.152.143"
_EVERY = 0.3
_EVERY_ALONE = 0.1
"""A node that hears of no other in its first 0.4 s waits for none, on a busy machine too."""
_PIECE_EVERY = 0.25
_API = "/outlast/v1/"


@dataclass(frozen=True, slots=True)
class Does:
    """What it does. `says`: ``has`` or ``fetches``. `answers`: its API answers who it is. `lists`:
    it says over the API too that it has all of the file, as a ``plain`` file or as a ``capsule``.
    `gives`: what comes of those bytes: ``nothing``, or a ``drip`` of a byte now and then.
    `shows`: samples of a file that it fetches: ``none``, ``wrong`` or ``right`` ones, while it says
    that it has more and more.
    """

    says: str = "has"
    answers: bool = True
    lists: str = ""
    gives: str = "nothing"
    shows: str = "none"


@dataclass
class Claimant:
    """A context manager. `crowd`: under so many ids it makes its claim; `fresh`: with others each
    time. Beyond its own they have no API.
    """

    data: bytes
    does: Does
    address: str = "127.0.0.1"
    port: int = 0
    crowd: int = 1
    fresh: bool = False
    node: bytes = field(default_factory=lambda: secrets.token_bytes(20))
    asked: list[str] = field(default_factory=list)
    """The paths that it was asked for."""
    also: list[bytes] = field(default_factory=list)
    """Other files that it lists likewise."""
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.tree = _tree(self.data)
        self.blob = Digest.of(self.data)
        self._over = threading.Event()
        self._sock: socket.socket | None = None
        self._others = [secrets.token_bytes(20) for _ in range(self.crowd - 1)]
        self._server = _Server((self.address, self.port), _Handler)
        self._server.claimant = self
        self.port = self._server.server_port
        self._threads = [threading.Thread(target=self._server.serve_forever, daemon=True)]

    def _said(self, *, gone: bool = False) -> Wish:
        key, fetches = want_key(self.blob), self.does.says == "fetches"
        if gone:
            return Wish(key, gone=True)
        stage = 15 if fetches and self.crowd > 1 else 0
        return Wish(key, able=fetches, fetching=fetches, has=not fetches, stage=stage)

    def tell(self, hear: Callable[[Heard], object]) -> None:
        """Makes its claims to one node of this process, again and again."""

        def say() -> None:
            for want in self._wants(self._said(gone=self._over.is_set())):
                hear(want)

        self._threads.append(threading.Thread(target=self._repeat, args=(say,), daemon=True))

    def broadcast(self) -> None:
        """Makes its claims on the LAN of this thread's machine."""
        self._sock = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self.address))

        def say() -> None:
            for want in self._wants(self._said(gone=self._over.is_set())):
                for data in wants(_GROUP, want.node, self.port, want.wishes):
                    sock.sendto(data, (_GROUP, PORT))

        self._threads.append(threading.Thread(target=self._repeat, args=(say,), daemon=True))

    def _wants(self, wish: Wish) -> list[Want]:
        if self.fresh:
            self._others = [secrets.token_bytes(20) for _ in self._others]
        nodes = [self.node, *self._others]
        return [Want(node, self.address, self.port, (wish,)) for node in nodes]

    def _repeat(self, say: Callable[[], None]) -> None:
        while not self._over.wait(_EVERY if self.crowd > 1 else _EVERY_ALONE):
            say()
        say()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.rest()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()
        if self._sock is not None:
            self._sock.close()

    def rest(self) -> None:
        """Claims nothing any more."""
        self._over.set()

    # What its API says

    @property
    def here(self) -> int:
        """The bytes that it says it has fetched: another piece every so often."""
        pieces = int((time.monotonic() - self.began) / _PIECE_EVERY)
        return min(len(self.data) - 1, pieces * PIECE)

    def about(self) -> dict[str, Any]:
        ports = {"swarm_port": 9, "peer_port": self.port}
        return {"outlast": 1, "node": self.node.hex(), "version": "1", "private": False, **ports}

    def payloads(self) -> dict[str, Any]:
        does, size = self.does, len(self.data)
        if does.shows != "none":
            return {self.blob.hex: {"size": size, "root": None, "have": self.here, "forms": []}}
        if not does.lists:
            return {}
        return {
            blob.hex: _listed(does.lists, tree)
            for blob, tree in ((Digest.of(data), _tree(data)) for data in (self.data, *self.also))
        }

    def sample(self, start: int, stop: int) -> bytes | None:
        if self.does.shows == "none" or stop > self.here:
            return None
        data = self.data[start:stop]
        return data if self.does.shows == "right" else bytes(byte ^ 1 for byte in data)

    def wait(self, seconds: float) -> bool:
        """Whether it is over before that."""
        return self._over.wait(seconds)


@functools.lru_cache(maxsize=64)
def _tree(data: bytes) -> Tree:
    hasher = TreeHasher()
    hasher.update(memoryview(data))
    tree = hasher.tree()
    assert tree is not None
    return tree


def _listed(form: str, tree: Tree) -> dict[str, Any]:
    root = tree.root.hex
    row = {"form": form, "size": tree.size, "root": root, "bases": []}
    whole = {"size": tree.size, "have": tree.size, "forms": [row]}
    return whole | {"root": root if form == "plain" else None}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    claimant: Claimant

    def handle_error(self, request: object, client_address: object) -> None:
        """The node that asked has gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        claimant = self.server.claimant
        claimant.asked.append(self.path)
        what = self.path.removeprefix(_API).split("/")[0]
        if not claimant.does.answers:
            self.close_connection = claimant.wait(3600)
            return
        if what in {"blobs", "capsules"} and claimant.does.lists:
            self._give(claimant)
            return
        body = self._body(claimant, what)
        if body is None:
            self._head(404, 0)
            return
        self._head(206 if what == "arriving" else 200, len(body))
        self.wfile.write(body)

    def _body(self, claimant: Claimant, what: str) -> bytes | None:
        match what:
            case "node":
                return json.dumps(claimant.about()).encode()
            case "payloads":
                return json.dumps({"payloads": claimant.payloads()}).encode()
            case "layers" if claimant.does.lists:
                trees = map(_tree, (claimant.data, *claimant.also))
                return next((t.layer for t in trees if t.root.hex in self.path), None)
            case "arriving":
                return claimant.sample(*self._range())
        return None

    def _range(self) -> tuple[int, int]:
        asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=")
        first, _, last = asked.partition("-")
        return int(first), int(last) + 1 if last else len(self.server.claimant.data)

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        if status == 206:
            start, stop = self._range()
            size = len(self.server.claimant.data)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _give(self, claimant: Claimant) -> None:
        start, stop = self._range()
        self._head(206 if "Range" in self.headers else 200, stop - start)
        at = start
        while not claimant.wait(0.2) and at < stop:
            if claimant.does.gives == "drip":
                self.wfile.write(claimant.data[at : at + 1])
                at += 1
