"""What is shared: registered, seeded to ordinary clients, followed as it changes, ended."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import libtorrent as lt
import pytest

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError
from outlast.core.events import Event, Note
from outlast.core.names import RepoId
from outlast.node import shared_torrents as shares
from outlast.node.node import Node
from outlast.node.policy import SharePolicy, Sharing
from outlast.node.torrent_seeder import RevisionSeeding
from outlast.sources.peer import peer_client
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.torrent.read import read_torrent
from tests.cli.call import inside, until
from tests.core.test_manifest import WIDE_PATHS
from tests.noise import noise
from tests.store.weights import model
from tests.swarm.seeds import LOOPBACK, Puller, write

BASE = model(7, 900_000)
FILES = {
    "config.json": b"{}",
    "empty": b"",
    "model.safetensors": BASE,
    "noise.bin": noise(4, 2_500_000),
}
REPO = RepoId.parse("me/model")


def shared(home: Path, form: str = "plain", files: Mapping[str, bytes] = FILES) -> dict[str, bytes]:
    """Adds and shares the model; the .torrent files by infohash."""
    folder = write(home / "folder", files)
    inside("add", folder, "--as", "me/model", "--form", form, home=home).ok()
    inside("share", "me/model", "--v1", "--out", home / "out", home=home).ok()
    found = {}
    for path in sorted((home / "out").glob("*.torrent")):
        link = read_torrent(path.read_bytes())
        found[(link.infohash_v2 or link.infohash_v1 or b"").hex()] = path.read_bytes()
    assert len(found) == 2
    return found


class Seeds:
    """A node that seeds what an archive shares, on the loopback, and what it said."""

    def __init__(self, archive: Archive, node: Node, seeding: RevisionSeeding) -> None:
        self.archive = archive
        self.node = node
        self.seeding = seeding
        self.events: list[Event] = []

    @property
    def address(self) -> tuple[str, int]:
        return LOOPBACK, self.node.session.port

    def notes(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Note))


@contextlib.contextmanager
def seeds(home: Path, *, decodes: bool = True) -> Iterator[Seeds]:
    events: list[Event] = []
    control = Control(events.append)
    with Archive(home / "archive") as archive:
        sharing = Sharing(archive, SharePolicy())
        http = peer_client(HttpSettings())
        with Node(archive, sharing, SwarmSettings(private=True), http, control, lan=False) as node:
            node.session.set_static([LOOPBACK])
            with RevisionSeeding(node, control, decodes=decodes) as seeding:
                found = Seeds(archive, node, seeding)
                found.events = events
                yield found


class Leech:
    """An ordinary client."""

    def __init__(self, torrent: bytes, folder: Path, port: int) -> None:
        self._session = lt.session(
            {
                "listen_interfaces": f"{LOOPBACK}:0",
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "alert_mask": 0,
                "enable_outgoing_utp": False,
                "out_enc_policy": int(lt.enc_policy.pe_forced),
                "min_reconnect_time": 1,
            }
        )
        params = lt.load_torrent_buffer(torrent)
        folder.mkdir()
        params.save_path = str(folder)
        params.flags = lt.torrent_flags.update_subscribe
        self._handle = self._session.add_torrent(params)
        self._peer = (LOOPBACK, port)
        self.folder = folder

    def status(self) -> lt.torrent_status:
        self._handle.connect_peer(self._peer)
        return self._handle.status()

    def close(self) -> None:
        self._session.pause()


@contextlib.contextmanager
def leech(torrent: bytes, folder: Path, port: int) -> Iterator[Leech]:
    with contextlib.closing(Leech(torrent, folder, port)) as found:
        yield found


def came(folder: Path) -> dict[str, bytes]:
    """The files below the folder that the torrent names: none before the client has made it."""
    tops = [*folder.iterdir()]
    assert len(tops) <= 1
    return {
        str(path.relative_to(top)): path.read_bytes()
        for top in tops
        for path in top.rglob("*")
        if path.is_file()
    }


def stats(home: Path) -> set[tuple[str, int, int]]:
    """All blobs and capsules, as they lie there."""
    paths = [*(home / "archive/blobs").rglob("*"), *(home / "archive/capsules").rglob("*")]
    found = ((path, path.stat()) for path in paths if path.is_file())
    return {(path.name, stat.st_ino, stat.st_mtime_ns) for path, stat in found}


@pytest.mark.parametrize("form", ["plain", "capsule"])
def test_clients_get_all_files(tmp_path: Path, form: str) -> None:
    torrents = shared(tmp_path, form)
    before = stats(tmp_path)
    with seeds(tmp_path) as found:
        for infohash, torrent in torrents.items():
            folder = tmp_path / infohash
            with leech(torrent, folder, found.node.session.port) as client:
                until(partial(lambda c: c.status().is_seeding, client), "all has come", 20)
            # The client's disk threads write on for a moment.
            until(lambda: came(folder) == FILES, "all is on the disk")  # noqa: B023 - called at once
        assert found.seeding.seeding == 2
        assert found.notes() == ""
    assert stats(tmp_path) == before


def test_names_that_not_every_system_has(tmp_path: Path) -> None:
    """They are in the torrent as they are, so that hubs can be web seeds. A client makes them fit
    for its own system, as it has to do with every torrent; libtorrent drops backslashes, and
    renames twins.
    """
    files = {path: path.encode() * 99 for path in WIDE_PATHS}
    torrents = shared(tmp_path, files=files)
    with seeds(tmp_path) as found:
        for infohash, torrent in torrents.items():
            assert {file.path for file in read_torrent(torrent).files} == files.keys()
            folder = tmp_path / infohash
            with leech(torrent, folder, found.address[1]) as client:
                until(partial(lambda c: c.status().is_seeding, client), "all has come", 20)
            until(
                lambda: sorted(came(folder).values()) == sorted(files.values()),  # noqa: B023 - called at once
                "all is on the disk",
            )
            second = Puller(tmp_path / f"{infohash}-archive")
            pulled = second.pull(torrent, found)
            assert pulled.revision is not None
            assert {entry.path: entry.size for entry in pulled.revision.files} == {
                path: len(data) for path, data in files.items()
            }
        assert found.notes() == ""


def test_without_room_for_a_copy_the_rest_is_seeded(tmp_path: Path) -> None:
    torrents = shared(tmp_path, "capsule")
    with seeds(tmp_path, decodes=False) as found:
        until(lambda: found.seeding.seeding == 2, "both are seeded")
        assert "'model.safetensors'" in found.notes()
        for infohash, torrent in torrents.items():
            # Of version 1 pieces run over the ends of what is left out, and are left out too.
            pieces = 4 if len(infohash) == 64 else 3
            with leech(torrent, tmp_path / infohash, found.node.session.port) as client:
                come = partial(lambda c, n: c.status().num_pieces == n, client, pieces)
                until(come, "the rest has come", 20)
                assert not client.status().is_seeding
    assert not list((tmp_path / "archive").glob("copies/*/*"))


def test_what_changes_is_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", FILES)
    inside("add", folder, "--as", "me/model", "--form", "plain", home=tmp_path).ok()
    with seeds(tmp_path) as found:
        torrents = shared(tmp_path)
        until(lambda: found.seeding.seeding == 2, "it is seeded")
        # In another form the same is seeded from elsewhere.
        inside("pack", "me/model", home=tmp_path).ok()
        [copy] = until_copies(tmp_path)
        assert copy == Digest.of(BASE).hex
        [torrent, _] = torrents.values()
        with leech(torrent, tmp_path / "came", found.node.session.port) as client:
            until(lambda: client.status().is_seeding, "all has come", 20)
        inside("rm", "me/model", home=tmp_path).ok()
        until(lambda: found.seeding.seeding == 0, "it is seeded no more")
        assert found.archive.shares.stamps() == {}


def until_copies(home: Path) -> list[str]:
    copies = home / "archive" / "copies"
    until(lambda: list(copies.glob("??/*")), "there is a copy")
    return [path.name for path in copies.glob("??/*")]


def test_stop_ends_it(tmp_path: Path) -> None:
    torrents = shared(tmp_path)
    with seeds(tmp_path) as found:
        until(lambda: found.seeding.seeding == 2, "it is seeded")
        call = inside("share", "--stop", "me/model", home=tmp_path).ok()
        assert set(call.out.split()) == set(torrents)
        until(lambda: found.seeding.seeding == 0, "it is seeded no more")
    assert inside("share", "--stop", "me/model", home=tmp_path).ok().out == ""


def test_what_is_revoked_is_seeded_no_more_until_it_is_accepted(tmp_path: Path) -> None:
    shared(tmp_path)
    inside("key", "new", "work", home=tmp_path).ok()
    with seeds(tmp_path) as found:
        until(lambda: found.seeding.seeding == 2, "it is seeded")
        inside("revoke", "me/model", "--reason", "a backdoor", home=tmp_path).ok()
        until(lambda: found.seeding.seeding == 0, "it is seeded no more")
        again = ("share", "me/model", "--out", tmp_path / "again")
        inside(*again, home=tmp_path).failed("revoked")
        (digest,) = (path.name for path in (tmp_path / "archive/trust/revoked").iterdir())
        inside(*again, "--accept-revoked", digest, home=tmp_path).ok()
        until(lambda: found.seeding.seeding == 2, "it is seeded again")


def test_without_seeding_nothing_is_registered(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", {"a": b"a"})
    inside("add", folder, "--as", "me/model", home=tmp_path).ok()
    inside("share", "me/model", "--no-seed", "--out", tmp_path / "out", home=tmp_path).ok()
    assert not (tmp_path / "archive" / "shared").exists()


def test_what_is_gated_is_for_static_peers(tmp_path: Path) -> None:
    torrents = shared(tmp_path)
    with Archive(tmp_path / "archive") as archive, archive.writer() as writer:
        archive.refs.put_about(writer, REPO, About(gated="manual"))
    with seeds(tmp_path) as found:
        until(lambda: found.seeding.seeding == 2, "it is seeded")
        assert all(each.plan.restricted for each in found.seeding._seeded.values())
        found.node.session.set_static([])
        [torrent, _] = torrents.values()
        with leech(torrent, tmp_path / "came", found.node.session.port) as client:
            tries = iter(range(20))
            until(lambda: client.status().num_pieces or next(tries) == 19, "it has tried")
            assert client.status().num_pieces == 0


def test_damage_is_told(tmp_path: Path) -> None:
    torrents = shared(tmp_path)
    digest = Digest.of(FILES["noise.bin"]).hex
    path = tmp_path / "archive" / "blobs" / digest[:2] / digest
    os.chmod(path, 0o644)
    with path.open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"damage")
    with seeds(tmp_path) as found:
        torrent = torrents[max(torrents, key=len)]  # of v2: each block proves itself
        with leech(torrent, tmp_path / "came", found.node.session.port) as client:
            until(
                lambda: client.status().num_pieces and "damaged" in found.notes(), "it is told", 20
            )
            assert not client.status().is_seeding


def test_a_registered_torrent_is_not_believed(tmp_path: Path) -> None:
    torrents = shared(tmp_path)
    infohash, other = sorted(torrents, key=len, reverse=True)
    folder = tmp_path / "archive" / "shared"
    (folder / f"{infohash}.torrent").write_bytes((folder / f"{other}.torrent").read_bytes())
    (folder / f"{other}.torrent").write_bytes(b"nonsense")
    (folder / "note.txt").write_text("a stranger")
    with Archive(tmp_path / "archive") as archive:
        for name in torrents:
            with pytest.raises(IntegrityError):
                shares.load(archive, name)
        assert list(shares.registered(archive)) == []
    with seeds(tmp_path) as found:
        until(lambda: found.notes().count("not seeded") == 2, "both are told")
        assert found.seeding.seeding == 0
