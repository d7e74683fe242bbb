"""Unmodified `hf download` through a mirror whose hub misbehaves at random: right, or an error."""

import random
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from tests.campaign import SEED, rounds
from tests.clients.envs import HUB_CLIENTS
from tests.clients.run import client_env, python_of
from tests.hubsim import Commit, HubRepo, HubSim
from tests.serve.node import Node, archived, outlast, until
from tests.serve.upstream import MIB, sha256, target, weights
from tests.serve.wire import once

RUNS = rounds(len(HUB_CLIENTS), 200)
AN_ARCHIVE = 4
"""Runs that share an archive: the first begins with nothing, later ones with what came of it."""
SECONDS = 120
REPO = "org/model"
SIZE = 13 * MIB
PATIENCE = {"HF_HUB_DOWNLOAD_TIMEOUT": "4", "HF_HUB_ETAG_TIMEOUT": "4"}

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300 + 60 * RUNS)]


@dataclass
class Repo:
    """What is downloaded: the sha256 of each file by its path."""

    root: Path
    commit: Commit
    digests: dict[str, str]

    def problems(self, folder: Path, *, whole: bool) -> list[str]:
        """Files that are not what they should be; with `whole`, those that lack, too."""
        bad = []
        for path, digest in self.digests.items():
            file = folder / path
            if file.exists() and sha256(file.read_bytes()) != digest:
                bad.append(f"{path} is wrong")
            elif whole and not file.exists():
                bad.append(f"{path} is missing")
        return bad


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("acceptance")
    files: dict[str, Any] = {
        "config.json": b'{"a": 1}\n',
        "empty.txt": b"",
        "deep/er/vocab.txt": b"word\n" * 50_000,
        "model-1.safetensors": root / "first",
        "model-2.safetensors": root / "second",
    }
    data = {"model-1.safetensors": weights(root / "first", SIZE)}
    data["model-2.safetensors"] = weights(root / "second", 6 * MIB + 5, seed=2)
    digests = {path: sha256(data.get(path, content)) for path, content in files.items()}
    return Repo(root, HubRepo(root / "hub", REPO).commit(files), digests)


# Faults


def _file_fault(luck: random.Random) -> dict[str, Any]:
    """Something that happens to a file on its way."""
    at = luck.randrange(SIZE)
    kinds: list[dict[str, Any]] = [
        {"action": "flip", "at": at},
        {"action": "flip", "at": luck.choice([0, SIZE - 1, 6 * MIB + 4, 9, MIB])},
        {"action": "flip", "at": at, "mask": 255, "count": luck.randint(1, 4)},
        {"action": "changed", "skip": luck.randint(0, 6)},
        {"action": "changed", "etag": "other", "skip": luck.randint(0, 6)},
        {"action": "truncate", "at": luck.randrange(4 * MIB)},
        {"action": "reset", "at": luck.randrange(4 * MIB)},
        {"action": "stall", "at": luck.randrange(MIB), "count": 1},
        {"action": "slow", "rate": luck.choice([2 * MIB, 8 * MIB])},
        {"action": "delay", "seconds": luck.choice([0.1, 1, 6])},
        {"action": "content_range", "shift": luck.choice([1, -1, MIB])},
        {"action": "ignore_range"},
        {"action": "length", "delta": luck.choice([-5, 5, -MIB])},
        {"action": "redirect_cdn"},
        {"action": "redirect_cdn", "expires_in": -5},
        {"action": "redirect_loop"},
        {"action": "gzip"},
        {"action": "status", "status": 404, "code": "EntryNotFound"},
        {"action": "headers", "drop": ["Content-Length", "ETag"]},
        {"action": "headers", "drop": ["Content-Range"]},
    ]
    return {"what": "resolve", **luck.choice(kinds)}


def _any_fault(luck: random.Random) -> dict[str, Any]:
    """Something that happens to any request."""
    waits: list[dict[str, Any]] = [{}, *({"retry_after": seconds} for seconds in (0, 2, 60))]
    wait = luck.choice(waits)
    kinds: list[dict[str, Any]] = [
        {"action": "status", "status": 429, **wait},
        {"action": "status", "status": 503, **wait},
        {"action": "status", "status": luck.choice([401, 403, 404, 500, 502, 504])},
        {"action": "reset", "at": luck.randrange(200)},
        {"action": "truncate", "at": luck.randrange(200)},
        {"action": "delay", "seconds": luck.choice([0.1, 2])},
    ]
    return luck.choice(kinds)


def _listing_fault(luck: random.Random) -> dict[str, Any]:
    """Something that is wrong with what the hub tells of a repo."""
    odd = luck.choice(["truncated", "garbage", "html", "empty", "wrong_type", "bad_utf8"])
    kinds: list[dict[str, Any]] = [
        {"action": "malformed_json", "kind": odd},
        {"action": "huge_json", "depth": 100_000},
        {"action": "size", "delta": luck.choice([-5, 5]), "file": "model-1*", "count": 1},
        {"action": "delay", "seconds": 6, "what": "info"},
        {"action": "stall", "at": 9, "what": "info", "count": 1},
        {"action": "redirect_loop", "what": "info"},
    ]
    return luck.choice(kinds)


def mix(luck: random.Random) -> list[Mapping[str, Any]]:
    """Two to four rules; most of them hold for some requests only."""
    makers = [_file_fault, _file_fault, _file_fault, _any_fault, _listing_fault]
    rules: list[Mapping[str, Any]] = []
    for _ in range(luck.randint(2, 4)):
        rule = luck.choice(makers)(luck)
        rules.append({"p": luck.choice([0.1, 0.3, 0.6, 1]), **rule})
    return rules


# Downloads


@dataclass
class Download:
    """A client with a home of its own, and where it puts the files."""

    client: str
    home: Path
    local: bool

    def run(self, url: str) -> bool:
        """Runs `hf download` once; whether it said that all went well."""
        more = ["--local-dir", str(self.home / "local")] if self.local else []
        try:
            done = subprocess.run(
                [python_of(self.client).with_name("hf"), "download", REPO, *more],
                env=client_env(url, self.home) | PATIENCE,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def folders(self) -> list[Path]:
        """Where files may be complete."""
        snapshots = self.home / "hf" / "hub" / "models--org--model" / "snapshots"
        return [self.home / "local"] if self.local else list(snapshots.glob("*"))


@dataclass
class Series:
    """Downloads one after the other, and what came of them."""

    repo: Repo
    folder: Path
    luck: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    last: Download | None = None

    def download(self, number: int, url: str) -> bool:
        """The next download; half of those after a failure go on where it ended."""
        again = self.last is not None and self.luck.random() < 0.5
        if self.last is None or not again:
            client = HUB_CLIENTS[number % len(HUB_CLIENTS)]
            home = self.folder / f"client-{number}"
            home.mkdir()
            self.last = Download(client, home, self.luck.random() < 0.5)
        download = self.last
        well = download.run(url)
        problems = [
            problem
            for folder in download.folders()
            for problem in self.repo.problems(folder, whole=well)
        ]
        if well and not download.folders():
            problems.append("nothing was downloaded")
        self.counts["wrong" if problems else "right" if well else "error"] += 1
        self.wrong += [f"run {number}, {download}: {problem}" for problem in problems]
        self.last = None if well else download
        return well and not problems


@pytest.mark.torture
def test_random_faults(repo: Repo, tmp_path: Path) -> None:
    """A download ends well with the right bytes, or it ends with an error."""
    luck = random.Random(SEED)
    series = Series(repo, tmp_path, luck)
    faults: Counter[str] = Counter()
    with HubSim(repo.root / "hub", seed=SEED) as hub:
        for first in range(0, RUNS, AN_ARCHIVE):
            series.last = None
            flags = ("--upstream", hub.url, "--ttl", luck.choice(["0", "300"]))
            with Node(tmp_path / f"home-{first}", *flags) as node:
                for number in range(first, min(first + AN_ARCHIVE, RUNS)):
                    hub.set_faults(mix(luck))
                    series.download(number, node.url)
                    for action, hits in hub.fault_hits():
                        faults[action] += hits
                assert not [line for line in node.lines() if line.startswith("Traceback")]
            outlast(node.home, "verify", "--quiet")
    print(f"downloads under random faults: {dict(series.counts)}; faults met: {dict(faults)}")
    assert series.wrong == []
    assert series.counts.total() == RUNS
    assert series.counts["right"] > 0
    assert faults.total() >= RUNS


class Listener:
    """Sits where the hub was, and counts its callers."""

    def __init__(self, port: int) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()


@pytest.fixture
def mirror(repo: Repo, tmp_path: Path) -> Iterator[tuple[Node, int]]:
    """A mirror that has the model, and the port of its hub, which was killed."""
    with HubSim(repo.root / "hub") as hub:
        node = Node(tmp_path / "home", "--upstream", hub.url, "--ttl", "86400")
        with node:
            for path in repo.digests:
                assert once(node.url, target(path, REPO)).status == 200
            until(lambda: archived(node, list(repo.digests.values())), "all files")
            until(lambda: hub.requests(what="git"), "the text of the commit is asked for")
            hub.kill()
            yield node, int(hub.url.rpartition(":")[2])


@pytest.mark.torture
def test_the_hub_is_gone(repo: Repo, mirror: tuple[Node, int], tmp_path: Path) -> None:
    """Every client gets every file, and none of that asks the hub."""
    node, port = mirror
    series = Series(repo, tmp_path, random.Random(SEED))
    with Listener(port) as listener:
        for number in range(RUNS):
            assert series.download(number, node.url), series.wrong
        assert listener.calls == 0
    print(f"downloads with the hub gone: {dict(series.counts)}; requests to it: {listener.calls}")
    assert series.counts == {"right": RUNS}
    asked = [line for line in node.access() if REPO in line["path"]]
    assert {line["status"] for line in asked} <= {200, 206}


@pytest.mark.torture
def test_the_hub_is_gone_and_refs_are_old(
    repo: Repo, mirror: tuple[Node, int], tmp_path: Path
) -> None:
    """The same where refs are asked for again without an answer, and are marked as stale."""
    node, _ = mirror
    with Node(node.home, *node.flags[:2], "--ttl", "0") as again:
        series = Series(repo, tmp_path, random.Random(SEED))
        for number in range(rounds(1, len(HUB_CLIENTS))):
            assert series.download(number, again.url), series.wrong
        assert [line for line in again.access() if "stale_since" in line]
