"""Pulling links and torrents of others, from an ordinary client on the loopback."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import libtorrent as lt
import pytest

from outlast.codec.hashing import names_of
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import (
    BusyError,
    Cancelled,
    CorruptError,
    DiskFullError,
    MalformedError,
    NotArchivedError,
    SuspectContentError,
    UnreachableError,
    UsageError,
)
from outlast.core.events import Note, Planned, Progress, SuspectContent
from outlast.core.names import RepoId, Target
from outlast.intake.form_policy import FormWish, FormWishes
from outlast.ops import pull_link as linked
from outlast.ops.pull_link import LinkWishes
from outlast.store.linkpartials import KEPT, LinkPartial
from outlast.swarm.client import add_params
from outlast.swarm.client import multi_file as foreign
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent import payload_torrent as metainfo
from outlast.swarm.torrent.magnet import Link
from outlast.swarm.torrent.read import read_torrent
from outlast.swarm.torrent.v1_check import V1Pieces
from tests.cli.call import end_all, finish, inside, start, until
from tests.noise import noise
from tests.store.weights import model, tuned
from tests.swarm.seeds import (
    ELSEWHERE,
    PATIENCE,
    Client,
    Puller,
    client,
    magnet_of,
    make_torrent,
    write,
)

BASE = model(5, 900_000)
FILES = {
    "config.json": b"{}",
    "empty": b"",
    "model.safetensors": BASE,
    "sub/noise.bin": noise(2, 2_500_000),
}
V1 = lt.create_torrent.v1_only
V2 = lt.create_torrent.v2_only
OLDEST = LinkWishes(patience=1.0)


@pytest.fixture
def seeder() -> Iterator[Client]:
    with client() as found:
        yield found


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "archive")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "theirs" / "model", FILES)


def check(puller: Puller, repo: RepoId, files: dict[str, bytes]) -> None:
    """The archive has the files, and nothing is left of the download."""
    with puller.archive() as archive:
        revision = archive.revision(repo)
        assert {entry.path: entry.size for entry in revision.files} == {
            path: len(data) for path, data in files.items()
        }
        for entry in revision.files:
            assert entry.sha256 == Digest.of(files[entry.path])
            with archive.open_blob(Digest.of(files[entry.path])) as blob:
                assert blob.sha256() == entry.sha256
        assert list(archive.layout.partial.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "bare"),
    [(flags, bare) for flags in (0, V1, V2) for bare in (False, True)],
    ids=[f"{a}-{b}" for a in ("hybrid", "v1", "v2") for b in ("torrent", "magnet")],
)
@pytest.mark.parametrize("form", [FormWish.PLAIN, FormWish.AUTO])
def test_what_comes_is_archived(  # noqa: PLR0917 - each is a thing of its own
    seeder: Client, puller: Puller, folder: Path, flags: int, bare: bool, form: FormWish
) -> None:
    torrent = make_torrent(folder, flags)
    seeder.seed(torrent, folder.parent)
    wanted = magnet_of(torrent) if bare else torrent
    wishes = LinkWishes(patience=PATIENCE, forms=FormWishes(form))
    result = puller.pull(wanted, seeder, wishes=wishes)
    link = read_torrent(torrent)
    infohash = (link.infohash_v2 or link.infohash_v1 or b"").hex()
    assert str(result.repo) == f"link/{infohash[:16]}"
    check(puller, result.repo, FILES)
    assert infohash in result.link
    assert sum(result.fetched.values()) >= sum(map(len, FILES.values()))
    progressed = sum(e.count for e in puller.events if isinstance(e, Progress) and e.source)
    [planned] = [e for e in puller.events if isinstance(e, Planned) and e.job == "pull"]
    assert planned.present_bytes + progressed == planned.total_bytes == result.size
    capsules = list((puller.home / "capsules").rglob("*.olc"))
    assert len(capsules) == (form is FormWish.AUTO)
    shown = inside("show", str(result.repo), "--home", puller.home, home=folder).ok()
    assert f"verified against the link {result.link}" in shown.out
    # Once more, without a peer.
    seeder.close()
    again = puller.pull(wanted, wishes=LinkWishes(patience=0))
    assert (again.revision, again.manifest) == (result.revision, result.manifest)


def test_a_torrent_of_one_file(seeder: Client, puller: Puller, tmp_path: Path) -> None:
    path = write(tmp_path / "theirs", {"one.bin": BASE}) / "one.bin"
    made = lt.create_torrent([lt.create_file_entry("one.bin", len(BASE))], 1 << 20)
    lt.set_piece_hashes(made, str(path.parent))
    torrent = lt.bencode(made.generate())
    seeder.seed(torrent, path.parent)
    result = puller.pull(torrent, seeder)
    check(puller, result.repo, {"one.bin": BASE})


def test_a_file_that_is_not_what_its_name_says(
    seeder: Client, puller: Puller, tmp_path: Path
) -> None:
    """It is archived with a warning, now and when it is here; a strict pull refuses it."""
    folder = write(tmp_path / "theirs" / "m", {"a.safetensors": b"<html>" * 50, "b.txt": b"b"})
    torrent = make_torrent(folder)
    seeder.seed(torrent, folder.parent)
    strict = LinkWishes(patience=PATIENCE, strict=True)
    with pytest.raises(SuspectContentError, match=r"a\.safetensors: an HTML"):
        puller.pull(torrent, seeder, wishes=strict)
    with puller.archive() as archive:
        assert archive.summaries() == []
        assert list(archive.refs.repos()) == []
    for _ in range(2):
        assert [s.path for s in puller.pull(torrent, seeder).suspects] == ["a.safetensors"]
        assert [e.kind for e in puller.events if isinstance(e, SuspectContent)] == ["page"]
        puller.events.clear()
    with pytest.raises(SuspectContentError):
        puller.pull(torrent, seeder, wishes=strict)


def test_a_name_of_ones_own(seeder: Client, puller: Puller, folder: Path) -> None:
    torrent = make_torrent(folder)
    seeder.seed(torrent, folder.parent)
    wishes = LinkWishes(Target.parse("me/model@v1"), patience=PATIENCE)
    result = puller.pull(torrent, seeder, wishes=wishes)
    with puller.archive() as archive:
        [ref] = archive.refs.list(RepoId.parse("me/model"))
        assert result.revision is not None
        assert (ref.name, ref.commit) == ("v1", result.revision.id)
    other = make_torrent(write(folder.parent / "other", {"a": b"another"}))
    with pytest.raises(UsageError, match="has another origin"):
        puller.pull(other, wishes=wishes)


def test_a_pull_that_was_stopped_goes_on(seeder: Client, puller: Puller, folder: Path) -> None:
    torrent = make_torrent(folder)
    seeder.seed(torrent, folder.parent, rate=1_500_000)
    came = 0

    def stop(event: object) -> None:
        nonlocal came
        if isinstance(event, Progress):
            came += event.count
            if came > 2_500_000:  # then whole pieces are among it
                puller.cancel.set()

    puller.hear = stop
    with pytest.raises(Cancelled):
        puller.pull(magnet_of(torrent), seeder)
    with puller.archive() as archive:
        [left] = archive.layout.partial.iterdir()
    # Only numbers for names, and nothing outside of its folder.
    assert {path.name for path in left.iterdir()} <= {
        *("lock", "torrent"),
        *(f"{number:07}" for number in range(len(FILES))),
    }
    with client() as quicker:
        quicker.seed(torrent, folder.parent)
        again = Puller(puller.home)
        result = again.pull(magnet_of(torrent), quicker)
    [planned] = [e for e in again.events if isinstance(e, Planned) and e.job == "pull"]
    assert planned.present_bytes > 0
    assert sum(result.fetched.values()) < result.size
    check(again, result.repo, FILES)


def test_two_do_not_write_at_once(puller: Puller, folder: Path) -> None:
    torrent = make_torrent(folder)
    infohash = (read_torrent(torrent).infohash_v2 or b"").hex()
    with (
        puller.archive() as archive,
        LinkPartial(archive.layout, infohash),
        pytest.raises(BusyError),
    ):
        puller.pull(torrent, wishes=OLDEST)


def test_no_peer_is_there(puller: Puller, folder: Path) -> None:
    torrent = make_torrent(folder)
    with pytest.raises(UnreachableError, match="no peer was found"):
        puller.pull(magnet_of(torrent), wishes=OLDEST)
    with pytest.raises(UnreachableError, match="no peer was found"):
        puller.pull(torrent, wishes=OLDEST)


def test_a_dry_run_writes_nothing(seeder: Client, puller: Puller, folder: Path) -> None:
    torrent = make_torrent(folder)
    seeder.seed(torrent, folder.parent)
    result = puller.pull(magnet_of(torrent), seeder, dry_run=True)
    assert (result.files, result.size) == (len(FILES), sum(map(len, FILES.values())))
    assert result.revision is None
    with puller.archive() as archive:
        assert archive.summaries() == []
        assert list(archive.blobs()) == []


# Payloads


def payload_link(data: bytes) -> tuple[Link, bytes]:
    """The bare link of the torrent of a payload, and its .torrent file."""
    names = names_of(data)
    assert names.merkle_root is not None
    tree = Tree(len(data), names.merkle_root, names.layer)
    link = Link(metainfo.infohash(tree), None, name=tree.root.hex, size=tree.size)
    return link, metainfo.torrent(tree)


def capsule_of(home: Path, files: dict[str, bytes], *more: str) -> bytes:
    """The capsule of `model.safetensors`, from an archive of its own."""
    source = write(home / "folder", files)
    inside("add", source, "--as", f"me/{len(more)}", "--form", "capsule", *more, home=home).ok()
    name = Digest.of(files["model.safetensors"]).hex
    return (home / "archive" / "capsules" / name[:2] / f"{name}.olc").read_bytes()


@pytest.mark.parametrize("size", [0, 3_000_000], ids=["one piece", "pieces"])
def test_a_payload_needs_no_torrent(
    seeder: Client, puller: Puller, tmp_path: Path, size: int
) -> None:
    data = Random(3).randbytes(size + 100)
    link, torrent = payload_link(data)
    seeder.seed(torrent, write(tmp_path / "theirs", {link.name: data}))
    result = puller.pull(link, seeder)
    check(puller, result.repo, {link.name: data})


def test_a_capsule_is_what_it_restores(seeder: Client, puller: Puller, tmp_path: Path) -> None:
    capsule = capsule_of(tmp_path / "made", {"model.safetensors": BASE})
    link, torrent = payload_link(capsule)
    seeder.seed(torrent, write(tmp_path / "theirs", {link.name: capsule}))
    result = puller.pull(link, seeder)
    check(puller, result.repo, {Digest.of(BASE).hex: BASE})
    with puller.archive() as archive:
        assert archive.form_of(Digest.of(BASE)).form is Form.CAPSULE


def test_a_delta_capsule_asks_for_its_base(seeder: Client, puller: Puller, tmp_path: Path) -> None:
    home = tmp_path / "made"
    capsule_of(home, {"model.safetensors": BASE})
    thin = capsule_of(home, {"model.safetensors": tuned(BASE, 2)}, "--base", "me/0")
    link, torrent = payload_link(thin)
    seeder.seed(torrent, write(tmp_path / "theirs", {link.name: thin}))
    with pytest.raises(NotArchivedError, match=Digest.of(BASE).hex):
        puller.pull(link, seeder)
    base = write(tmp_path / "base", {"b": BASE})
    inside("add", base, "--as", "me/base", "--home", puller.home, home=tmp_path).ok()
    seeder.close()  # all of it is here
    result = puller.pull(link)
    check(puller, result.repo, {Digest.of(tuned(BASE, 2)).hex: tuned(BASE, 2)})


@pytest.mark.parametrize("at", [100, -60])
def test_what_is_no_capsule_is_a_file(
    seeder: Client, puller: Puller, tmp_path: Path, at: int
) -> None:
    capsule = bytearray(capsule_of(tmp_path / "made", {"model.safetensors": BASE}))
    capsule[at] ^= 1
    data = bytes(capsule)
    link, torrent = payload_link(data)
    seeder.seed(torrent, write(tmp_path / "theirs", {link.name: data}))
    result = puller.pull(link, seeder)
    assert result.revision is not None
    [entry] = result.revision.files
    if entry.path == link.name:
        assert entry.sha256 == Digest.of(data)
    else:  # what is there twice was damaged once
        assert entry.sha256 == Digest.of(BASE)


# Lies


@pytest.mark.parametrize("flags", [V1, V2, 0], ids=["v1", "v2", "hybrid"])
def test_a_liar_is_banned(seeder: Client, puller: Puller, folder: Path, flags: int) -> None:
    torrent = make_torrent(folder, flags)
    lies = write(folder.parents[1] / "lies" / "model", FILES)
    (lies / "sub/noise.bin").write_bytes(bytes(len(FILES["sub/noise.bin"])))
    seeder.seed(torrent, lies.parent, lies=True)

    def stop(event: object) -> None:
        if isinstance(event, Note) and "sent wrong pieces" in event.text:
            puller.cancel.set()

    puller.hear = stop
    with pytest.raises(Cancelled):
        puller.pull(torrent, seeder, wishes=LinkWishes())
    again = Puller(puller.home)
    with again.archive() as archive:
        assert archive.summaries() == []
    with client(ELSEWHERE) as honest:  # who is banned is banned by address
        honest.seed(torrent, folder.parent)
        result = again.pull(torrent, seeder, honest)
    check(puller, result.repo, FILES)


@pytest.mark.parametrize("flags", [V1, V2, 0], ids=["v1", "v2", "hybrid"])
@pytest.mark.parametrize("bare", [False, True], ids=["torrent", "magnet"])
def test_after_an_unjust_ban_it_is_joined_again(
    seeder: Client, puller: Puller, folder: Path, flags: int, *, bare: bool
) -> None:
    """With all that came: each byte is fetched, and counted, once. The other peer that is banned
    is an honest one too; both have a turn.
    """
    torrent = make_torrent(folder, flags)
    seeder.seed(torrent, folder.parent, rate=1_500_000)
    joined: list[foreign.MultiFileTorrent] = []
    handles: set[lt.torrent_handle] = set()

    def ban(event: object) -> None:
        if isinstance(event, Progress) and not handles:
            [torrent] = joined
            handles.add(torrent._handle)
            with torrent._lock:
                for address in (seeder.address, ("192.0.2.1", 6881)):
                    torrent._bans.banned(address)
                torrent._bans.wrong(0)

    fetch = foreign.fetch

    def fetched(*args: Any, **more: Any) -> foreign.MultiFileTorrent:
        joined.append(fetch(*args, **more))
        return joined[-1]

    puller.hear = ban
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign, "fetch", fetched)
        result = puller.pull(magnet_of(torrent) if bare else torrent, seeder)
    check(puller, result.repo, FILES)
    assert joined[0]._handle not in handles
    [planned] = [e for e in puller.events if isinstance(e, Planned) and e.job == "pull"]
    progressed = sum(e.count for e in puller.events if isinstance(e, Progress) and e.source)
    assert planned.present_bytes + progressed == planned.total_bytes == result.size
    # At most the pieces that were under way came twice.
    assert result.size <= sum(result.fetched.values()) < 2 * result.size
    assert not [e for e in puller.events if isinstance(e, Note) and "banned" in e.text]


def test_pads_are_no_blocks_of_a_peer(folder: Path) -> None:
    """A piece of a hybrid ends with a pad, if its file does in it; one of version 1 does not."""
    block = 1 << 14
    files = {name: -(-len(data) // block) for name, data in FILES.items()}
    for flags in (V2, 0):
        _, ti = add_params.torrent_params(make_torrent(folder, flags))
        counts = [add_params.blocks_of(ti, piece) for piece in range(ti.num_pieces())]
        assert sum(counts) == sum(files.values())
        assert counts[0] == 1
    _, ti = add_params.torrent_params(make_torrent(folder, V1))
    counts = [add_params.blocks_of(ti, piece) for piece in range(ti.num_pieces())]
    assert sum(counts) == -(-sum(map(len, FILES.values())) // block)


@pytest.mark.parametrize("flags", [V1, V2, 0], ids=["v1", "v2", "hybrid"])
def test_what_is_resumed_tries_its_peers_first(puller: Puller, folder: Path, flags: int) -> None:
    """With four wrong pieces at once, libtorrent bans honest peers along with a liar."""
    write(folder, {"sub/noise.bin": Random(2).randbytes(5_000_000)})
    torrent = make_torrent(folder, flags)
    places = [folder.parents[1] / str(number) for number in range(len(FILES))]
    for place, data in list(zip(places, FILES.values(), strict=True))[:-1]:
        place.write_bytes(data)
    with (
        puller.archive() as archive,
        puller.node(archive) as node,
        foreign.fetch(node.session, torrent, read_torrent(torrent), places) as resumed,
    ):
        handle = resumed._handle

        def requested() -> list[int]:
            pieces = handle.status(int(lt.torrent_handle.query_pieces)).pieces
            wanted = handle.get_piece_priorities()
            return [index for index, have in enumerate(pieces) if wanted[index] and not have]

        until(lambda: resumed.view().have and len(requested()) < 3, "it knows what it has")
        assert len(requested()) == 2
        assert not handle.status().flags & lt.torrent_flags.paused


def hostile(torrent: bytes, **changes: object) -> bytes:
    """A .torrent file with other values in its info dictionary."""
    document = bencode.decode(torrent)
    assert isinstance(document, dict)
    info = document[b"info"]
    assert isinstance(info, dict)
    changed = {**info, **{key.replace("_", " ").encode(): v for key, v in changes.items()}}
    return bencode.encode({**document, b"info": changed})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": b".."},
        {"name": b"a/b"},
        {"name": b".git"},
        {"files": [{b"length": 4_300_000, b"path": [b"..", b"passwd"]}]},
        {"files": [{b"length": 4_300_000, b"path": [b"a"], b"attr": b"l"}]},
        {"similar": [b"x" * 20]},
        {"collections": [b"models"]},
        {"ssl-cert": b"x"},
    ],
    ids=str,
)
def test_hostile_torrents_reach_no_disk(
    puller: Puller, folder: Path, changes: dict[str, object]
) -> None:
    torrent = hostile(make_torrent(folder, V1), **changes)
    before = sorted(folder.parents[1].rglob("*"))
    with pytest.raises(MalformedError):
        puller.pull(torrent, wishes=OLDEST)
    made = set(folder.parents[1].rglob("*")) - set(before)
    assert all(puller.home in {path, *path.parents} for path in made)
    with puller.archive() as archive:
        assert archive.summaries() == []


def test_hostile_metadata_is_refused_too(seeder: Client, puller: Puller, tmp_path: Path) -> None:
    """A link says nothing of names: a peer sends them, with the right infohash."""
    folder = write(tmp_path / "theirs" / "model", {".git/x": b"x" * 100, "b": b"y"})
    torrent = make_torrent(folder)
    seeder.seed(torrent, folder.parent)
    with pytest.raises(MalformedError, match=r"'\.git' folder"):
        puller.pull(magnet_of(torrent), seeder)
    with puller.archive() as archive:
        assert archive.summaries() == []


def test_what_does_not_fit_is_refused_before_the_first_byte(puller: Puller) -> None:
    root = Digest.of(b"whatever")
    size = 1 << 48
    link = Link(metainfo.infohash_of(root, size), None, name=root.hex, size=size)
    with pytest.raises(DiskFullError):
        puller.pull(link, wishes=OLDEST)
    assert not list((puller.home / "partial").rglob("0*"))


def test_trackers_of_a_link_are_not_for_libtorrent() -> None:
    """It would ask any address that their names lead to: tests/swarm/test_link_hosts.py."""
    link = Link(b"x" * 32, None, trackers=("http://tracker.example/announce",))
    params = lt.add_torrent_params()
    add_params.introduce(params, link, ["http://ours.example/announce"])
    assert params.trackers == ["http://ours.example/announce"]


# The disk


@pytest.mark.parametrize("flags", [V1, V2], ids=["v1", "v2"])
def test_what_changed_on_the_disk_is_not_archived(
    seeder: Client, puller: Puller, folder: Path, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = linked._LinkPull.fetch
    torrent = make_torrent(folder, flags)
    seeder.seed(torrent, folder.parent)

    def spoil(run: linked._LinkPull, *rest: object) -> dict[str, int]:
        done = fetch(run, *rest)  # type: ignore[arg-type]
        with run.partial.place(3).open("r+b") as file:
            file.seek(1_000_000)
            file.write(b"spoilt")
        return done

    monkeypatch.setattr(linked._LinkPull, "fetch", spoil)
    with pytest.raises(CorruptError, match="changed on the disk"):
        puller.pull(torrent, seeder)
    with puller.archive() as archive:
        assert archive.summaries() == []
    monkeypatch.setattr(linked._LinkPull, "fetch", fetch)
    check(puller, puller.pull(torrent, seeder).repo, FILES)


def test_pieces_of_version_1_with_pads(folder: Path) -> None:
    info = read_torrent(make_torrent(folder)).info  # a hybrid has pads
    files = read_torrent(make_torrent(folder)).files
    data = [FILES[file.path] for file in files]
    V1Pieces.of(info).check(lambda n: [memoryview(data[n])], Puller(folder).cancel)
    data[-1] = data[-1][:-1] + bytes([data[-1][-1] ^ 1])
    with pytest.raises(CorruptError):
        V1Pieces.of(info).check(lambda n: [memoryview(data[n])], Puller(folder).cancel)


def test_a_blob_is_never_written_to(puller: Puller, tmp_path: Path) -> None:
    """A crash may leave a file of a download that is a blob too."""
    with puller.archive() as archive, LinkPartial(archive.layout, "a" * 64) as partial:
        place, blob = partial.place(0), tmp_path / "blob"
        place.write_bytes(b"a blob")
        os.chmod(place, 0o444)
        os.link(place, blob)
        partial.part(2)
        assert place.stat().st_ino != blob.stat().st_ino
        assert place.read_bytes() == blob.read_bytes() == b"a blob"
        with place.open("r+b") as file:
            file.write(b"x")
        assert blob.read_bytes() == b"a blob"


def test_gc_drops_what_no_pull_resumes(puller: Puller, folder: Path) -> None:
    torrent = make_torrent(folder)
    with pytest.raises(UnreachableError):
        puller.pull(torrent, wishes=OLDEST)
    with puller.archive() as archive:
        [left] = archive.layout.partial.iterdir()

    def gc() -> None:
        inside("gc", "--home", puller.home, home=folder).ok()

    gc()
    assert left.exists()
    for path in (*left.iterdir(), left):
        stat = path.stat()
        os.utime(path, (stat.st_atime - 2 * KEPT, stat.st_mtime - 2 * KEPT))
    infohash = left.name.partition("-")[2]
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(puller.archive())
        stack.enter_context(LinkPartial(archive.layout, infohash))
        os.utime(left, (0, 0))
        gc()
        assert left.exists()  # a process holds it open
    os.utime(left, (0, 0))
    gc()
    assert not left.exists()


def test_a_torrent_that_was_noted_is_not_believed(
    seeder: Client, puller: Puller, folder: Path
) -> None:
    torrent = make_torrent(folder)
    link = magnet_of(torrent)
    seeder.seed(torrent, folder.parent)
    other = make_torrent(write(folder.parent / "other", {"a": b"another"}))
    with puller.archive() as archive:
        for noted in (b"no torrent", other):
            with LinkPartial(archive.layout, (link.infohash_v2 or b"").hex()) as partial:
                partial.note_torrent(noted)
            assert partial.torrent() == noted
    result = puller.pull(replace(link, name=""), seeder)
    check(puller, result.repo, FILES)


# The process


def test_a_process_that_was_killed_goes_on(seeder: Client, tmp_path: Path, folder: Path) -> None:
    write(folder, {"large.bin": Random(9).randbytes(12_000_000)})
    torrent = make_torrent(folder)
    seeder.seed(torrent, folder.parent, rate=4_000_000)
    config = tmp_path / "config.toml"
    config.write_text('[swarm]\nprivate = true\npeer-port = 0\npeers = ["127.0.0.1:9"]\n')
    env = {"OUTLAST_SWARM": "1", "OUTLAST_CONFIG": str(config)}
    link = replace(magnet_of(torrent), peers=(seeder.address,)).magnet()
    command = ("pull", link, "--json", "--patience", "30")
    process = start(*command, home=tmp_path, env=env)
    try:
        partial = tmp_path / "archive" / "partial"

        def begun() -> bool:
            assert process.poll() is None
            return sum(p.stat().st_blocks * 512 for p in partial.glob("link-*/0*")) > 3_000_000

        until(begun, "some of it is here")
        process.kill()
        finish(process)
        call = finish(start(*command, home=tmp_path, env=env)).ok()
    finally:
        end_all()
    [planned] = [e for e in call.of_type("planned") if e["job"] == "pull"]
    assert planned["present_bytes"] > 0
    assert 0 < sum(call.result["fetched"].values()) < call.result["bytes"]
    inside("verify", home=tmp_path).ok()
    assert list(partial.iterdir()) == []
