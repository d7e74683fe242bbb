"""Ours: `outlast serve` on the seed, `outlast pull` on the nodes, nothing configured."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.hub import HOW_TO_GET_NGINX, NginxHub, nginx_program
from bench.process import BenchError, Command, clean_environment
from bench.rows import OURS
from bench.stage import MissingPeerError
from bench.swarm.payload import Payload
from bench.swarm.rig import Rig, Task
from tests.net import Host

MODEL = "bench/model"
_OUTLAST = (sys.executable, "-m", "outlast")
_NO_HUB = "http://127.0.0.1:9"
_PATIENCE = 60.0
_FIRST = 64 * 1024


def environment(folder: Path, hub: str = _NO_HUB) -> dict[str, str]:
    return clean_environment(folder, HF_ENDPOINT=hub, OUTLAST_SWARM="1")


@dataclass
class Ours:
    """One seed, and `pull --from` its `source` on the nodes; all keep the payload in one form."""

    name: str = OURS
    form: str = "plain"
    source: str = "swarm"
    _homes: dict[Path, Path] = field(default_factory=dict)

    @contextlib.contextmanager
    def seeding(self, rig: Rig, payload: Payload) -> Iterator[None]:
        command = [*_OUTLAST, "serve", "--listen", "127.0.0.1:0", "--json"]
        command += ["--home", str(self._home(rig, payload))]
        with rig.running(rig.seed, "serve", command, ready='"serving"'):
            yield

    def task(self, rig: Rig, payload: Payload, folder: Path) -> Task:
        del rig
        home = folder / "archive"
        command: Command = [*_OUTLAST, "pull", MODEL, "--from", self.source, "--json"]
        # By default plain files are compressed as they come, where that pays.
        form = ("--form", "plain") if self.form == "plain" else ()
        command = [*command, *form, "--home", home]
        return Task(command, folder, self._kept(home, payload), environment(folder))

    def _kept(self, home: Path, payload: Payload) -> Path | None:
        name = payload.sha256
        return home / "blobs" / name[:2] / name if self.form == "plain" else None

    def _home(self, rig: Rig, payload: Payload) -> Path:
        """The seed's archive, made once."""
        if payload.path not in self._homes:
            home = rig.folder / f"archive-{len(self._homes)}-{self.form}"
            command: Command = [
                *(*_OUTLAST, "add", payload.path, "--as", MODEL, "--home", home),
                *("--form", self.form, "--quiet"),
            ]
            done = subprocess.run(
                command, env=environment(rig.folder), capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise BenchError(f"outlast add: {done.stderr[-1000:]}")
            self._homes[payload.path] = home
        return self._homes[payload.path]


@dataclass
class FromHub:
    """`pull` with nginx as its hub, on the origin's machine, and whatever else it finds."""

    name: str = OURS
    hub: NginxHub | None = None

    @contextlib.contextmanager
    def seeding(self, rig: Rig, payload: Payload) -> Iterator[None]:
        program = nginx_program()
        if program is None:
            raise MissingPeerError(HOW_TO_GET_NGINX)
        root = rig.folder / "hub"
        shutil.rmtree(root, ignore_errors=True)
        with rig.origin.inside():
            self.hub = NginxHub(program, root, rig.origin.address)
            self.hub.put(MODEL, payload.path, payload.sha256)
            try:
                self.hub.start()
                yield
            finally:
                self.hub.stop()

    def task(self, rig: Rig, payload: Payload, folder: Path) -> Task:
        del rig
        assert self.hub is not None
        home = folder / "archive"
        command: Command = [*_OUTLAST, "pull", MODEL, "--json", "--home", home, "--form", "plain"]
        kept = home / "blobs" / payload.sha256[:2] / payload.sha256
        return Task(command, folder, kept, environment(folder, self.hub.url))


def first_byte(node: Host, folder: Path, hub: str) -> float:
    """Seconds from the start of `pull`, whose hub does not answer, to its first bytes."""
    folder.mkdir(parents=True)
    command = [*_OUTLAST, "pull", MODEL, "--json", "--home", str(folder / "archive")]
    command += ["--from", "lan", "--from", hub]
    before = node.counters().received
    started = time.perf_counter()
    program = node.start("pull", command, environment(folder, hub))
    try:
        while (now := time.perf_counter() - started) < _PATIENCE:
            if program.ended:
                raise BenchError(program.tail())
            if _received(program.pid) - before > _FIRST:
                return now
            time.sleep(0.01)
        raise BenchError(f"no byte in {_PATIENCE:.0f} s: {program.tail()}")
    finally:
        program.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _received(pid: int) -> int:
    """Bytes that the first card of the machine of a process has received."""
    with contextlib.suppress(FileNotFoundError):
        for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines():
            card, _, rest = line.partition(":")
            if card.strip() == "eth0":
                return int(rest.split()[0])
    return 0
