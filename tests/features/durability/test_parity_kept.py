"""Parity beside the blobs: written by scrubs, used before any source is asked, kept right, and
dropped with its blob; through kill -9 and full disks.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from outlast.codec.memory import InMemory
from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import BadConfigError, DiskFullError
from outlast.features.durability.parity import files as parity_files
from outlast.features.durability.parity.encode import encode
from outlast.features.durability.parity.files import ParityFiles
from outlast.features.durability.parity.geometry import BLOCK, ParityHead, Share
from outlast.features.durability.parity.restore import restore
from outlast.features.durability.settings import read_settings
from outlast.store.archive import Archive
from outlast.store.soundness.damage import Damage, Why
from tests.campaign import SEED, rounds
from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim
from tests.pull import weights
from tests.pull.kit import BIG, FILES, MIB, check_pulled, contents, sent
from tests.rot import damage, file_of
from tests.serve.node import Node, until
from tests.warm.calls import end_all, finish, outlast, start

FEATURE = ["tests.features.durability.listed:DURABILITY"]
KILLS = rounds(1, 40)
TWO = Share(250, 5)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", "org/name").commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread") as sim:
        yield sim
    end_all()


def want(home: Path, parity: str = "2%", scrub: str = "monthly") -> None:
    path = home / "config" / "outlast" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'[durability]\nparity = "{parity}"\nscrub = "{scrub}"\nscrub-rate = 0\n')


@pytest.fixture
def home(hub: HubSim, tmp_path: Path) -> Path:
    """An archive, `home`/archive, whose operator wants parity. It has none yet."""
    inside("pull", "org/name", "--from", hub.url, "-q", home=tmp_path).ok()
    want(tmp_path)
    hub.clear_log()
    return tmp_path


def parity_of(home: Path, data: bytes = FILES[BIG]) -> Path:
    with Archive(home / "archive") as archive:
        return archive.layout.parity_of(file_of(home / "archive", data))


def with_bytes() -> int:
    return sum(bool(data) for data in FILES.values())


def test_a_scrub_writes_what_is_lacking_once(home: Path) -> None:
    first = inside("scrub", "--json", home=home).ok().result
    assert (first["parity_files"], first["parity_lacking"]) == (with_bytes(), 0)
    before = {path: path.stat().st_ino for path in (home / "archive" / "parity").rglob("*.olp")}
    assert first["parity_bytes"] == sum(path.stat().st_size for path in before)
    assert inside("scrub", "--json", home=home).ok().result["parity_files"] == 0
    assert before == {path: path.stat().st_ino for path in before}


def test_another_share_is_another_parity(home: Path) -> None:
    inside("scrub", "-q", home=home).ok()
    before = parity_of(home).stat().st_size
    want(home, "10 %")
    call = inside("scrub", home=home).ok()
    assert "parity written (3 files" in call.out  # of a file of one block it is the same
    assert 4 * before < parity_of(home).stat().st_size < 6 * before


def test_damage_is_mended_without_a_source(home: Path, hub: HubSim) -> None:
    inside("scrub", "-q", home=home).ok()
    path = file_of(home / "archive", FILES[BIG])
    before = path.stat().st_ino
    damage(path, 0.2, 0.7)
    call = inside("scrub", "--json", home=home, env={"HF_ENDPOINT": hub.url}).ok().result
    assert [one["mended"] for one in call["found"]] == [True]
    assert sent(hub) == 0
    assert path.stat().st_ino != before
    check_pulled(home / "archive")
    assert not list((home / "archive" / "partial").iterdir())


def test_more_damage_than_parity_mends_comes_from_the_source(home: Path, hub: HubSim) -> None:
    inside("scrub", "-q", home=home).ok()
    damage(file_of(home / "archive", FILES[BIG]), 0.1, size=2 * MIB)
    assert inside("scrub", home=home, env={"HF_ENDPOINT": hub.url}).ok()
    assert 2 * MIB <= sent(hub) <= 3 * MIB
    check_pulled(home / "archive")


def test_what_is_behind_the_end_of_a_file_is_restored(home: Path) -> None:
    inside("scrub", "-q", home=home).ok()
    path = file_of(home / "archive", FILES[BIG])
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size - 9 * BLOCK)
    inside("scrub", "-q", home=home).ok()
    check_pulled(home / "archive")


@pytest.mark.parametrize("place", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_damaged_parity_is_found_and_written_anew(home: Path, place: float) -> None:
    """Headers, sums and parity itself; each is there twice, or follows from the blob."""
    inside("scrub", "-q", home=home).ok()
    path = parity_of(home)
    whole = path.read_bytes()
    damage(path, place)
    left = inside("scrub", "--no-mend", "--json", home=home)
    assert left.code == 4
    (found,) = left.result["found"]
    assert (found["kind"], found["mended"]) == ("parity", False)
    assert found["path"] == path.relative_to(home / "archive").as_posix()
    (found,) = inside("scrub", "--json", home=home).ok().result["found"]
    assert (found["kind"], found["mended"]) == ("parity", True)
    assert path.read_bytes() == whole


def test_parity_that_is_not_wanted_is_used_and_removed_where_it_is_damaged(home: Path) -> None:
    inside("scrub", "-q", home=home).ok()
    want(home, "off")
    damage(file_of(home / "archive", FILES[BIG]), 0.5)
    assert inside("scrub", "--json", home=home).ok().result["parity_files"] == 0
    check_pulled(home / "archive")
    damage(parity_of(home), 0.5)
    assert "it is removed" in inside("scrub", home=home).ok().err
    assert not parity_of(home).exists()
    assert parity_of(home, FILES["small.bin"]).exists()


def test_a_collection_drops_parity_with_its_blob(home: Path) -> None:
    inside("scrub", "-q", home=home).ok()
    (home / "other.bin").write_bytes(b"kept" * 1000)
    inside("add", str(home / "other.bin"), "--as", "org/kept", "-q", home=home).ok()
    inside("scrub", "-q", home=home).ok()
    kept = parity_of(home, b"kept" * 1000)
    inside("rm", "org/name", "-q", home=home).ok()
    inside("gc", "--dry-run", "-q", home=home).ok()
    assert parity_of(home).exists()
    inside("gc", "--now", "-q", home=home).ok()
    assert [*(home / "archive" / "parity").rglob("*.olp")] == [kept]


def test_parity_of_another_form_goes_and_that_of_the_new_one_comes(tmp_path: Path) -> None:
    data = weights.packed(tmp_path / "w.safetensors", weights.model(3))
    inside(
        "add", str(tmp_path / "w.safetensors"), "--as", "o/w", "--form", "plain", home=tmp_path
    ).ok()
    want(tmp_path)
    inside("scrub", "-q", home=tmp_path).ok()
    plain = parity_of(tmp_path, data)
    inside("pack", "-q", home=tmp_path).ok()
    inside("scrub", "-q", home=tmp_path).ok()
    capsule = parity_of(tmp_path, data)
    assert capsule.name.endswith(".olc.olp")
    assert not plain.exists()
    path = file_of(tmp_path / "archive", data)
    whole = path.read_bytes()
    damage(path, 0.3, 0.9999)
    inside("scrub", "-q", home=tmp_path).ok()
    assert path.read_bytes() == whole
    with Archive(tmp_path / "archive") as archive, archive.open(Digest.of(data)) as file:
        assert file.read() == data


def test_a_rebuild_keeps_parity_and_doctor_says_what_it_takes(home: Path) -> None:
    assert "blobs, takes" not in inside("doctor", home=home).out
    inside("scrub", "-q", home=home).ok()
    before = parity_of(home).read_bytes()
    inside("doctor", "--rebuild", home=home).ok()
    assert parity_of(home).read_bytes() == before
    assert f"of {with_bytes()} blobs, takes" in inside("doctor", home=home).out
    assert inside("scrub", "--json", home=home).ok().result["parity_files"] == 0


def test_a_server_writes_and_uses_parity_and_says_so(home: Path, hub: HubSim) -> None:
    """Also where it does not scrub."""
    want(home, scrub="off")
    tuned = {"outlast.features.durability.scrub.tuning.TUNING.look": 0.02}
    archive = home / "archive"
    env = {"OUTLAST_SWARM": "1", "OUTLAST_LSD": "0"}
    flags = ("--upstream", hub.url)
    with Node(archive, *flags, env=env, tuned=tuned, features=FEATURE) as node:
        until(lambda: node.metric("outlast_parity_bytes") > 0, "parity of what is here")
        damage(file_of(archive, FILES[BIG]), 0.5)
        assert node.get(f"/org/name/resolve/main/{BIG}").broken
        until(lambda: node.metric("outlast_mended_files_total") == 1, "the file to be mended")
        call = inside("status", "--json", home=home).ok().result[0]
        assert call["parity"]["files"] == with_bytes()
        assert call["parity"]["size"] == node.metric("outlast_parity_bytes")
        assert "parity: of 5 blobs" in inside("status", home=home).ok().out
    assert sent(hub) == 0
    check_pulled(archive)


# Kill -9, and full disks


@pytest.mark.torture
def test_scrubs_that_are_killed_leave_all_parity_or_none(home: Path, hub: HubSim) -> None:
    """While parity is written, and while damage is mended from it."""
    chance, count = Random(SEED), home / "count"
    finish(start("scrub", home=home, doom=["0", "before", str(count)])).ok()
    whole = {path: path.read_bytes() for path in (home / "archive" / "parity").rglob("*.olp")}
    assert len(whole) == with_bytes()
    changes = int(count.read_text())
    for number in range(KILLS):
        for path in whole:
            if chance.random() < 0.5:
                path.unlink(missing_ok=True)
        if parity_of(home).exists():
            damage(file_of(home / "archive", FILES[BIG]), chance.random())
        step = 1 + int(changes * (number + chance.random()) / KILLS)
        doom = [str(step), chance.choice(["before", "torn", "after"]), str(count)]
        call = finish(start("scrub", home=home, doom=doom))
        assert call.code in {-signal.SIGKILL, 0}
        for path in (home / "archive" / "parity").rglob("*.olp"):
            assert path.read_bytes() == whole[path]
        outlast("scrub", home=home).ok()
        assert {path: path.read_bytes() for path in whole} == whole
        assert contents(home / "archive") == FILES
    outlast("gc", "--now", "-q", home=home).ok()
    assert not list((home / "archive" / "tmp").iterdir())
    assert sent(hub) == 0


def test_no_parity_is_written_into_the_last_room(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Digest.of(FILES["small.bin"]).hex < Digest.of(FILES[BIG]).hex, "it has its turn first"
    room = parity_files.RESERVE + 100_000
    monkeypatch.setattr("outlast.store.disk.free_bytes", lambda _path: room)
    call = inside("scrub", home=home).ok()
    assert "no room for parity" in call.err
    assert "4 files without parity" in call.out
    assert not parity_of(home).exists()
    with Archive(home / "archive") as archive:
        small = Digest.of(FILES["small.bin"])
        assert ParityFiles(archive).is_sound(small, Form.PLAIN)
        archive.damage.note(Damage(small, Form.PLAIN, Why.ROT, "test", (0,)))
        with pytest.raises(DiskFullError, match="no room to mend"):
            restore(archive, small, Cancel())
        assert archive.damage.of(small)


@pytest.mark.parametrize("said", ["2", "x%", "0.3%", "101%", "", "nan%"])
def test_shares_that_are_none(said: str) -> None:
    if said == "2":
        assert read_settings({"parity": said}).scrub.parity == TWO
        return
    with pytest.raises(BadConfigError, match="is no share"):
        read_settings({"parity": said})


def test_parity_of_other_bytes_puts_nothing_in_place(home: Path) -> None:
    """Its sums agree with each other, and its header names the blob: the sha256 decides."""
    path = file_of(home / "archive", FILES[BIG])
    other = bytearray(FILES[BIG])
    other[5 * MIB] ^= 1
    digest = Digest.of(FILES[BIG])
    with Archive(home / "archive") as archive:
        head = ParityHead(digest, Form.PLAIN, len(other), TWO)
        place = ParityFiles(archive).path(digest, Form.PLAIN)
        place.parent.mkdir(parents=True)
        place.write_bytes(b"".join(encode(InMemory(bytes(other)), head, bool)))
        assert ParityFiles(archive).is_sound(digest, Form.PLAIN)
        damage(path, 0.5)
        before = path.stat().st_ino
        archive.damage.note(Damage(digest, Form.PLAIN, Why.ROT, "test", (5,)))
        assert not restore(archive, digest, Cancel())
        assert archive.damage.of(digest)
        assert path.stat().st_ino == before
        assert not list(archive.layout.tmp.iterdir())
