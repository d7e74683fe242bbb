"""Damaged bytes are never served: not before the damage was seen, and not afterwards."""

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.node import payloads
from outlast.node.seeder import Seeder
from outlast.store.archive import Archive
from outlast.store.soundness.damage import Damage, Why
from outlast.swarm.client.session import TorrentSession
from outlast.swarm.settings import SwarmSettings
from tests.campaign import LONG, SEED
from tests.cli.call import inside
from tests.noise import noise
from tests.serve.forms import flip, floats, pack
from tests.serve.node import Node
from tests.serve.peers import OPEN, PLAIN, V1, Peer, archive_files, get, sha
from tests.serve.wire import once

MIB = 1 << 20
DATA = {"plain": noise(7, 12 * MIB + 99), "capsule": floats(12)}
PATH = "/me/m/resolve/main/data.safetensors"


@pytest.fixture(params=DATA)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path, form: str) -> Path:
    """An archive with a model of one file."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "data.safetensors").write_bytes(DATA[form])
    inside("add", tmp_path / "model", "--as", "me/m", "--form", "plain", home=tmp_path).ok()
    if form == "capsule":
        pack(tmp_path / "archive", Digest.of(DATA[form]).hex)
    return tmp_path


def damage(home: Path, form: str, part: float) -> Path:
    """Flips a bit at a part of the way through what holds the file."""
    digest = Digest.of(DATA[form])
    with Archive(home / "archive") as archive:
        path = archive.layout.blob(digest) if form == "plain" else archive.layout.capsule(digest)
    flip(path, int(path.stat().st_size * part))
    return path


def shown(home: Path) -> str:
    line = json.loads(inside("ls", "--json", home=home).out)
    return "damaged" if line["damaged"] else "complete"


def test_a_flipped_bit_is_never_served(home: Path, form: str) -> None:
    data, archive = DATA[form], home / "archive"
    with Node(archive) as node:
        assert node.get(PATH).body == data
        damage(home, form, 0.8)
        first = node.get(PATH)  # cut short where it is damaged
        assert (first.status, first.broken) == (200, True)
        assert data.startswith(first.body)
        for headers in ({}, {"Range": "bytes=0-9"}, {"Range": f"bytes={len(data) - 9}-"}):
            reply = once(node.url, PATH, **headers)
            assert (reply.status, reply.headers["x-error-code"]) == (503, "DamagedFile")
            assert "damaged" in reply.headers["x-error-message"]
        assert node.metric("outlast_damaged_blobs") == 1
        assert shown(home) == "damaged"
    with Node(archive) as node:  # and after a restart
        assert once(node.url, PATH).status == 503
        assert inside("verify", home=home).code == 4
        assert once(node.url, PATH).status == 503
        inside("link", "me/m", "--folder", home / "out", home=home).failed("damaged")
        assert not (home / "out").exists()
        show = inside("show", "me/m", home=home)
        assert "DAMAGED" in show.out
        assert "damage" in inside("doctor", home=home).out


def test_a_damaged_beginning_is_refused_before_any_header(home: Path, form: str) -> None:
    damage(home, form, 0.02)
    with Node(home / "archive") as node:
        reply = once(node.url, PATH)
        if form == "plain":
            assert reply.status == 503
        assert DATA[form].startswith(reply.body if reply.status == 200 else b"")
        assert once(node.url, PATH).status == 503


def test_what_another_process_found_counts_at_once(home: Path, form: str) -> None:
    with Node(home / "archive") as node:
        assert node.get(PATH).body == DATA[form]
        path = damage(home, form, 0.5)
        assert inside("verify", home=home).code == 4
        assert once(node.url, PATH, Range="bytes=0-0").status == 503
        flip(path, int(path.stat().st_size * 0.5))
        assert once(node.url, PATH, Range="bytes=0-0").status == 503
        inside("verify", home=home).ok()
        assert node.get(PATH).body == DATA[form]
        assert shown(home) == "complete"


def test_a_pull_fetches_what_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    data = random.Random(8).randbytes(3 * MIB)
    source = tmp_path / "source"
    source.mkdir()
    (source / "data.bin").write_bytes(data)
    inside("add", source, "--as", "me/m", "--form", "plain", home=tmp_path / "one").ok()
    with Node(tmp_path / "one" / "archive") as hub:
        pull = ["pull", "me/m", "--from", hub.url, "--form", "plain"]
        inside(*pull, home=tmp_path).ok()
        with Archive(tmp_path / "archive") as archive:
            path = archive.layout.blob(Digest.of(data))
        flip(path, 2 * MIB + 5)
        assert inside("verify", home=tmp_path).code == 4
        assert shown(tmp_path) == "damaged"
        inside(*pull, home=tmp_path).ok()
    assert path.read_bytes() == data
    assert shown(tmp_path) == "complete"
    inside("verify", home=tmp_path).ok()


def rot(path: Path, at: int) -> None:
    """Flips a bit of what the disk holds, and none of what memory holds of the file: a request that
    is being answered may have compared those bytes, and go on to send them.
    """
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    other = path.with_name("rotten")
    other.write_bytes(data)
    other.chmod(0o444)
    other.replace(path)


def test_random_flips_while_a_client_reads(tmp_path: Path) -> None:
    """Each answer is right as far as it goes, whatever is flipped meanwhile, and put right again
    (of which the archive learns by a full check alone).
    """
    rng = random.Random(SEED)
    data = rng.randbytes(3 * MIB)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "data.safetensors").write_bytes(data)
    inside("add", tmp_path / "model", "--as", "me/m", "--form", "plain", home=tmp_path).ok()
    archive = Archive(tmp_path / "archive")
    path = archive.layout.blob(Digest.of(data))
    wrong: list[str] = []
    stop = threading.Event()
    with archive, Node(tmp_path / "archive") as node:

        def client() -> None:
            while not stop.is_set():
                start = rng.randrange(len(data))
                reply = node.get(PATH, Range=f"bytes={start}-")
                if reply.status == 206 and not data[start:].startswith(reply.body):
                    wrong.append(f"from {start}: {len(reply.body)} bytes")

        thread = threading.Thread(target=client)
        thread.start()
        try:
            for _ in range(1000 if LONG else 12):
                at = rng.randrange(len(data))
                rot(path, at)
                reply = node.get(PATH)
                assert data.startswith(reply.body) or reply.status == 503
                assert reply.broken or reply.status == 503
                rot(path, at)
                inside("verify", home=tmp_path).ok()
        finally:
            stop.set()
            thread.join()
        assert node.get(PATH).body == data
    assert not wrong


# Nodes


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    with Archive(tmp_path, create=True) as archive:
        peer = Peer(archive)
        peer.shares.share(archive_files(archive, OPEN, {"plain.bin": PLAIN, "w": DATA["capsule"]}))
        with peer.serving():
            pack(tmp_path, sha(DATA["capsule"]).hex)
            payloads.tree(archive, sha(DATA["capsule"]), Form.CAPSULE, Cancel())
            yield peer


def offered(peer: Peer, blob: Digest) -> Any:
    body = json.dumps({"blobs": [blob.hex]}).encode()
    reply = once(peer.url, f"{V1}/payloads", "POST", body)
    return json.loads(reply.body)["payloads"].get(blob.hex)


@pytest.mark.parametrize("what", ["blobs", "capsules"])
def test_peers_get_no_damaged_bytes(peer: Peer, what: str) -> None:
    data = PLAIN if what == "blobs" else DATA["capsule"]
    blob, layout = sha(data), peer.archive.layout
    path = layout.blob(blob) if what == "blobs" else layout.capsule(blob)
    whole = path.read_bytes()
    assert offered(peer, blob) is not None
    assert get(peer, f"/{what}/{blob}").body == whole
    flip(path, len(whole) // 2)
    reply = get(peer, f"/{what}/{blob}")
    assert whole.startswith(reply.body) or reply.status == 503
    assert not reply.complete
    assert peer.archive.damage.of(blob)
    assert offered(peer, blob) is None
    assert get(peer, f"/{what}/{blob}").status == 503


class TestSeeding:
    @pytest.fixture
    def seeder(self, tmp_path: Path) -> Iterator[tuple[Archive, Seeder, TorrentSession]]:
        settings = SwarmSettings(dht=False)
        with (
            Archive(tmp_path, create=True) as archive,
            TorrentSession(settings, (), lambda _event: None) as session,
        ):
            archive_files(archive, OPEN, {"plain.bin": PLAIN})
            sharing = _Open(archive)
            yield archive, Seeder(archive, sharing, session, bool, Cancel()), session  # type: ignore[arg-type]

    def test_a_file_is_compared_before(
        self, seeder: tuple[Archive, Seeder, TorrentSession]
    ) -> None:
        archive, it, _ = seeder
        flip(archive.layout.blob(sha(PLAIN)), MIB + 1)
        it.follow()
        assert len(it) == 0
        assert [one.parts for one in archive.damage.of(sha(PLAIN))] == [(1,)]

    def test_what_proves_damaged_is_taken_out(
        self, seeder: tuple[Archive, Seeder, TorrentSession]
    ) -> None:
        archive, it, session = seeder
        it.follow()
        (payload,) = payloads.held(archive, sha(PLAIN))
        assert session.torrent(payload.root) is not None
        archive.damage.note(Damage(sha(PLAIN), Form.PLAIN, Why.ROT, "another process", (2,)))
        it.follow()
        assert session.torrent(payload.root) is None
        archive.damage.clear(sha(PLAIN))
        it.follow()
        assert session.torrent(payload.root) is not None

    def test_what_libtorrent_sees_is_noted(
        self, seeder: tuple[Archive, Seeder, TorrentSession]
    ) -> None:
        archive, it, _ = seeder
        it.follow()
        (payload,) = payloads.held(archive, sha(PLAIN))
        assert it.damaged(payload.root, 2) == payload
        assert [one.parts for one in archive.damage.of(sha(PLAIN))] == [(2,)]


class _Open:
    """A policy that shares all."""

    version = 1

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def blobs(self) -> dict[Digest, bool]:
        return {blob.digest: False for blob in self._archive.blobs()}

    def allows_capsule(self, _bases: object, *, trusted: bool) -> bool:
        return trusted
