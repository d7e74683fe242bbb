"""Real clients find each other by the tracker alone, on loopback."""

import contextlib
import http.server
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libtorrent as lt
import pytest

from outlast.swarm.torrent import bencode
from outlast.swarm.tracker.tracker import Tracker
from tests.cli.call import until

PATIENCE = 60.0
DATA = bytes(range(256)) * 4096


class Service:
    """A tracker behind an HTTP server, and what it answered."""

    def __init__(self) -> None:
        self.url = ""
        self._tracker = Tracker()
        self._replies: list[dict[bytes, bencode.Value]] = []
        self._changed = threading.Condition()

    def answer(self, path: str, address: str) -> bytes:
        what, _, query = path.partition("?")
        ask = {"/announce": self._tracker.announce, "/scrape": self._tracker.scrape}[what]
        body = ask(query, address)
        read = bencode.decode(body)
        assert isinstance(read, dict)
        with self._changed:
            self._replies.append(read)
            self._changed.notify_all()
        return body

    def until(self, enough: Callable[[dict[bytes, bencode.Value]], bool]) -> bool:
        """Waits for a reply of that kind, from the first on."""
        with self._changed:
            return self._changed.wait_for(lambda: any(map(enough, self._replies)), PATIENCE)


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = found.answer(self.path, self.client_address[0])
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # a client that ends does not wait
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/announce"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def torrent(service: Service, tmp_path: Path) -> Path:
    """Of version 1, as aria2 knows no other; its file is in `seed`."""
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "data").write_bytes(DATA)
    files = lt.list_files(str(tmp_path / "seed" / "data"))
    made = lt.create_torrent(files, 64 * 1024, lt.create_torrent.v1_only)
    made.add_tracker(service.url)
    lt.set_piece_hashes(made, str(tmp_path / "seed"))
    path = tmp_path / "data.torrent"
    path.write_bytes(lt.bencode(made.generate()))
    return path


@contextlib.contextmanager
def running(torrent: Path, folder: Path) -> Iterator[tuple[lt.session, lt.torrent_handle]]:
    """libtorrent on a torrent, with no way to find peers but its tracker."""
    folder.mkdir(exist_ok=True)
    session = lt.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "stop_tracker_timeout": 1,
            "ssrf_mitigation": False,  # it asks no loopback for a scrape
            "allow_multiple_connections_per_ip": True,
            "alert_mask": lt.alert.category_t.status_notification,
        }
    )
    params = lt.load_torrent_file(str(torrent))
    params.save_path = str(folder)
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    yield session, session.add_torrent(params)
    del session


def finished(session: lt.session) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        session.wait_for_alert(200)
        if any(isinstance(alert, lt.torrent_finished_alert) for alert in session.pop_alerts()):
            return True
    return False


def holds_data(folder: Path) -> Callable[[], bool]:
    """Whether the bytes are on the disk: a torrent is finished a moment before."""
    return lambda: (folder / "data").read_bytes() == DATA


def has_seed(reply: dict[bytes, bencode.Value]) -> bool:
    return reply.get(b"complete") == 1


def test_libtorrent_finds_libtorrent(service: Service, torrent: Path, tmp_path: Path) -> None:
    with running(torrent, tmp_path / "seed"):
        assert service.until(has_seed)
        with running(torrent, tmp_path / "leech") as (session, handle):
            assert finished(session)
            until(holds_data(tmp_path / "leech"), "the bytes on the disk")
            assert service.until(lambda reply: reply.get(b"complete") == 2)
            handle.scrape_tracker()
            assert service.until(lambda reply: b"files" in reply)


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="aria2c is not installed")
def test_aria2_finds_libtorrent(service: Service, torrent: Path, tmp_path: Path) -> None:
    with running(torrent, tmp_path / "seed"):
        assert service.until(has_seed)
        folder = tmp_path / "aria2"
        command = ["aria2c", "--no-conf", "--quiet", "--enable-dht=false", "--enable-dht6=false"]
        command += ["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--seed-time=0"]
        command += [f"--dir={folder}", f"--stop={PATIENCE:.0f}", str(torrent)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (folder / "data").read_bytes() == DATA


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="aria2c is not installed")
def test_libtorrent_finds_aria2(service: Service, torrent: Path, tmp_path: Path) -> None:
    command = ["aria2c", "--no-conf", "--quiet", "--enable-dht=false", "--enable-dht6=false"]
    command += ["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--seed-ratio=0"]
    command += [f"--dir={tmp_path / 'seed'}", "--check-integrity=true", str(torrent)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as seed:
        try:
            assert service.until(has_seed)
            with running(torrent, tmp_path / "leech") as (session, _):
                assert finished(session)
                until(
                    lambda: (tmp_path / "leech" / "data").read_bytes() == DATA, "the bytes on disk"
                )
        finally:
            seed.terminate()
