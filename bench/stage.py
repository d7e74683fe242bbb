"""What the cases share: a folder, the hub, the peers' programs, and our own."""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench import peers
from bench.hub import COMMIT, HOW_TO_GET_NGINX, Model, NginxHub, free_port, nginx_program, wait_for
from bench.process import BenchError, Command, Cost, Server, clean_environment, timed

MEGA = 1_000_000
GIGA = 1_000_000_000
_START = 30.0


class MissingPeerError(Exception):
    """A peer is not here; the message says how to get it."""


@dataclass
class Stage:
    """The work folder of a run and what lives in it. `size` is that of the large file in bytes."""

    folder: Path
    size: int
    pairs: int
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def serve_size(self) -> int:
        """Four fifths of `size`: 1.6 GB where that is 2 GB."""
        return self.size * 4 // 5

    def close(self) -> None:
        self._stack.close()

    # Peers

    @cached_property
    def hub(self) -> NginxHub:
        """The hub that nginx makes. Raises :class:`MissingPeerError` without nginx."""
        program = nginx_program()
        if program is None:
            raise MissingPeerError(HOW_TO_GET_NGINX)
        hub = NginxHub(program, self.folder / "nginx")
        self._stack.callback(hub.stop)
        hub.start()
        return hub

    @contextlib.contextmanager
    def model(self, name: str, count: int, size: int) -> Iterator[Model]:
        """A model at the hub, for as long as it is needed."""
        hub = self.hub
        model = hub.make(name, count, size)
        hub.start()
        try:
            yield model
        finally:
            hub.drop(model)

    @cached_property
    def hf(self) -> Path:
        """The ``hf`` command of huggingface_hub 2.4."""
        return self._peer(peers.hub_client) / "hf"

    @cached_property
    def olah_program(self) -> Path:
        return self._peer(peers.olah) / "olah-cli"

    def _peer(self, find: Callable[[], Path]) -> Path:
        try:
            return find()
        except peers.PeerUnavailableError as error:
            raise MissingPeerError(str(error)) from error

    @contextlib.contextmanager
    def olah(self, upstream: str) -> Iterator[str]:
        """Olah in front of `upstream`; its URL."""
        port, root = free_port(), self.folder / "olah"
        root.mkdir()
        command = peers.olah_command(self.olah_program, port, upstream, root)
        server = Server(command, clean_environment(root), self.folder / "olah.out")
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(server, url)
            yield url
        finally:
            server.stop()
            shutil.rmtree(root, ignore_errors=True)

    # Ours

    def outlast(self, *arguments: str | Path, watch: bool = False) -> Cost:
        """Runs one of our commands to its end."""
        command: Command = [sys.executable, "-m", "outlast", *arguments]
        return timed(command, self.environment(), watch=watch)

    def environment(self, **more: str) -> dict[str, str]:
        return clean_environment(self.folder / "home", **more)

    @contextlib.contextmanager
    def serving(
        self, home: Path, *options: str, python: Path = Path(sys.executable)
    ) -> Iterator[tuple[Server, str]]:
        """Our server over the archive `home`, and its URL. `python` has the outlast that serves."""
        log = self.folder / f"serve-{home.name}.out"
        command: list[str | Path] = [python, "-m", "outlast", "serve", "--home", home]
        command += ["--json", "--listen", f"127.0.0.1:{free_port()}", *options]
        server = Server(command, self.environment(), log)
        try:
            yield server, _url(server)
        finally:
            server.stop()

    # Clients

    def download(self, endpoint: str, model: Model, *options: str) -> float:
        """Seconds that ``hf download`` of a model takes into an empty cache."""
        cache = self.folder / "hf-cache"
        command: Command = [self.hf, "download", model.name, "--cache-dir", cache, *options]
        environment = self.environment(HF_ENDPOINT=endpoint)
        settle()
        try:
            wall = timed(command, environment).wall
            self._check_download(cache, model)
        finally:
            shutil.rmtree(cache, ignore_errors=True)
        return wall

    @staticmethod
    def _check_download(cache: Path, model: Model) -> None:
        folder = cache / f"models--{model.name.replace('/', '--')}" / "snapshots" / COMMIT
        for file in model.files:
            if (folder / file.path).stat().st_size != file.size:
                raise BenchError(f"hf download brought a {file.path} of another size")

    def fetch(self, url: str, times: int = 1) -> float:
        """Seconds that curl takes to fetch `url` and forget it, `times` on one connection."""
        again = ["-o", "/dev/null", url] * times
        return timed(["curl", "-sSf", "--noproxy", "*", *again], self.environment()).wall


def size_text(size: int) -> str:
    """``2 GB``, ``100 MB``."""
    return f"{size / GIGA:g} GB" if size >= GIGA else f"{size / MEGA:g} MB"


def settle() -> None:
    """Lets the disk finish earlier writes, so that they do not slow down what is measured next."""
    os.sync()


def _url(server: Server) -> str:
    end = time.monotonic() + _START
    while time.monotonic() < end:
        server.check()
        for line in server.log.read_bytes().splitlines(keepends=True):
            if line.startswith(b'{"type": "serving"') and line.endswith(b"\n"):
                return str(json.loads(line)["url"])
        time.sleep(0.02)
    raise BenchError(f"outlast serve did not start within {_START:.0f} s")
