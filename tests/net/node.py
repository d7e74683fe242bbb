"""`outlast` on a machine of a lab: one archive, and the commands that work on it."""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from outlast.core.status import NodeStatus
from outlast.node.status_client import ask_nodes
from tests.net.lab import Host
from tests.net.program import SECONDS, Program, environment, until

NO_HUB = "http://127.0.0.1:9"
MODEL = "org/crowded-model"
MIB = 1 << 20
_JOURNAL_HEADER = 24


@dataclass(frozen=True)
class Model:
    """Files that no codec can shrink, below `folder`."""

    folder: Path
    files: dict[str, bytes]
    name: str = MODEL

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        return {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}


def make_model(folder: Path, *mebibytes: float, name: str = MODEL, seed: int = 1) -> Model:
    """A model with a file of each size, and a small one."""
    random = Random(seed)
    files = {
        f"model-{number:05}.bin": random.randbytes(int(size * MIB) + 17)
        for number, size in enumerate(mebibytes, 1)
    }
    files["config.json"] = b'{"seed": %d}' % seed
    folder.mkdir(parents=True)
    for path, data in files.items():
        (folder / path).write_bytes(data)
    return Model(folder, files, name)


class Node:
    """An archive on a machine. Nothing is configured but, where given, `settings` (TOML) and `hub`:
    the hub of the environment, which without it refuses all.
    """

    def __init__(self, host: Host, *, settings: str = "", hub: str = NO_HUB) -> None:
        self.host = host
        self.hub = hub
        self.home = host.folder / "archive"
        self.url = ""
        self.server: Program | None = None
        self._is_configured = bool(settings)
        if settings:
            self.configure(settings)

    def configure(self, settings: str) -> None:
        path = self.host.folder / "config" / "outlast" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(settings)

    # Commands

    def start(self, command: str, *arguments: str | Path) -> Program:
        """Starts a command on this archive."""
        line = [command, *arguments, "--home", self.home, "--json"]
        return self.host.outlast(line, environment(self.host.folder, {"HF_ENDPOINT": self.hub}))

    def run(self, command: str, *arguments: str | Path) -> list[dict[str, Any]]:
        """Runs a command to its good end; the documents that it printed."""
        return documents(self.start(command, *arguments).ok())

    def add(self, model: Model, *arguments: str) -> None:
        self.run("add", model.folder, "--as", model.name, *arguments)

    def pull(self, *arguments: str, name: str = MODEL) -> Program:
        """Starts a pull. Where nothing is configured and no hub answers, it takes the word of the
        nodes on the LAN, unless the arguments say from where.
        """
        is_told = bool({"--from", "--no-swarm"} & {*arguments}) or self._is_configured
        lan = () if is_told or self.hub != NO_HUB else ("--from", "lan", "--from", self.hub)
        return self.start("pull", name, *arguments, *lan)

    def serve(self, *arguments: str) -> Program:
        """Starts the daemon and waits until it serves."""
        self.home.mkdir(parents=True, exist_ok=True)
        server = self.server = self.start("serve", "--listen", "127.0.0.1:0", *arguments)
        until(lambda: server.ended or b'"serving"' in server.out.read_bytes(), "it serves")
        server.check()
        self.url = next(d["url"] for d in documents(server) if d["type"] == "serving")
        return server

    def kill(self) -> None:
        """Ends the daemon with SIGKILL."""
        assert self.server is not None
        self.server.kill()
        self.server = None

    def stop(self) -> None:
        """Ends the daemon in good order."""
        assert self.server is not None
        assert self.server.stop() in {0, 130, 143}, self.server.tail()
        self.server = None

    # What it knows and has

    def status(self, program: Program | None = None) -> NodeStatus | None:
        """What one of its processes says (the daemon, unless another is named), if it answers."""
        asked = program or self.server
        found = [node for node in ask_nodes(self.home).nodes if asked and node.pid == asked.pid]
        return found[0] if found else None

    def pieces(self, blob: str) -> frozenset[int]:
        """The pieces of an unfinished plain blob that are here."""
        path = self.home / "partial" / f"{blob}.have"
        have = path.read_bytes()[_JOURNAL_HEADER:] if path.exists() else b""
        return frozenset(number for number, mark in enumerate(have) if mark)

    def has(self, model: Model, path: str) -> bool:
        """Whether it acknowledged a file of a model: as its bytes, and no others."""
        digest = model.digests[path]
        blob = self.home / "blobs" / digest[:2] / digest
        return blob.exists() and _hash(blob) == digest

    def lose(self, model: Model, path: str) -> None:
        """Has no bytes of a file of a model any more; it still knows the model."""
        digest = model.digests[path]
        (self.home / "blobs" / digest[:2] / digest).unlink()

    def has_all(self, model: Model) -> bool:
        return all(self.has(model, path) for path in model.files)

    def check(self, model: Model) -> None:
        """It has the model, and its own `verify` agrees."""
        lacking = [path for path in model.files if not self.has(model, path)]
        assert not lacking, f"{self.host.name} lacks {lacking}"
        self.run("verify")


def _hash(blob: Path) -> str:
    """A test that waits asks again and again: a file that is as it was is not read again."""
    known = blob.stat()
    return _hash_of(blob, known.st_ino, known.st_size, known.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _hash_of(blob: Path, *_as_it_was: int) -> str:
    return hashlib.sha256(blob.read_bytes()).hexdigest()


def documents(program: Program) -> list[dict[str, Any]]:
    """What a program printed so far: a JSON document a line."""
    lines = program.out.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{")]


def of_type(program: Program, kind: str) -> list[dict[str, Any]]:
    return [document for document in documents(program) if document["type"] == kind]


def all_end_well(*pulls: Program, seconds: float = SECONDS) -> None:
    for pull in pulls:
        pull.ok(seconds)
