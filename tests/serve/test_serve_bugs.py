"""What we did not expect, in the middle of an answer: it must not become part of the file."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.contract import DATASET, MODEL, WEIGHTS
from tests.hubsim import HubRepo, HubSim
from tests.serve.conftest import Served
from tests.serve.node import Node, copied, until
from tests.serve.upstream import MIB, same, target, weights
from tests.serve.wire import Reply, Wire, once

SIZE = 24 * MIB
DISK = """
import errno, os
from outlast.server.http import sendfile
real = os.sendfile
def fail(out, file, offset, count):
    if offset >= {at}:
        raise OSError(errno.EIO, "Input/output error")
    return real(out, file, offset, min(count, {at} - offset))
sendfile.os.sendfile = fail
"""
UNABLE = """
import errno, os
from outlast.server.http import sendfile
real = os.sendfile
def fail(out, file, offset, count):
    if offset >= {at}:
        raise OSError(errno.{name}, "cannot be done")
    return real(out, file, offset, min(count, {at} - offset))
sendfile.os.sendfile = fail
"""
BUG = """
import threading
from outlast.fetch.download import Download
from outlast.server.http.files import Delivery
begun = threading.Event()
real, begin = Download.accept, Delivery._begin
async def tell(self, *what):
    response = await begin(self, *what)
    begun.set()
    return response
Delivery._begin = tell
def accept(self, source, index, data):
    with self.changed:
        self.changed.wait_for(lambda: index < 12 or self.error is not None)
    return real(self, source, index, data)
def fail(self, cancel, hashed):
    with self.changed:
        self.changed.wait_for(lambda: self.frontier >= 8)
    begun.wait()
    raise {error}
Download.accept, Download.hash = accept, fail
"""
"""The bug comes after 8 pieces, when the answer has begun, and what comes after the twelfth waits
for it.
"""

SENDING = """
import asyncio, threading
from outlast.mirror.streaming import StreamingFile
from outlast.server.http.files import Delivery
from outlast.server.tuning import TUNING
object.__setattr__(TUNING, "streamed_slice", 1 << 16)
over = threading.Event()
send, end = Delivery._send, StreamingFile.end
async def wait(self, *what):
    sent = await send(self, *what)
    while not over.is_set():
        await asyncio.sleep(0.01)
    return sent
def note(self, error):
    end(self, error)
    over.set()
Delivery._send, StreamingFile.end = wait, note
"""
"""The fetch is over before all that a client may have is on its way."""

UNSEEN = """
from outlast.fetch.transfer import Work
real = Work.read_local
def fail(self, entry, digest):
    if self.archive.has(digest, entry.size):
        raise ValueError("unseen")
    return real(self, entry, digest)
Work.read_local = fail
"""


def _ask(node: Node, path: str) -> tuple[Reply, bool]:
    """The answer, and whether the connection ended with it."""
    with Wire(node.url) as wire:
        wire.ask(path)
        reply = wire.reply()
        assert reply.status == 200, reply
        return reply, wire.ended()


@pytest.mark.parametrize("at", [500_000, len(WEIGHTS) - 100])
def test_the_disk_fails(served: Served, at: int) -> None:
    with Node(served.node.home, sabotage=DISK.replace("{at}", str(at))) as node:
        reply, ended = _ask(node, target("model.safetensors", MODEL))
        assert same(reply.body, WEIGHTS[:at])
        assert ended
        assert once(node.url, target("config.json", MODEL)).body == b'{"a": 1}\n'
        until(lambda: [line for line in node.lines() if "Input/output" in line], "a word about it")


@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS", "EOVERFLOW", "EOPNOTSUPP"])
@pytest.mark.parametrize("at", [0, 500_000])
def test_the_kernel_cannot_send_files(served: Served, name: str, at: int) -> None:
    sabotage = UNABLE.replace("{at}", str(at)).replace("{name}", name)
    with Node(served.node.home, sabotage=sabotage) as node:
        with Wire(node.url) as wire:
            for _ in range(2):  # and the connection stays usable
                wire.ask(target("model.safetensors", MODEL))
                reply = wire.reply()
                assert reply.status == 200
                assert same(reply.body, WEIGHTS)
        part = once(node.url, target("model.safetensors", MODEL), Range="bytes=1000-600000")
        assert part.status == 206
        assert same(part.body, WEIGHTS[1000:600001])


@pytest.mark.parametrize(
    "error", ["ValueError('a bug')", "OSError(5, 'Input/output error')", "MemoryError()"]
)
@pytest.mark.parametrize("reader", ["", SENDING], ids=["waiting", "sending"])
def test_a_bug_shows_while_a_file_arrives(tmp_path: Path, error: str, reader: str) -> None:
    data = weights(tmp_path / "weights", SIZE)
    HubRepo(tmp_path / "hub", MODEL).commit({"model.safetensors": tmp_path / "weights"})
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        sabotage = BUG.replace("{error}", error) + reader
        with Node(tmp_path / "home", "--upstream", hub.url, sabotage=sabotage) as node:
            reply, ended = _ask(node, target("model.safetensors", MODEL))
            assert len(reply.body) < SIZE
            assert same(reply.body, data[: len(reply.body)])
            assert ended
            name = error.partition("(")[0]
            until(lambda: [line for line in node.lines() if name in line], "a word about it")
            until(lambda: [line for line in node.access() if "status" in line], "its access line")
            (line,) = [line for line in node.access() if "status" in line]
            assert (line["status"], line["bytes"]) == (200, len(reply.body))


def test_a_bug_shows_where_no_client_waits(tmp_path: Path) -> None:
    """The bytes are here, and sent; reading them once more for their names fails."""
    data = weights(tmp_path / "weights", SIZE)
    for name in (MODEL, "org/same"):
        HubRepo(tmp_path / "hub", name).commit(
            {"model.safetensors": tmp_path / "weights", "a.txt": b"a"}
        )
    with (
        HubSim(tmp_path / "hub", mode="thread") as hub,
        Node(tmp_path / "home", "--upstream", hub.url, "--quiet", sabotage=UNSEEN) as node,
    ):
        for name in (MODEL, "org/same"):
            assert same(once(node.url, target("model.safetensors", name)).body, data)
        until(lambda: _bugs(node), "a word about it")
        (bug,) = _bugs(node)
        assert bug["level"] == "error"
        assert "Traceback" in bug["traceback"]


def _bugs(node: Node) -> list[dict[str, Any]]:
    return [line for line in node.access() if "ValueError: unseen" in line.get("traceback", "")]


@pytest.mark.parametrize(
    "log",
    [
        "end, start = os.pipe(); os.close(end); os.dup2(start, 2)",
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)",
        "import sys; os.close(2); sys.stderr = None",
    ],
    ids=["no reader", "its disk is full", "it is closed"],
)
def test_the_log_cannot_be_written(served: Served, log: str) -> None:
    with Node(served.node.home, sabotage=f"import os; {log}") as node, Wire(node.url) as wire:
        for _ in range(3):
            wire.ask(target("config.json", MODEL))
            assert wire.reply().body == b'{"a": 1}\n'
            wire.ask("/none/at/all")
            assert wire.reply().status == 404


def test_no_file_can_be_written(served: Served, tmp_path: Path) -> None:
    """A new file does not fit; what is here is served all the same."""
    weights(tmp_path / "weights", SIZE)
    HubRepo(tmp_path / "hub", "org/new").commit({"model.safetensors": tmp_path / "weights"})
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))"
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        home = copied(served.node.home, tmp_path / "home")
        with Node(home, "--upstream", hub.url, sabotage=limit) as node:
            reply = once(node.url, target("model.safetensors", "org/new"))
            assert reply.status in {500, 503, 507}
            assert reply.headers["x-error-message"]
            assert same(once(node.url, target("model.safetensors", MODEL)).body, WEIGHTS)
            assert once(node.url, f"/api/models/{MODEL}").status == 200
            assert not [line for line in node.lines() if line.startswith("Traceback")]


@pytest.mark.parametrize("damaged", ["refs", "manifests"])
def test_one_model_is_damaged(served: Served, tmp_path: Path, damaged: str) -> None:
    """That is an error for the clients that ask for it, and for no other."""
    home = copied(served.node.home, tmp_path / "home")
    data = f"/datasets/{DATASET}/resolve/main/README.md"
    with Node(home) as node:
        files = [file for file in (home / damaged).rglob("*") if file.is_file()]
        for file in files:
            mine = "models" in file.parts or b'"org/model"' in file.read_bytes()
            if mine and file.name != ".about":
                file.unlink()
                file.write_bytes(b"nonsense")
        for path in (target("config.json", MODEL), f"/api/models/{MODEL}"):
            reply = once(node.url, path)
            assert reply.status in {404, 500, 502}
            assert reply.headers["x-error-message"]
        assert once(node.url, data).body == b"# data\n"
        assert node.get("/api/datasets").json[0]["id"] == DATASET
        assert node.get("/api/models").status == 200
        assert not [line for line in node.lines() if line.startswith("Traceback")]
