"""Damage: found, reported in one line, quarantined, mended by a pull; and what the doctor says."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outlast.ops.doctor import Health, examine
from outlast.store import disk
from outlast.store.layout import Layout, marker_of
from outlast.store.writer import sweep
from tests.cli.call import inside
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import BIG, FILES, check_pulled, file_requests, tree

READING = (["ls"], ["show", "org/name"], ["verify"], ["gc", "--dry-run"], ["doctor"])


@pytest.fixture(scope="module")
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSim]:
    root = tmp_path_factory.mktemp("mend") / "hub"
    HubRepo(root, "org/name").commit(FILES)
    with HubSim(root, mode="thread") as sim:
        yield sim


@pytest.fixture
def hub(_hub: HubSim) -> HubSim:
    """The hub that org/name was pulled from; its log tells what the test asked for."""
    _hub.clear_log()
    return _hub


@pytest.fixture(scope="module")
def _pulled(_hub: HubSim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pulled")
    inside("pull", "org/name", "--from", _hub.url, home=home).ok()
    return home


@pytest.fixture
def pulled(_pulled: Path, tmp_path: Path) -> Path:
    shutil.copytree(_pulled / "archive", tmp_path / "archive")
    return tmp_path


def blob(home: Path, path: str) -> Path:
    shown = inside("show", "org/name", "--json", home=home).ok().result
    name: str = next(entry["sha256"] for entry in shown["files"] if entry["path"] == path)
    return home / "archive" / "blobs" / name[:2] / name


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    stat = path.stat()
    os.chmod(path, 0o644)
    path.write_bytes(data)
    os.chmod(path, 0o444)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # rot does not touch the clock


@pytest.mark.parametrize("path", [BIG, "config.json", "sub/tokenizer.json"])
def test_a_flipped_byte_is_found_mended_and_quarantined(
    pulled: Path, hub: HubSim, path: str
) -> None:
    inside("verify", home=pulled).ok()
    damaged = blob(pulled, path)
    flip(damaged)
    before = tree(pulled / "archive" / "blobs")
    call = inside("verify", "--json", home=pulled)
    assert call.code == 4
    (problem,) = call.result["problems"]
    assert damaged.name in problem["path"]
    assert problem["code"] == "corrupt"
    assert tree(pulled / "archive" / "blobs") == before
    text = inside("verify", "org/name", home=pulled)
    assert (text.code, "1 problem" in text.out) == (4, True)
    assert "damaged" in text.err
    inside("pull", "org/name", "--from", hub.url, home=pulled).ok()
    assert {entry.file for entry in file_requests(hub)} == {path}
    inside("verify", home=pulled).ok()
    flip(damaged)
    assert inside("verify", "--quarantine", home=pulled).code == 4
    assert not damaged.exists()
    assert (pulled / "archive" / "quarantine" / damaged.name).is_file()
    assert "LOST" in inside("show", "org/name", home=pulled).ok().out
    absent = inside("verify", "--json", home=pulled)
    assert (absent.code, absent.result["problems"][0]["code"]) == (4, "absent")
    inside("pull", "org/name", "--from", hub.url, home=pulled).ok()
    assert {entry.file for entry in file_requests(hub)} == {path}
    check_pulled(pulled / "archive")
    inside("verify", home=pulled).ok()


def test_verify_says_what_it_read(pulled: Path) -> None:
    call = inside("verify", "--json", home=pulled).ok()
    total = sum(map(len, FILES.values()))
    assert (call.result["blobs"], call.result["bytes"]) == (len(FILES), total)
    assert call.result["problems"] == []
    text = inside("verify", home=pulled).ok().out
    assert "6 blobs" in text
    assert "all intact" in text


def test_a_lost_blob(pulled: Path, hub: HubSim) -> None:
    blob(pulled, BIG).unlink()
    call = inside("verify", "--json", home=pulled)
    assert (call.code, call.result["problems"][0]["code"]) == (4, "absent")
    assert inside("doctor", home=pulled).code == 1
    inside("pull", "org/name", "--from", hub.url, home=pulled).ok()
    check_pulled(pulled / "archive")


def test_a_blob_of_another_size(pulled: Path, hub: HubSim) -> None:
    path = blob(pulled, BIG)
    os.chmod(path, 0o644)
    os.truncate(path, 100)
    assert inside("verify", home=pulled).code == 4
    inside("pull", "org/name", "--from", hub.url, home=pulled).ok()
    check_pulled(pulled / "archive")


def manifest(home: Path) -> Path:
    (path,) = (home / "archive" / "manifests").glob("*.json")
    return path


def overwrite(path: Path, data: bytes) -> None:
    os.chmod(path, 0o644)
    path.write_bytes(data)


def break_manifest(home: Path) -> None:
    flip(manifest(home))


def cut_manifest(home: Path) -> None:
    overwrite(manifest(home), b"")


def forge_manifest(home: Path) -> None:
    document = json.loads(manifest(home).read_bytes())
    document["files"] = []
    overwrite(manifest(home), json.dumps(document).encode())


def break_ref(home: Path) -> None:
    overwrite(home / "archive" / "refs" / "models" / "org" / "name" / "main", b"{")


def bomb_ref(home: Path) -> None:
    overwrite(home / "archive" / "refs" / "models" / "org" / "name" / "main", b"[" * 900_000)


def lead_ref_astray(home: Path) -> None:
    path = home / "archive" / "refs" / "models" / "org" / "name" / "main"
    overwrite(path, json.dumps({"commit": "../../x"}).encode())


def break_about(home: Path) -> None:
    overwrite(home / "archive" / "refs" / "models" / "org" / "name" / ".about", b'"text"')


def break_draft(home: Path) -> None:
    path = home / "archive" / "drafts" / "models" / "org" / "name" / f"{'a' * 40}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe not a draft\n")


def break_index(home: Path) -> None:
    overwrite(home / "archive" / "index.sqlite", b"this is no database" * 1000)


def tear_index(home: Path) -> None:
    path = home / "archive" / "index.sqlite"
    data = path.read_bytes()
    overwrite(path, data[:4096] + os.urandom(len(data) - 4096))


def drop_tables(home: Path) -> None:
    with sqlite3.connect(home / "archive" / "index.sqlite") as db:
        db.execute("DROP TABLE files")
    db.close()


def newer_index(home: Path) -> None:
    with sqlite3.connect(home / "archive" / "index.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def stray_files(home: Path) -> None:
    for folder in ("manifests", "refs", "blobs", "partial", "tmp"):
        (home / "archive" / folder / "stray.json").write_text("x")
    (home / "archive" / "manifests" / "a folder.json").mkdir()
    (home / "archive" / "blobs" / "zz").mkdir()
    (home / "archive" / "blobs" / "zz" / "stray").write_text("x")


DAMAGES: list[Callable[[Path], None]] = [
    break_manifest,
    cut_manifest,
    forge_manifest,
    break_ref,
    bomb_ref,
    lead_ref_astray,
    break_about,
    break_draft,
    break_index,
    tear_index,
    drop_tables,
    newer_index,
    stray_files,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: str(damage.__name__))
def test_every_command_survives_damage(
    pulled: Path, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    """They may fail, in one line; the blobs stay, and nothing is made worse."""
    damage(pulled)
    blobs = tree(pulled / "archive" / "blobs")
    for arguments in (*READING, ["gc"], ["link", "org/name"], ["completion", "bash"]):
        call = inside(*arguments, home=pulled)
        assert "Traceback" not in call.err, arguments
        assert call.code in {0, 1, 3, 4}, arguments
        if call.code in {3, 4} and arguments[0] not in {"verify", "ls", "gc"}:
            call.failed("corrupt", "malformed", "revision-not-found", "not-found", "damaged-record")
    after = tree(pulled / "archive" / "blobs")
    assert {path: data for path, data in blobs.items() if path in after} == blobs
    assert tmp_path.is_dir()


@pytest.mark.parametrize(
    "damage", [break_manifest, cut_manifest, forge_manifest], ids=lambda d: str(d.__name__)
)
def test_a_damaged_manifest_is_quarantined_and_pulled_anew(
    pulled: Path, hub: HubSim, damage: Callable[[Path], None]
) -> None:
    damage(pulled)
    assert inside("doctor", home=pulled).code == 1
    for options in ([], ["--now"]):
        call = inside("gc", *options, home=pulled)
        assert call.code == 4
        assert "outlast gc --discard manifests/" in call.err
    assert inside("verify", "--quarantine", home=pulled).code == 4
    inside("pull", "org/name", "--from", hub.url, home=pulled).ok()
    check_pulled(pulled / "archive")
    assert {entry.file for entry in file_requests(hub)} <= set(FILES)
    inside("doctor", home=pulled).ok()


@pytest.mark.parametrize(
    "damage", [break_index, tear_index, drop_tables, newer_index], ids=lambda d: str(d.__name__)
)
def test_the_index_is_rebuilt(pulled: Path, damage: Callable[[Path], None]) -> None:
    before = inside("ls", "--json", home=pulled).ok().out
    damage(pulled)
    inside("doctor", "--rebuild", home=pulled).ok()
    assert inside("ls", "--json", home=pulled).ok().out == before
    check_pulled(pulled / "archive")
    inside("doctor", home=pulled).ok()


def test_an_index_that_is_gone_is_made_again(pulled: Path) -> None:
    before = inside("ls", "--json", home=pulled).ok().out
    for path in (pulled / "archive").glob("index.sqlite*"):
        path.unlink()
    assert inside("ls", "--json", home=pulled).ok().out == before


def test_the_doctor_rebuilds_and_says_so(pulled: Path) -> None:
    call = inside("doctor", "--rebuild", home=pulled).ok()
    assert "index rebuilt from 1 manifest" in call.err
    inside("doctor", "--rebuild", "--json", home=pulled).ok()


def test_the_doctor_on_a_healthy_archive(pulled: Path) -> None:
    before = tree(pulled / "archive" / "manifests"), tree(pulled / "archive" / "refs")
    call = inside("doctor", home=pulled).ok()
    for check in ("python", "archive", "room", "file system", "manifests", "blobs", "index"):
        assert check in call.out
    assert (tree(pulled / "archive" / "manifests"), tree(pulled / "archive" / "refs")) == before
    assert list((pulled / "archive" / "tmp").iterdir()) == []
    findings = inside("doctor", "--json", home=pulled).ok().documents
    assert {"check", "health", "text", "mend"} <= findings[0].keys()
    assert not [finding for finding in findings if finding["health"] == "wrong"]


def test_the_doctor_while_garbage_is_collected(
    pulled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it tries the disk with is not taken for what a dead process left."""
    layout = Layout(pulled / "archive")
    link, swept = os.link, []

    def collect_first(*names: Path) -> None:
        with disk.locked(layout.lock, exclusive=True):
            swept.append(sweep(layout))
        link(*names)

    monkeypatch.setattr(os, "link", collect_first)
    found = {finding.check: finding for finding in examine(pulled / "archive")}
    assert swept == [0]
    assert found["file system"].health is Health.OK


def test_the_doctor_without_an_archive(tmp_path: Path) -> None:
    call = inside("doctor", home=tmp_path).ok()
    assert "no archive" in call.out
    assert not (tmp_path / "archive").exists()
    inside("doctor", "--rebuild", home=tmp_path).failed("not-found", "storage")
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("damage", DAMAGES[:-1], ids=lambda damage: str(damage.__name__))
def test_the_doctor_names_the_damage_and_a_cure(
    pulled: Path, damage: Callable[[Path], None]
) -> None:
    damage(pulled)
    call = inside("doctor", "--json", home=pulled)
    wrong = [finding for finding in call.documents if finding.get("health") == "wrong"]
    healed = damage in {break_index, tear_index, newer_index, drop_tables}
    if not wrong and healed:
        return  # the index is a cache: opening it may have mended it
    assert call.code == 1
    assert wrong
    assert all(finding["mend"] for finding in wrong)


MARKERS: list[str | None] = [
    '{"outlast-archive": 3}',
    '{"outlast-archive": 999999}',
    '{"outlast-archive": "1"}',
    "{}",
    "[]",
    "",
    "not json",
    "[" * 4000,
    '{"a": "' + "x" * 10_000 + '"}',
    None,
]


@pytest.mark.parametrize("text", MARKERS, ids=lambda value: ascii(value)[:30])
def test_a_damaged_marker_keeps_from_writing_alone(pulled: Path, text: str | None) -> None:
    listed = inside("ls", home=pulled).ok().out
    marker = pulled / "archive" / "outlast.json"
    written = marker.read_bytes()
    os.chmod(marker, 0o644)
    if text is None:
        marker.unlink()
    else:
        marker.write_text(text)
    before = but_the_index(pulled)
    assert inside("ls", home=pulled).ok().out == listed
    assert "outlast.json" in inside("verify", home=pulled).err
    assert "--mend" in inside("doctor", home=pulled).out
    for arguments in (["gc"], ["rm", "org/name"], ["add", __file__, "--as", "me/x"]):
        if text is not None or arguments[0] != "add":
            inside(*arguments, home=pulled).failed("damaged-record")
            assert but_the_index(pulled) == before
    assert "restored: outlast.json" in inside("doctor", "--mend", home=pulled).ok().out
    assert marker.read_bytes() == written
    inside("add", __file__, "--as", "me/x", home=pulled).ok()


def but_the_index(home: Path) -> dict[str, bytes | None]:
    files = tree(home / "archive")
    return {str(path): data for path, data in files.items() if "index.sqlite" not in str(path)}


def test_an_archive_of_a_newer_format_is_left_alone(pulled: Path) -> None:
    for marker in ("outlast.json", "second/outlast.json"):
        os.chmod(pulled / "archive" / marker, 0o644)
        (pulled / "archive" / marker).write_bytes(marker_of(4))
    before = tree(pulled / "archive")
    commands = ["ls"], ["gc"], ["verify"], ["rm", "org/name"], ["doctor", "--mend"]
    for arguments in (*commands, ["add", __file__, "--as", "me/x"]):
        inside(*arguments, home=pulled).failed("storage")
        assert tree(pulled / "archive") == before


def test_an_archive_without_a_marker_is_none(pulled: Path) -> None:
    for marker in ("outlast.json", "second/outlast.json"):
        (pulled / "archive" / marker).unlink()
    for arguments in (["ls"], ["gc"], ["verify"], ["rm", "org/name"]):
        inside(*arguments, home=pulled).failed("not-found")


@pytest.mark.parametrize("damage", [break_ref, break_draft], ids=lambda d: str(d.__name__))
def test_one_bad_record_is_one_line_of_a_list(pulled: Path, damage: Callable[[Path], None]) -> None:
    inside("add", __file__, "--as", "me/x", home=pulled).ok()
    damage(pulled)
    call = inside("ls", home=pulled)
    assert call.code == 4
    rows = call.out.splitlines()
    assert [row for row in rows if "me/x" in row and "complete" in row]
    assert [row for row in rows if "org/name" in row and "complete" in row]
    assert len([row for row in rows if "DAMAGED" in row and "org/name" in row]) == 1
    inside("ls", "me/*", home=pulled).ok()
    documents = inside("ls", "--json", home=pulled).documents
    assert [one["repo"] for one in documents if one["type"] == "damaged"] == ["org/name"]
    assert len(documents) == 3
    inside("show", "me/x", home=pulled).ok()
    verified = inside("verify", "--json", home=pulled)
    assert verified.code == 4
    problems = next(d["problems"] for d in verified.documents if d.get("type") == "verified")
    assert [problem["code"] for problem in problems] == ["damaged-record"]


def test_the_doctor_mends_and_says_what_is_lost(pulled: Path) -> None:
    listed = inside("ls", home=pulled).ok().out
    break_ref(pulled)
    break_about(pulled)
    break_draft(pulled)
    assert "counts as private" in inside("show", f"org/name@{commit(pulled)}", home=pulled).ok().out
    call = inside("doctor", "--mend", home=pulled)
    assert call.code == 0
    assert "restored: refs/models/org/name/main" in call.out
    assert "restored: refs/models/org/name/.about" in call.out
    assert "set aside: drafts/models/org/name/aaaa" in call.out
    assert "lost is the draft" in call.out
    assert inside("ls", home=pulled).ok().out == listed
    assert not inside("doctor", "--mend", "--json", home=pulled).ok().documents[0].get("name")
    inside("verify", home=pulled).ok()


def commit(home: Path) -> str:
    return str(inside("ls", "--json", home=home).documents[0]["revision"])


def test_a_damaged_ref_and_draft_can_be_removed(pulled: Path) -> None:
    break_ref(pulled)
    inside("rm", "org/name@main", home=pulled).ok()
    assert inside("ls", home=pulled).ok().out.count("org/name") == 1, "its revision stays"
    break_draft(pulled)
    inside("rm", "org/name", home=pulled).ok()
    assert "org/name" not in inside("ls", home=pulled).ok().out


def test_a_pull_writes_damaged_records_anew(pulled: Path, hub: HubSim) -> None:
    for root in ("refs", "second/refs"):
        for name in ("main", ".about"):
            overwrite(pulled / "archive" / root / "models" / "org" / "name" / name, b"{")
    draft = pulled / "archive" / "drafts" / "models" / "org" / "name" / f"{commit(pulled)}.jsonl"
    draft.parent.mkdir(parents=True)
    draft.write_bytes(b"\xff\xfe not a draft\n")
    inside("pull", "org/name", "--from", hub.url, home=pulled).ok()
    inside("verify", home=pulled).ok()
    # Where the model came from was not known: only the next time it is what this hub says.
    assert "access    private" in inside("show", "org/name", home=pulled).ok().out
    inside("pull", "org/name", "--from", hub.url, home=pulled).ok()
    assert "access" not in inside("show", "org/name", home=pulled).ok().out


def test_a_copied_archive_works_elsewhere(pulled: Path) -> None:
    """Plain files: `cp -r` is a backup."""
    shutil.copytree(pulled / "archive", pulled / "copy")
    for path in (pulled / "copy").glob("index.sqlite*"):
        path.unlink()
    check_pulled(pulled / "copy")
    inside("verify", "--home", pulled / "copy", home=pulled).ok()
