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
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import libtorrent
import pytest

from outlast.swarm.hybrid import OldTorrent, Plan, StreamHasher, old_torrent
from tests.cli.call import until
from tests.unit.test_swarm_hybrid import FILES, NAME, content, make

pytestmark = pytest.mark.clients

SECONDS = 60
PLACE = f"/org/name/resolve/{NAME}/"
PADDED = {"a.json": content(10), "b.bin": content(3_000_000), "sub/é.txt": content(20_000)}


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

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.web_seed = f"http://127.0.0.1:{self._server.server_port}/org/name/resolve/"

    @contextmanager
    def serving(self) -> Iterator["Hub"]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def old(files: Mapping[str, bytes]) -> OldTorrent:
    plan = Plan.of(NAME, {path: len(data) for path, data in files.items()})
    hasher = StreamHasher(plan.piece_length)
    for path, _ in plan.files:
        hasher.update(memoryview(files[path]))
    return old_torrent(plan, hasher.finish())


def arrived(folder: Path, files: Mapping[str, bytes], *, empty: bool = True) -> bool:
    """Whether all files are there, those without a byte too if `empty`."""
    return all(
        (folder / NAME / path).is_file() and (folder / NAME / path).read_bytes() == data
        for path, data in files.items()
        if data or empty
    )


def test_libtorrent_needs_no_pads_of_a_hub(tmp_path: Path) -> None:
    with Hub(FILES).serving() as hub:
        session = libtorrent.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
            }
        )
        torrent = libtorrent.load_torrent_buffer(make(FILES).file(web_seeds=[hub.web_seed]))
        torrent.save_path = str(tmp_path)
        handle = session.add_torrent(torrent)
        until(lambda: handle.status().is_seeding, "libtorrent", SECONDS)
        session.pause()
    assert arrived(tmp_path, FILES)
    assert not any("/.pad/" in path for path in hub.asked)


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def aria2(torrent: bytes, folder: Path) -> int:
    """Its exit status: 0 where all pieces came."""
    if shutil.which("aria2c") is None:
        pytest.skip("aria2c is not installed")
    file = folder / "a.torrent"
    file.write_bytes(torrent)
    alone = ("dht", "dht6", "peer-exchange")
    done = subprocess.run(
        [
            *("aria2c", "--no-conf", "--bt-enable-lpd=false", "--seed-time=0"),
            *(f"--enable-{what}=false" for what in alone),
            *(f"--listen-port={free_port()}", "--bt-stop-timeout=20", f"--dir={folder}", str(file)),
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


def test_transmission_gets_version_1_from_a_hub(tmp_path: Path) -> None:
    if shutil.which("transmission-cli") is None:
        pytest.skip("transmission-cli is not installed")
    names = ("dht", "lpd", "pex", "utp", "port-forwarding")
    settings = {f"{name}-enabled": False for name in names}
    (tmp_path / "settings.json").write_text(
        json.dumps({**settings, "bind-address-ipv4": "127.0.0.1", "bind-address-ipv6": "::1"})
    )
    file = tmp_path / "a.torrent"
    with Hub(FILES).serving() as hub:
        file.write_bytes(old(FILES).file(web_seeds=[hub.web_seed]))
        process = subprocess.Popen(
            [
                *("transmission-cli", "-g", str(tmp_path), "-w", str(tmp_path)),
                *("-M", "-p", free_port(), str(file)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            # It makes no files without bytes.
            until(lambda: arrived(tmp_path, FILES, empty=False), "transmission", SECONDS)
        finally:
            process.terminate()
            process.wait(SECONDS)
