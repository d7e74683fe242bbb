"""`outlast ls`: its order, what it leaves out, and its dates."""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest

from outlast.core.names import RepoId
from outlast.store.archive import Archive
from tests.cli.call import Call, inside
from tests.hubsim import HubRepo, HubSim

SIZES = {"org/b": 5000, "org/c": 70_000, "a/big": 70_000, "org/long": 100}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An archive with folders that were added, one of them twice as large as the others, and with
    a model of a hub of which one file is left out.
    """
    for name, size in SIZES.items():
        folder = tmp_path / "folders" / name
        folder.mkdir(parents=True)
        (folder / "a.bin").write_bytes(name.encode() + os.urandom(size - len(name)))
    for name in SIZES:
        inside("add", tmp_path / "folders" / name, "--as", name, home=tmp_path).ok()
    root = tmp_path / "hub"
    HubRepo(root, "org/part").commit({"one.bin": b"1" * 600, "two.bin": b"2" * 600})
    with HubSim(root, mode="thread") as hub:
        inside("pull", "org/part", "--from", hub.url, "--exclude", "two.bin", home=tmp_path).ok()
    return tmp_path


def ls(home: Path, *arguments: str) -> list[dict[str, Any]]:
    return inside("ls", *arguments, "--json", home=home).ok().documents


def names(home: Path, *arguments: str) -> list[str]:
    return [line["repo"] for line in ls(home, *arguments)]


def set_dates(home: Path) -> None:
    """The later in the alphabet, the older."""
    with Archive(home / "archive") as archive:
        for days, summary in enumerate(archive.summaries()):
            assert summary.digest is not None
            moment = dt.datetime(2020, 1, 28 - days, 12, tzinfo=dt.UTC).timestamp()
            os.utime(archive.layout.manifest(summary.digest), (moment, moment))


def test_by_name(home: Path) -> None:
    expected = ["a/big", "org/b", "org/c", "org/long", "org/part"]
    assert names(home) == names(home, "--sort", "name") == expected
    assert names(home, "--reverse") == expected[::-1]


def test_by_size(home: Path) -> None:
    expected = ["a/big", "org/c", "org/b", "org/part", "org/long"]
    assert names(home, "--sort", "size") == expected
    assert names(home, "--sort", "size", "--reverse") == expected[::-1]
    assert names(home, "org/*", "--sort", "size") == expected[1:]


def test_by_date(home: Path) -> None:
    set_dates(home)
    expected = ["org/part", "a/big", "org/b", "org/c", "org/long"]
    assert names(home, "--sort", "date") == expected
    assert names(home, "--sort", "date", "--reverse") == expected[::-1]


def test_the_date_is_the_source_s_or_that_of_the_record(home: Path) -> None:
    set_dates(home)
    lines = {line["repo"]: line for line in ls(home)}
    assert lines["a/big"]["date"] == "2020-01-28T12:00:00+00:00"
    assert lines["a/big"]["observed"] is None
    with Archive(home / "archive") as archive:
        ref = archive.refs.get(RepoId.parse("org/part"), "main")
    assert ref is not None
    assert lines["org/part"]["observed"] == lines["org/part"]["date"] == ref.observed
    assert dt.datetime.fromisoformat(ref.observed).year > 2020


def test_partial_ones(home: Path) -> None:
    call = inside("ls", "--partial", home=home).ok()
    assert [row.split()[0] for row in call.out.splitlines()] == ["MODEL", "org/part"]
    assert "1 revision, 600 B" in call.err
    assert "the archive takes" not in call.err
    assert names(home, "--partial") == ["org/part"]
    assert names(home, "--partial", "a/*") == []


def test_in_each_order_the_own_bytes_add_up(home: Path) -> None:
    """A file of two revisions counts with the one that is listed first."""
    folder = home / "folders" / "org" / "c"
    (folder / "b.bin").write_bytes(b"b")
    inside("add", folder, "--as", "org/copy", home=home).ok()
    total = sum(line["own_bytes"] for line in ls(home))
    for arguments in (["--sort", "size"], ["--sort", "date"], ["--reverse"]):
        lines = ls(home, *arguments)
        assert sum(line["own_bytes"] for line in lines) == total
        shared = [line for line in lines if line["repo"] in {"org/c", "org/copy"}]
        assert shared[0]["own_bytes"] == shared[0]["stored_bytes"]
        assert shared[1]["own_bytes"] < shared[1]["stored_bytes"]


def test_damaged_refs_are_listed_with_partial_ones_too(home: Path) -> None:
    (path,) = (home / "archive" / "refs").glob("*/org/b/main")
    path.write_bytes(b"garbage")
    second = home / "archive" / "second" / path.relative_to(home / "archive")
    second.write_bytes(b"garbage")
    call = inside("ls", "--partial", "--sort", "date", home=home)
    assert call.code == 4
    head, *rows = (line.split() for line in call.out.splitlines())
    assert [row[0] for row in rows] == ["org/part", "org/b"]
    assert rows[1][1:9] == ["?", "main", *"?????", "DAMAGED:"]
    assert head[7] == "DATE"


def table(home: Path, *arguments: str) -> Call:
    return inside("ls", *arguments, home=home).ok()


def test_the_table_has_dates_where_there_is_room(home: Path) -> None:
    set_dates(home)
    out = table(home, "a/*").out
    assert [row.split()[-2:] for row in out.splitlines()] == [
        ["DATE", "STATE"],
        ["2020-01-28", "complete"],
    ]
    name = f"org/{'x' * 60}"
    inside("add", home / "folders" / "org" / "c", "--as", name, home=home).ok()
    assert "DATE" not in table(home).out
    assert max(map(len, table(home, "org/[bcl]*").out.splitlines())) <= 100
    assert "DATE" in table(home, "--sort", "date").out


def test_no_such_order(home: Path) -> None:
    assert "'age'" in inside("ls", "--sort", "age", home=home).failed("usage")
