"""Blobs that are held as capsules are decoded on the way out: clients cannot tell."""

import contextlib
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlast.codec import format as fmt
from outlast.core.digest import Digest
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim
from tests.serve.forms import BLOCK, flip, floats, pack, tuned, unpack
from tests.serve.node import Node, outlast, pull, until
from tests.serve.upstream import same, sha256, target
from tests.serve.wire import Wire, once, several

PATH = target("model.safetensors", "org/tuned")
BLOCKS = 12
BASE = floats(BLOCKS)
DATA = tuned(BASE)
NAME = sha256(DATA)


@dataclass(frozen=True)
class Packed:
    """An archive whose model is held in one form."""

    home: Path
    form: str


def fill(root: Path) -> Path:
    for repo, data in (("org/base", BASE), ("org/tuned", DATA)):
        weights = root / repo.replace("/", "-")
        weights.write_bytes(data)
        HubRepo(root / "hub", repo).commit({"model.safetensors": weights})
    with HubSim(root / "hub", mode="thread") as hub:
        pull(root / "home", hub.url, "org/base", "org/tuned")
    with Archive(root / "home") as archive:
        plain = {blob.digest.hex for blob in archive.plain_blobs()}
    for name in {NAME, sha256(BASE)} - plain:
        unpack(root / "home", name)
    return root / "home"


@pytest.fixture(scope="module", params=["plain", "capsule", "thin", "thin on capsule"])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    home = fill(tmp_path_factory.mktemp("forms"))
    if request.param == "thin on capsule":
        pack(home, sha256(BASE))
    if request.param != "plain":
        pack(home, NAME, sha256(BASE) if request.param.startswith("thin") else None)
    return Packed(home, request.param)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An archive that holds the model as a capsule."""
    home = fill(tmp_path)
    pack(home, NAME)
    return home


def rest(wire: Wire) -> bytes:
    """What comes until the connection ends."""
    parts = []
    while part := wire.read(1 << 16):
        parts.append(part)
    return b"".join(parts)


def capsule_of(home: Path) -> tuple[Path, fmt.Directory]:
    with Archive(home) as archive, archive.open_blob(Digest(NAME)) as blob:
        assert blob.capsule is not None
        return archive.layout.capsule(Digest(NAME)), blob.capsule.directory


class TestTheSameBytes:
    def test_everything_a_client_sees(self, packed: Packed) -> None:
        with Node(packed.home) as node:
            whole = once(node.url, PATH)
            assert same(whole.body, DATA)
            head = once(node.url, PATH, "HEAD")
            for reply in (whole, head):
                assert reply.headers["etag"] == f'"{NAME}"'
                assert reply.headers["x-linked-size"] == str(len(DATA))
                assert reply.headers["content-length"] == str(len(DATA))
            assert node.metric("outlast_sent_bytes_total") == len(DATA)

    def test_ranges_wherever_they_begin_on_one_connection(self, packed: Packed) -> None:
        rng = random.Random(packed.form)
        edges = [n * BLOCK + d for n in range(BLOCKS) for d in (-1, 0, 1, 200)]
        places = [rng.randrange(len(DATA)) for _ in range(20)]
        with Node(packed.home) as node, Wire(node.url) as wire:
            for start in (edge for edge in (*edges, *places) if 0 <= edge < len(DATA)):
                stop = min(len(DATA), start + rng.choice([1, 7, 4096, BLOCK, 3 * BLOCK]))
                wire.ask(PATH, Range=f"bytes={start}-{stop - 1}")
                assert same(wire.reply().body, DATA[start:stop])

    def test_many_ranges_at_once(self, packed: Packed) -> None:
        """As clients fetch a file in parts; memory is far too small for all of them."""
        tuned = {"outlast.server.tuning.TUNING.decoded": 4 * BLOCK}
        sizes = [random.Random(n).randrange(1, 2 * BLOCK) for n in range(60)]
        starts = [random.Random(-n).randrange(len(DATA)) for n in range(60)]
        with Node(packed.home, tuned=tuned) as node, ThreadPoolExecutor(16) as pool:

            def fetch(start: int, size: int) -> bool:
                reply = once(node.url, PATH, Range=f"bytes={start}-{start + size - 1}")
                return reply.body == DATA[start : start + size]

            assert all(pool.map(fetch, starts, sizes))

    def test_slow_and_vanishing_clients_hold_up_no_other(self, packed: Packed) -> None:
        tuned = {"outlast.server.tuning.TUNING.decoded": 4 * BLOCK}
        with Node(packed.home, tuned=tuned) as node:
            with several(node.url, 12, buffer=4096) as wires:
                for wire in wires:
                    wire.ask(PATH, Connection="close")
                    assert wire.head().status == 200
                assert same(once(node.url, PATH).body, DATA)
                for wire in wires[4:]:
                    wire.close()
                for wire in wires[:4]:
                    body = rest(wire)
                    assert same(body, DATA)
            assert same(once(node.url, PATH).body, DATA)

    def test_who_does_not_read_is_parted_from(self, packed: Packed) -> None:
        with (
            Node(packed.home, "--stall", "0.5") as node,
            Wire(node.url, buffer=4096) as wire,
        ):
            wire.ask(PATH)
            until(lambda: [line for line in node.access() if "status" in line], "its end")
            (line,) = node.access()
            assert line["bytes"] < len(DATA)
            assert not wire.reply().complete


class TestDamage:
    def test_a_damaged_block_cuts_the_answer_short(self, home: Path) -> None:
        path, directory = capsule_of(home)
        block = directory.block(7)
        flip(path, block.payload_offset + block.payload_length // 2)
        with Node(home) as node:
            reply = once(node.url, PATH)
            assert reply.headers["content-length"] == str(len(DATA))
            assert same(reply.body, DATA[: block.offset])
            start = block.offset + block.length  # which was right; but what is damaged is known
            reply = once(node.url, PATH, Range=f"bytes={start}-")
            assert (reply.status, reply.headers["x-error-code"]) == (503, "DamagedFile")
            assert "block 7" in reply.headers["x-error-message"]
            assert node.metric("outlast_damaged_answers_total") == 1
            assert node.metric("outlast_damaged_blobs") == 1
            said = [line["error"] for line in node.access() if line["what"] == "damage"]
            assert len(said) == 1
            assert "block 7" in said[0]

    def test_a_capsule_that_cannot_be_opened_is_an_error(self, home: Path) -> None:
        path, directory = capsule_of(home)
        for at in (10, directory.packed_size + 10):
            flip(path, directory.payload_end + at)
        with Node(home) as node:
            reply = once(node.url, PATH)
            assert (reply.status, len(reply.body) < BLOCK) == (503, True)
            assert once(node.url, PATH, "HEAD").headers["etag"] == f'"{NAME}"'


class TestChangesOfForm:
    def test_under_a_running_answer_and_before_the_next(self, home: Path) -> None:
        with Node(home, tuned={"outlast.server.tuning.TUNING.tidy_every": 0.1}) as node:
            for change in (unpack, pack, unpack, pack):
                with Wire(node.url, buffer=4096) as wire:
                    wire.ask(PATH, Connection="close")
                    assert wire.head().status == 200
                    change(home, NAME)
                    body = rest(wire)
                    assert same(body, DATA)
                assert same(once(node.url, PATH).body, DATA)
            assert node.process is not None
            files = Path(f"/proc/{node.process.pid}/fd")
            until(lambda: not any("deleted" in path for path in _open(files)), "closing")

    def test_a_mirror_does_not_ask_for_what_is_here(self, home: Path) -> None:
        with HubSim(home.parent / "hub", mode="thread") as hub:
            with Node(home, "--upstream", hub.url) as node:
                assert same(once(node.url, PATH).body, DATA)
                assert same(once(node.url, PATH, Range="bytes=9-99").body, DATA[9:100])
            assert not hub.requests(what="resolve")
        assert not (home / "blobs" / NAME[:2] / NAME).exists()

    def test_what_is_collected_is_gone(self, home: Path) -> None:
        with Node(home) as node, Wire(node.url, buffer=4096) as wire:
            wire.ask(PATH, Connection="close")
            assert wire.head().status == 200
            outlast(home, "rm", "org/tuned")
            outlast(home, "gc")
            body = rest(wire)
            assert same(body, DATA)
            assert once(node.url, PATH).status == 401  # as of a model that it never had


def _open(folder: Path) -> list[str]:
    """What the descriptors of a process lead to; it closes some meanwhile."""
    found = []
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(file))
    return found
