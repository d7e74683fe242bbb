"""Ordinary BitTorrent clients get a revision by our torrents, from a hub as web seed.

Each client is alone, on the loopback, and announces nothing.
"""

import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import libtorrent
import pytest

from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.revision_torrent import (
    StreamHasher,
    TorrentLayout,
    V1Torrent,
    v1_torrent,
)
from tests.cli.call import until
from tests.ports import free_port
from tests.swarm.test_revision_torrent import FILES, NAME, content, make

pytestmark = pytest.mark.clients

SECONDS = 60
PLACE = f"/org/name/resolve/{NAME}/"
PADDED = {"a.json": content(10), "b.bin": content(3_000_000), "sub/é.txt": content(20_000)}


ARIA2 = [
    *("aria2c", "--no-conf", "--bt-enable-lpd=false", "--enable-dht=false", "--enable-dht6=false"),
    "--enable-peer-exchange=false",
]


class Hub:
    """Serves files by path as a hub does, and nothing else; with `pads` also pad files."""

    def __init__(self, files: Mapping[str, bytes], *, pads: bool = False) -> None:
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                path = unquote(self.path)
                hub.asked.append(path)
                data = files.get(path.removeprefix(PLACE)) if path.startswith(PLACE) else None
                if pads and path.startswith(f"{PLACE}.pad/"):
                    data = bytes(int(path.rpartition("/")[2]))
                self._answer(data)

            def _answer(self, data: bytes | None) -> None:
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                body = data or b""
                if data is None:
                    self.send_response(404)
                elif asked:
                    first, last = int(asked[1]), int(asked[2] or len(data) - 1)
                    body = data[first : last + 1]
                    self.send_response(206)
                    whole = f"bytes {first}-{first + len(body) - 1}/{len(data)}"
                    self.send_header("Content-Range", whole)
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._handler = Handler
        self.web_seed = ""

    @contextmanager
    def serving(self) -> Iterator["Hub"]:
        with serving(self._handler) as url:
            self.web_seed = f"{url}/org/name/resolve/"
            yield self


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server on the loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def alone() -> libtorrent.session:
    return libtorrent.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
        }
    )


def old(files: Mapping[str, bytes]) -> V1Torrent:
    plan = TorrentLayout.of(NAME, {path: len(data) for path, data in files.items()})
    hasher = StreamHasher(plan.piece_length)
    for path, _ in plan.files:
        hasher.update(memoryview(files[path]))
    return v1_torrent(plan, hasher.finish())


def arrived(folder: Path, files: Mapping[str, bytes], *, empty: bool = True) -> bool:
    """Whether all files are there, those without a byte too if `empty`."""
    return all(
        (folder / NAME / path).is_file() and (folder / NAME / path).read_bytes() == data
        for path, data in files.items()
        if data or empty
    )


def test_libtorrent_needs_no_pads_of_a_hub(tmp_path: Path) -> None:
    with Hub(FILES).serving() as hub:
        session = alone()
        torrent = libtorrent.load_torrent_buffer(make(FILES).file(web_seeds=[hub.web_seed]))
        torrent.save_path = str(tmp_path)
        handle = session.add_torrent(torrent)
        until(lambda: handle.status().is_seeding, "libtorrent", SECONDS)
        session.pause()
    assert arrived(tmp_path, FILES)
    assert not any("/.pad/" in path for path in hub.asked)


@contextmanager
def seeding(torrent: bytes, folder: Path, files: Mapping[str, bytes]) -> Iterator[int]:
    """The port of a libtorrent that has the files below `folder` and seeds them in place."""
    lay_out(folder, files)
    session = alone()
    params = libtorrent.load_torrent_buffer(torrent)
    params.save_path = str(folder)
    params.flags = libtorrent.torrent_flags.seed_mode | libtorrent.torrent_flags.upload_mode
    session.add_torrent(params)
    until(session.is_listening, "libtorrent to listen", SECONDS)
    yield session.listen_port()
    session.pause()


def lay_out(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        file = folder / NAME / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


class Tracker(BaseHTTPRequestHandler):
    """A tracker that names one peer to every client."""

    peer = b""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = bencode.encode({b"interval": 60, b"peers": self.peer})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def aria2(torrent: bytes, folder: Path) -> int:
    """Its exit status: 0 where all pieces came."""
    if shutil.which("aria2c") is None:
        pytest.skip("aria2c is not installed")
    file = folder / "a.torrent"
    file.write_bytes(torrent)
    done = subprocess.run(
        [
            *(*ARIA2, "--seed-time=0", "--bt-stop-timeout=20"),
            *(f"--listen-port={free_port()}", f"--dir={folder}", str(file)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode


def test_aria2_gets_version_1_from_a_hub(tmp_path: Path) -> None:
    with Hub(FILES).serving() as hub:
        assert aria2(old(FILES).file(web_seeds=[hub.web_seed]), tmp_path) == 0
    assert arrived(tmp_path, FILES)


def test_aria2_asks_web_seeds_for_the_pads_of_a_hybrid(tmp_path: Path) -> None:
    """Which is why there are torrents of version 1 alone: a hub has no such files."""
    torrent = make(PADDED)
    with Hub(PADDED, pads=True).serving() as hub:
        assert aria2(torrent.file(web_seeds=[hub.web_seed]), tmp_path) == 0
    assert arrived(tmp_path, PADDED)
    assert any("/.pad/" in path for path in hub.asked)


def tracker(port: int) -> AbstractContextManager[str]:
    """The URL of one that knows the peer at this port."""
    peer = socket.inet_aton("127.0.0.1") + port.to_bytes(2, "big")
    return serving(type("One", (Tracker,), {"peer": peer}))


def test_aria2_gets_version_1_from_a_seed(tmp_path: Path) -> None:
    torrent = old(FILES)
    with (
        seeding(torrent.file(), tmp_path / "seed", FILES) as port,
        tracker(port) as url,
    ):
        assert aria2(torrent.file(trackers=[f"{url}/announce"]), tmp_path) == 0
    assert arrived(tmp_path, FILES)


def test_aria2_gets_the_hybrid_from_a_seed(tmp_path: Path) -> None:
    """By version 1 of it, with pads and all."""
    if shutil.which("aria2c") is None or _aria2_version() < (1, 37):
        pytest.skip("no aria2 from 1.37 on: older ones get the infohash of a hybrid wrong")
    torrent = make(PADDED)
    with (
        seeding(torrent.file(), tmp_path / "seed", PADDED) as port,
        tracker(port) as url,
    ):
        assert aria2(torrent.file(trackers=[f"{url}/announce"]), tmp_path) == 0
    assert arrived(tmp_path, PADDED)


def _aria2_version() -> tuple[int, ...]:
    said = subprocess.run(["aria2c", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+)\.(\d+)", said.stdout)
    assert found is not None
    return int(found[1]), int(found[2])


def test_libtorrent_gets_version_1_from_aria2(tmp_path: Path) -> None:
    if shutil.which("aria2c") is None:
        pytest.skip("aria2c is not installed")
    torrent, port = old(FILES).file(), free_port()
    lay_out(tmp_path / "seed", FILES)
    (tmp_path / "a.torrent").write_bytes(torrent)
    arguments = [
        *("--bt-seed-unverified", "--seed-ratio=0.0", f"--listen-port={port}"),
        *(f"--dir={tmp_path / 'seed'}", str(tmp_path / "a.torrent")),
    ]
    process = subprocess.Popen(
        [*ARIA2, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        session = alone()
        params = libtorrent.load_torrent_buffer(torrent)
        params.save_path = str(tmp_path / "here")
        handle = session.add_torrent(params)

        until(lambda: listens(port), "aria2 to listen", SECONDS)
        handle.connect_peer(("127.0.0.1", port))
        until(lambda: handle.status().is_seeding, "libtorrent", SECONDS)
        session.pause()
    finally:
        process.terminate()
        process.wait(SECONDS)
    assert arrived(tmp_path / "here", FILES)


def listens(port: int) -> bool:
    with socket.socket() as asker:
        return asker.connect_ex(("127.0.0.1", port)) == 0


def test_transmission_gets_version_1_from_a_hub(tmp_path: Path) -> None:
    with (
        Hub(FILES).serving() as hub,
        transmission(old(FILES).file(web_seeds=[hub.web_seed]), tmp_path),
    ):
        until(lambda: arrived(tmp_path, FILES, empty=False), "transmission", SECONDS)


@contextmanager
def transmission(torrent: bytes, tmp_path: Path) -> Iterator[None]:
    """Transmission at work on a torrent. It makes no files that have no bytes, and takes no peers
    on the loopback: for those it needs a network.
    """
    if shutil.which("transmission-cli") is None:
        pytest.skip("transmission-cli is not installed")
    names = ("dht", "lpd", "pex", "utp", "port-forwarding")
    settings = {f"{name}-enabled": False for name in names}
    (tmp_path / "settings.json").write_text(
        json.dumps({**settings, "bind-address-ipv4": "127.0.0.1", "bind-address-ipv6": "::1"})
    )
    file = tmp_path / "a.torrent"
    file.write_bytes(torrent)
    process = subprocess.Popen(
        [
            *("transmission-cli", "-g", str(tmp_path), "-w", str(tmp_path)),
            *("-M", "-p", str(free_port()), str(file)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)
