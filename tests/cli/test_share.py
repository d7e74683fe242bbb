"""share: links and torrents of a revision, and who may have them."""

import hashlib
import os
from pathlib import Path

import libtorrent
import pytest

from outlast.cli.config.file import PUBLIC_HUB
from outlast.codec.hashing import names_of
from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import Cancelled, NotArchivedError, PolicyError
from outlast.core.events import Event, Planned, Progress
from outlast.core.names import RepoId, Target
from outlast.node.policy import SharePolicy
from outlast.ops.share import Shared, ShareWishes, share
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from outlast.swarm.torrent import payload_torrent as metainfo
from outlast.swarm.torrent.magnet import parse_magnet
from outlast.swarm.torrent.read import read_torrent
from tests.cli.call import inside
from tests.noise import noise
from tests.store.weights import model, tuned

BASE = model(1, 900_000)
FILES = {
    "config.json": b"{}",
    "empty": b"",
    "model.safetensors": BASE,
    "noise.bin": noise(1, 2_500_000),
    "sub/again.bin": noise(1, 2_500_000),
}
TUNED = {"model.safetensors": tuned(BASE, 2)}
REPO = RepoId.parse("me/model")
TARGET = Target.parse("me/model")


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def fill(home: Path, form: str) -> Path:
    """A home folder with an archive of the same revision in one form or another."""
    folder = write(home / "folder", FILES)
    inside("add", folder, "--as", "me/model", "--form", form, home=home).ok()
    return home


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("plain"), "plain")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = fill(tmp_path_factory.mktemp("packed"), "capsule")
    tuned_folder = write(home / "tuned", TUNED)
    wish = ("--form", "capsule", "--base", "me/model")
    inside("add", tuned_folder, "--as", "me/tuned", *wish, home=home).ok()
    return home


def test_the_link_and_the_torrent_say_the_same(plain: Path, tmp_path: Path) -> None:
    tracker = "http://tracker.example:1/announce"
    call = inside(
        *("share", "me/model", "--out", tmp_path / "out", "--tracker", tracker),
        *("--web-seed", "https://models.example/"),
        home=plain,
    ).ok()
    first, *table = call.out.splitlines()
    link = parse_magnet(first)
    [file] = (tmp_path / "out").iterdir()
    read = read_torrent(file.read_bytes())
    assert file.stem == link.name
    assert link.name.startswith("me--model-")
    assert (link.infohash_v1, link.infohash_v2) == (read.infohash_v1, read.infohash_v2)
    assert link.trackers == read.trackers == (tracker,)
    assert link.web_seeds == read.web_seeds == ("https://models.example/me/model/resolve/",)
    assert link.size == read.size == sum(map(len, FILES.values()))
    assert {f.path: f.size for f in read.files} == {p: len(data) for p, data in FILES.items()}
    assert read.name[:12] == link.name[-12:]
    assert len(table) == 1 + len(FILES)
    infohash = metainfo.infohash_of(Digest.from_bytes(root(b"{}")), 2).hex()
    assert table[1].split() == ["2", "B", "plain", "2", "B", infohash, "config.json"]
    assert "RESTRICTED" not in call.err


def root(data: bytes) -> bytes:
    found = names_of(data).merkle_root
    assert found is not None
    return bytes.fromhex(found.hex)


def test_the_torrent_is_that_of_libtorrent(plain: Path, tmp_path: Path) -> None:
    result = inside("share", "me/model", "--json", "--out", tmp_path, home=plain).ok().result
    folder = write(tmp_path / result["revision"], FILES)
    entries = [
        libtorrent.create_file_entry(f"{folder.name}/{path}", len(data))
        for path, data in FILES.items()
    ]
    flags = libtorrent.create_torrent.canonical_files_no_tail_padding
    made = libtorrent.create_torrent(entries, 1024 * 1024, flags)
    libtorrent.set_piece_hashes(made, str(tmp_path))
    info = libtorrent.torrent_info(made.generate())
    assert info.info_hashes().v1.to_bytes().hex() == result["infohash_v1"]
    assert info.info_hashes().v2.to_bytes().hex() == result["infohash_v2"]


def test_the_form_on_the_disk_does_not_matter(plain: Path, packed: Path, tmp_path: Path) -> None:
    found = []
    for home in (plain, packed):
        out = tmp_path / home.name
        result = inside("share", "me/model", "--json", "--out", out, home=home).ok().result
        found.append((result["magnet"], Path(result["torrent"]).read_bytes()))
    assert found[0] == found[1]


def test_version_1_alone(packed: Path, tmp_path: Path) -> None:
    call = inside("share", "me/model", "--v1", "--out", tmp_path, home=packed).ok()
    both, alone = map(parse_magnet, call.out.splitlines()[:2])
    assert alone.infohash_v2 is None
    assert alone.infohash_v1 != both.infohash_v1
    assert alone.name == both.name
    read = read_torrent((tmp_path / f"{both.name}.v1.torrent").read_bytes())
    assert (read.infohash_v1, read.infohash_v2) == (alone.infohash_v1, None)
    stream = b"".join(FILES[file.path] for file in read.files)
    pieces = [stream[at : at + 1024 * 1024] for at in range(0, len(stream), 1024 * 1024)]
    assert b"".join(hashlib.sha1(piece).digest() for piece in pieces) in read.info


def test_with_blobs_each_payload_has_a_torrent(packed: Path, tmp_path: Path) -> None:
    for name, files in (("me/model", FILES), ("me/tuned", TUNED)):
        call = inside("share", name, "--blobs", "--json", "--out", tmp_path, home=packed).ok()
        listed = {file["path"]: file for file in call.result["files"]}
        assert set(listed) == set(files)
        for path, data in files.items():
            check_payload(packed, listed[path], data)
    assert listed["model.safetensors"]["form"] == "thin"


def check_payload(home: Path, listed: dict[str, object], data: bytes) -> None:
    if not data:
        assert listed["torrent"] is listed["infohash"] is None
        return
    name = Digest.of(data).hex
    place = "blobs/{}/{}" if listed["form"] == "plain" else "capsules/{}/{}.olc"
    payload = (home / "archive" / place.format(name[:2], name)).read_bytes()
    read = read_torrent(Path(str(listed["torrent"])).read_bytes())
    assert read.payload == (Digest.from_bytes(root(payload)), len(payload))
    assert read.infohash_v2 is not None
    assert read.infohash_v2.hex() == listed["infohash"]
    assert listed["payload_bytes"] == len(payload)
    assert Path(str(listed["torrent"])).name == f"{read.name}.torrent"


@pytest.mark.parametrize("given", ["wss://a.example", "http://", "tracker.example", "udp://a:0"])
def test_what_is_no_tracker_is_refused(plain: Path, tmp_path: Path, given: str) -> None:
    inside("share", "me/model", "--tracker", given, home=plain, cwd=tmp_path).failed("usage")
    assert list(tmp_path.iterdir()) == []


def test_quiet_prints_the_link_alone(plain: Path, tmp_path: Path) -> None:
    call = inside("share", "me/model", "-q", "--out", tmp_path, home=plain).ok()
    assert len(call.out.splitlines()) == 1
    assert call.err == ""


# What is not for everybody


def run(
    home: Path, out: Path, policy: SharePolicy | None = None, *, restricted: bool = False
) -> Shared:
    with Archive(home / "archive") as archive:
        wishes = ShareWishes(out, public_hubs=(PUBLIC_HUB,), restricted=restricted)
        return share(archive, TARGET, wishes, policy or SharePolicy(), Control())


def tell(home: Path, about: About, source: str = "") -> None:
    """What the hub `source` says of the model."""
    with Archive(home / "archive") as archive, archive.writer() as writer:
        archive.refs.put_about(writer, REPO, about)
        ref = archive.refs.get(REPO, "main")
        assert ref is not None
        archive.refs.put(writer, REPO, Ref(ref.name, ref.commit, source))


@pytest.mark.parametrize("about", [About(private=True), About(gated="manual"), About(gated=True)])
def test_what_is_private_or_gated_is_refused(tmp_path: Path, about: About) -> None:
    home = fill(tmp_path, "plain")
    tell(home, about, PUBLIC_HUB)
    out = tmp_path / "out"
    call = inside("share", "me/model", "--out", out, "--blobs", home=home)
    assert "me/model is not shared" in call.failed("policy")
    assert not out.exists()
    call = inside("share", "me/model", "--out", out, "--restricted", home=home).ok()
    assert "RESTRICTED: " in call.err
    link = parse_magnet(call.out.splitlines()[0])
    assert link.web_seeds == ()
    assert run(home, out, SharePolicy(restricted=True)).against == ""


@pytest.mark.parametrize(
    "policy",
    [
        SharePolicy(include=("org/*",)),
        SharePolicy(exclude=("me/*",)),
        SharePolicy(largest=1000),
    ],
)
def test_what_the_settings_leave_out_is_refused(
    plain: Path, tmp_path: Path, policy: SharePolicy
) -> None:
    with pytest.raises(PolicyError):
        run(plain, tmp_path, policy)
    assert list(tmp_path.iterdir()) == []
    assert run(plain, tmp_path, policy, restricted=True).against


def test_the_configuration_is_followed(plain: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[share]\nexclude = ["me/*"]\n')
    env = {"OUTLAST_CONFIG": str(config)}
    call = inside("share", "me/model", "--out", tmp_path / "out", home=plain, env=env)
    assert "[share]" in call.failed("policy")
    assert not (tmp_path / "out").exists()


def test_the_public_hub_is_a_web_seed_of_what_came_from_it(tmp_path: Path) -> None:
    home = fill(tmp_path, "plain")
    assert run(home, tmp_path / "out").link.web_seeds == ()
    tell(home, About(), "https://mirror.inside.example")
    assert run(home, tmp_path / "out").link.web_seeds == ()
    tell(home, About(), PUBLIC_HUB)
    assert run(home, tmp_path / "out").link.web_seeds == (f"{PUBLIC_HUB}/me/model/resolve/",)


# What is not as it should be


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    home = fill(tmp_path, "plain")
    name = Digest.of(FILES["noise.bin"]).hex
    path = home / "archive" / "blobs" / name[:2] / name
    os.chmod(path, 0o644)
    path.write_bytes(bytes([FILES["noise.bin"][0] ^ 1]) + FILES["noise.bin"][1:])
    call = inside("share", "me/model", "--out", tmp_path / "out", home=home)
    assert f"blob {name[:12]}… is damaged" in call.failed("damaged")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_here_is_named(tmp_path: Path) -> None:
    home = fill(tmp_path, "plain")
    name = Digest.of(FILES["noise.bin"]).hex
    (home / "archive" / "blobs" / name[:2] / name).unlink()
    with pytest.raises(NotArchivedError, match=r"2 files are not here, among them 'noise\.bin'"):
        run(home, tmp_path / "out")


def test_progress_is_told_and_it_can_be_stopped(packed: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    with Archive(packed / "archive") as archive:
        wishes = ShareWishes(tmp_path / "out")
        share(archive, TARGET, wishes, SharePolicy(), Control(events.append))
        total = sum(map(len, FILES.values()))
        assert [e.total_bytes for e in events if isinstance(e, Planned)] == [total]
        assert sum(e.count for e in events if isinstance(e, Progress)) == total
        stopped = Control(lambda _event: stopped.cancel.set())
        with pytest.raises(Cancelled):
            share(archive, TARGET, wishes, SharePolicy(), stopped)


def test_forms_are_those_that_are_meant(packed: Path) -> None:
    """Else the tests above prove less than they say."""
    with Archive(packed / "archive") as archive:
        assert archive.form_of(Digest.of(BASE)).form is Form.CAPSULE
        assert archive.form_of(Digest.of(FILES["noise.bin"])).form is Form.PLAIN
        assert archive.form_of(Digest.of(TUNED["model.safetensors"])).form is Form.DELTA
