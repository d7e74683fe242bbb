"""`python -m tests.net.liar JSON`: a node that lies.

It stands before an honest one, and passes on what that says, but for its lies:

* `ranges`: by HTTP it gives bytes of which one in each MiB is wrong;
* `pieces`: by BitTorrent too;
* `layers`: of the hashes of pieces one is wrong;
* `manifests`: they come altered;
* `roots`: it names the root of the wrong bytes, with their right tree, and seeds them.

`file` is the plain file of `blob` (its sha256), of which a wrong copy is made in `folder`.
`{"type": "connection"}` is printed for each connection that its BitTorrent accepts or makes.
"""

import json
import secrets
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import libtorrent

from outlast.codec.merkle import PIECE, Tree, piece_hash, root_of_layer
from outlast.swarm.torrent.payload_torrent import torrent
from tests.net.program import until

PORT = 8091
_SWARM_PORT = 6881
_GROUP = ("239.192.152.143", 6771)
_INFOHASH = "518f4db1f0c04154ff271975aca96d0cc40f7bb2"
_EVERY = 0.5
_API = "/outlast/v1/"
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wrong(data: bytes, start: int = 0) -> bytes:
    """The wrong copy of what lies at `start`: the first byte of each MiB differs."""
    copy = bytearray(data)
    for at in range(-start % PIECE, len(copy), PIECE):
        copy[at] ^= 0x80
    return bytes(copy)


def tree_of(data: bytes) -> Tree:
    pieces = [memoryview(data)[at : at + PIECE] for at in range(0, len(data), PIECE)]
    layer = b"".join(map(piece_hash, pieces))
    return Tree(len(data), root_of_layer(layer), layer)


@dataclass
class Liar:
    """What it stands before (`of`: a URL), its lies, and the file of which it has a wrong copy."""

    of: str
    lies: set[str]
    file: Path
    blob: str
    folder: Path
    node: str = field(default_factory=lambda: secrets.token_hex(20))

    def prepare(self) -> None:
        data = self.file.read_bytes()
        bad = wrong(data)
        self.right, self.other = tree_of(data), tree_of(bad)
        (self.folder / "wrong").write_bytes(bad)
        self.session = libtorrent.session(
            {
                "listen_interfaces": f"0.0.0.0:{_SWARM_PORT},[::]:{_SWARM_PORT}",
                "disable_hash_checks": True,
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "enable_incoming_utp": False,
                "enable_outgoing_utp": False,
                "allow_multiple_connections_per_ip": True,
                "alert_mask": libtorrent.alert.category_t.connect_notification,
            }
        )
        if self.lies & {"pieces", "roots"}:
            params = libtorrent.load_torrent_buffer(
                torrent(self.other if "roots" in self.lies else self.right)
            )
            params.save_path = str(self.folder)
            params.renamed_files = {0: str(self.folder / "wrong")}
            params.flags |= libtorrent.torrent_flags.seed_mode
            params.flags &= ~(
                libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused
            )
            self.session.add_torrent(params)
        until(self.session.is_listening, "it listens")

    def about(self) -> dict[str, Any]:
        return {
            "outlast": 1,
            "node": self.node,
            "version": "0.1.0",
            "swarm_port": _SWARM_PORT,
            "peer_port": PORT,
            "private": False,
        }

    def alter(self, path: str, body: bytes, start: int) -> bytes:
        """What it says instead of the truth."""
        what = path.removeprefix(_API).split("/")[0].split("?")[0]
        if what == "node":
            return json.dumps(self.about()).encode()
        if what == "blobs" and self.blob in path and self.lies & {"ranges", "roots"}:
            return wrong(body, start)
        if what == "layers" and "layers" in self.lies:
            return bytes([body[0] ^ 1]) + body[1:]
        if what == "manifests" and "manifests" in self.lies:
            return body.replace(b'"size":', b'"size":1', 1)
        if what == "payloads" and "roots" in self.lies:
            return body.replace(self.right.root.hex.encode(), self.other.root.hex.encode())
        return body

    def own_layer(self, path: str) -> bytes | None:
        """The right tree of wrong bytes, which no honest node has."""
        named = "roots" in self.lies and path == f"{_API}layers/{self.other.root.hex}"
        return self.other.layer if named else None

    def announce(self) -> None:
        """Tells everybody that it is there, again and again."""
        lines = (
            "BT-SEARCH * HTTP/1.1",
            f"Host: {_GROUP[0]}:{_GROUP[1]}",
            f"Port: {PORT}",
            f"Infohash: {_INFOHASH}",
            f"cookie: {self.node}",
        )
        datagram = ("\r\n".join(lines) + "\r\n\r\n\r\n").encode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while True:
                sock.sendto(datagram, _GROUP)
                time.sleep(_EVERY)

    def tell(self) -> None:
        """Prints the connections of its BitTorrent."""
        while True:
            self.session.wait_for_alert(500)
            for alert in self.session.pop_alerts():
                if alert.what() in {"incoming_connection", "peer_connect"}:
                    line = {"type": "connection", "what": alert.what(), "text": alert.message()}
                    print(json.dumps(line), flush=True)


def handler(liar: Liar) -> type[BaseHTTPRequestHandler]:
    """Passes on what it is asked, and alters the answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._pass_on(None)

        def do_HEAD(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def _pass_on(self, given: bytes | None) -> None:
            kept = {
                name: value
                for name, value in self.headers.items()
                if name.lower() in {"range", "content-type"}
            }
            url = f"{liar.of}{self.path}"
            own = liar.own_layer(self.path)
            if own is not None:
                self._answer(200, {}, own)
                return
            request = urllib.request.Request(url, given, kept, method=self.command)
            status, headers, body = _ask(request)
            self._answer(status, headers, liar.alter(self.path, body, _start(headers)))

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            names = {"content-type", "content-range", "accept-ranges", "etag"}
            for name, value in headers.items():
                if name.lower() in names:
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else len(body)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _ask(request: urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
    try:
        with _opener.open(request, timeout=30) as response:
            return response.status, dict(response.headers.items()), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers.items()), error.read()


def _start(headers: dict[str, str]) -> int:
    """Where a range begins."""
    _, _, range_ = headers.get("Content-Range", "").partition(" ")
    return int(range_.partition("-")[0] or 0)


def main() -> None:
    """Lies until it is ended."""
    about = json.loads(sys.argv[1])
    liar = Liar(
        *(about["of"], set(about["lies"]), Path(about["file"]), about["blob"]),
        Path(about["folder"]),
    )
    liar.prepare()
    server = ThreadingHTTPServer(("", PORT), handler(liar))
    for work in (liar.announce, liar.tell):
        threading.Thread(target=work, daemon=True).start()
    print('{"type": "lying"}', flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
