"""What a node on the LAN alone said of a model is shown as that."""

from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref
from outlast.store.records.unconfirmed import Told
from tests.cli.call import inside

REPO = RepoId.parse("org/name")
THEIRS, OURS = GitOid("a" * 40), GitOid("b" * 40)
TOLD = Told("peer 192.0.2.1:8091", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two commits: a node listed one, and said that `main` is it; a hub listed the other."""
    names = names_of(b"data")
    with Archive(tmp_path / "archive", create=True) as archive, archive.writer() as writer:
        archive.put(writer, b"data", names)
        archive.unconfirmed.put(writer, REPO, THEIRS, TOLD)
        for commit in (THEIRS, OURS):
            entry = FileEntry("a.bin", 4).with_names(names)
            archive.put_revision(writer, Revision.of(REPO, commit, [entry]))
        ref = Ref("main", THEIRS, TOLD.by, TOLD.since, "branch", unconfirmed=True)
        archive.refs.put(writer, REPO, ref)
    return tmp_path


def test_ls(home: Path) -> None:
    theirs, ours = inside("ls", home=home).ok().out.splitlines()[1:3]
    assert theirs.endswith("complete, unconfirmed")
    assert ours.endswith("complete")
    marks = {d["revision"]: d["unconfirmed"] for d in inside("ls", "--json", home=home).documents}
    assert marks == {THEIRS.hex: True, OURS.hex: False}


def test_a_ref_alone(home: Path) -> None:
    with Archive(home / "archive") as archive:
        archive.unconfirmed.delete(REPO, THEIRS)
    theirs = inside("ls", home=home).ok().out.splitlines()[1]
    assert theirs.endswith("complete, unconfirmed")
    shown = inside("show", "org/name", home=home).ok().out
    assert "according to peer 192.0.2.1:8091" in shown
    assert shown.count("no hub has confirmed it") == 1


def test_show(home: Path) -> None:
    shown = inside("show", "org/name", home=home).ok().out
    assert f"listed    by {TOLD.by} at {TOLD.since}; no hub has confirmed it" in shown
    document = inside("show", "org/name", "--json", home=home).ok().result
    assert document["listed_by"] == {"by": TOLD.by, "since": TOLD.since}
    assert document["refs"][0]["unconfirmed"]
    document = inside("show", f"org/name@{OURS}", "--json", home=home).ok().result
    assert document["listed_by"] is None
    assert "no hub" not in inside("show", f"org/name@{OURS}", home=home).ok().out


def test_verify_and_doctor_read_the_mark(home: Path) -> None:
    inside("verify", home=home).ok()
    with Archive(home / "archive") as archive:
        path = archive.unconfirmed.path(REPO, THEIRS)
    path.write_bytes(b"?")
    assert inside("verify", home=home).code == 4
    inside("doctor", "--mend", home=home)
    inside("verify", home=home).ok()
    document = inside("show", "org/name", "--json", home=home).ok().result
    assert document["listed_by"]["by"] == TOLD.by
