"""The peers: other ways to bring the same file to the same machines."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import peers
from bench.hub import HOW_TO_GET_NGINX, nginx_program
from bench.process import BenchError, clean_environment
from bench.stage import MissingPeerError
from bench.swarm.payload import Payload
from bench.swarm.rig import Rig, Task
from tests.net.program import Program, until

_HTTP, _TORRENT, _TRACKER = 8080, 6881, 6969
_NGINX = """\
user root;
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error;
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/nginx.access;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    tcp_nopush on;
    log_format sent '$body_bytes_sent';
    access_log {folder}/sent.log sent;
    server {{ listen {address}:{port}; root {root}; }}
}}
"""
_DRIVE = (sys.executable, "-m", "bench.swarm.drive_torrent")
_TOP = Path(__file__).parents[2]


def _needed(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise MissingPeerError(
            f"{name} is not installed (Debian, Ubuntu: apt-get install {package})"
        )
    return path


@contextlib.contextmanager
def nginx(rig: Rig, root: Path, *, origin: bool = False) -> Iterator[Path]:
    """nginx on the seed (or on the origin) serves the files in `root`; the folder of its logs."""
    program = nginx_program()
    if program is None:
        raise MissingPeerError(HOW_TO_GET_NGINX)
    host = rig.origin if origin else rig.seed
    folder = rig.folder / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config = folder / "nginx.conf"
    text = _NGINX.format(folder=folder, root=root, address=host.address, port=_HTTP)
    config.write_text(text)
    with rig.running(host, "nginx", [program, "-c", config, "-p", folder], ready=""):
        yield folder


def sent_by_nginx(folder: Path) -> int:
    """Bytes of bodies that it has sent."""
    return sum(map(int, (folder / "sent.log").read_text().split()))


@dataclass(frozen=True, slots=True)
class Star:
    """nginx, and curl on every node. The bytes are not checked."""

    name: str = "curl, nginx"

    @contextlib.contextmanager
    def seeding(self, rig: Rig, payload: Payload) -> Iterator[None]:
        with nginx(rig, payload.path.parent):
            yield

    def task(self, rig: Rig, payload: Payload, folder: Path) -> Task:
        url = f"http://{rig.seed.address}:{_HTTP}/{payload.path.name}"
        file = folder / "file"
        # nginx may be on its way up; no proxy of the environment is asked.
        command = ["curl", "-sSf", "--noproxy", "*", "--retry-connrefused", "--retry", "5"]
        return Task([*command, "-o", file, url], folder, file, clean_environment(folder))


@dataclass(slots=True)
class Libtorrent:
    """libtorrent 2.1 by itself, with `settings` beside those it is shipped with. Peers find each
    other by a tracker on the seed's machine. With `web_seeds`, all also ask the origin.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    web_seeds: bool = False

    @contextlib.contextmanager
    def seeding(self, rig: Rig, payload: Payload) -> Iterator[None]:
        torrent = self._torrent(rig, payload)
        with _tracker(rig) as tracker:
            if self.web_seeds:
                with nginx(rig, payload.path.parent, origin=True):
                    yield
                return
            about = self._about(torrent, payload.path.parent, seed=True)
            command = _in_tree([*_DRIVE, "seed", json.dumps(about)])
            with rig.running(rig.seed, "seed", command):
                _heard(tracker)
                yield

    def task(self, rig: Rig, payload: Payload, folder: Path) -> Task:
        about = self._about(self._torrent(rig, payload), folder)
        command = _in_tree([*_DRIVE, "fetch", json.dumps(about)])
        return Task(command, folder, folder / payload.path.name, clean_environment(folder))

    def _torrent(self, rig: Rig, payload: Payload) -> Path:
        web = [f"http://{rig.origin.address}:{_HTTP}/"] if self.web_seeds else []
        return torrent_file(rig, payload, version=2, web_seeds=web)

    def _about(self, torrent: Path, save: Path, *, seed: bool = False) -> dict[str, Any]:
        return {
            "torrent": str(torrent),
            "save": str(save),
            "port": _TORRENT,
            "settings": self.settings,
            "seed": seed,
        }


def torrent_file(
    rig: Rig, payload: Payload, *, version: int, web_seeds: Sequence[str] = ()
) -> Path:
    """The payload's torrent, made once: BitTorrent v1 or v2, with the tracker on the seed."""
    path = rig.folder / f"{payload.path.name}.v{version}{'-web' if web_seeds else ''}.torrent"
    if not path.exists():
        about = {
            "path": str(payload.path),
            "torrent": str(path),
            "version": version,
            "tracker": f"http://{rig.seed.address}:{_TRACKER}/announce",
            "web_seeds": web_seeds,
        }
        subprocess.run([*_DRIVE, "make", json.dumps(about)], cwd=_TOP, check=True)
    return path


def _tracker(rig: Rig) -> contextlib.AbstractContextManager[Program]:
    command = [sys.executable, "-m", "bench.swarm.tracker", rig.seed.address, str(_TRACKER)]
    return rig.running(rig.seed, "tracker", _in_tree(command))


def _heard(tracker: Program) -> None:
    """Waits until the seed has announced itself."""
    until(lambda: "heard" in tracker.out.read_text(), "the seed has announced itself")


TCP_ONLY = {"enable_incoming_utp": False, "enable_outgoing_utp": False}


def _in_tree(command: list[str]) -> list[str]:
    """The command, run in the folder of the sources."""
    return ["env", "-C", str(_TOP), *command]


@dataclass(slots=True)
class Aria2:
    """aria2c seeds, aria2c fetches, as it is shipped; no room is written with zeros first."""

    name: str = "aria2c"

    @contextlib.contextmanager
    def seeding(self, rig: Rig, payload: Payload) -> Iterator[None]:
        command = self._command(payload.path.parent, torrent_file(rig, payload, version=1))
        command += ["--check-integrity=true", "--seed-ratio=0.0", "--allow-overwrite=true"]
        # It announces itself once it has checked all of it.
        with _tracker(rig) as tracker, rig.running(rig.seed, "aria2c", command, ready=""):
            _heard(tracker)
            yield

    def task(self, rig: Rig, payload: Payload, folder: Path) -> Task:
        command = self._command(folder, torrent_file(rig, payload, version=1))
        command += ["--seed-time=0"]
        return Task(command, folder, folder / payload.path.name, clean_environment(folder))

    def _command(self, folder: Path, torrent: Path) -> list[str]:
        return [
            _needed("aria2c", "aria2"),
            *("--no-conf", "--file-allocation=none", f"--listen-port={_TORRENT}"),
            *(f"--dir={folder}", f"--torrent-file={torrent}"),
        ]


@dataclass(slots=True)
class Ossllms:
    """The swarm engine of ossllms 0.3.0 as it is shipped; fetchers are told the seed's address."""

    name: str = "ossllms"
    _magnet: str = ""

    @contextlib.contextmanager
    def seeding(self, rig: Rig, payload: Payload) -> Iterator[None]:
        source = rig.folder / "ossllms" / "model"
        source.mkdir(parents=True, exist_ok=True)
        file = source / payload.path.name
        if not file.exists():
            file.hardlink_to(payload.path)
        about = {
            "source": str(source),
            "torrent": str(rig.folder / "ossllms" / "release.torrent"),
            "file": file.name,
            "sha256": payload.sha256,
        }
        done = subprocess.run(
            self._drive("make", about), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"ossllms: {done.stderr[-1000:]}")
        self._magnet = done.stdout.strip()
        with rig.running(rig.seed, "ossllms", self._drive("seed", about)):
            yield

    def task(self, rig: Rig, payload: Payload, folder: Path) -> Task:
        about = {
            "magnet": self._magnet,
            "peers": [f"{rig.seed.address}:6881"],
            "file": payload.path.name,
            "size": payload.size,
            "sha256": payload.sha256,
            "save": str(folder),
        }
        file = folder / payload.path.name
        return Task(self._drive("fetch", about), folder, file, clean_environment(folder))

    @staticmethod
    def _drive(what: str, about: dict[str, Any]) -> list[str]:
        try:
            python = peers.ossllms() / "python"
        except peers.PeerUnavailableError as error:
            raise MissingPeerError(str(error)) from error
        return [
            str(python),
            str(Path(__file__).with_name("drive_ossllms.py")),
            what,
            json.dumps(about),
        ]
