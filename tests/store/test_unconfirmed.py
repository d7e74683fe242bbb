"""The mark of a revision that a node on the LAN alone listed, and how a hub's list replaces it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.fetch.revision import start_draft
from outlast.ops.mend import mend
from outlast.ops.removal import remove
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref, decode_ref
from outlast.store.records.survey import survey
from outlast.store.records.unconfirmed import Told
from outlast.store.writer import WriteSession

REPO = RepoId.parse("org/name")
COMMIT = GitOid("c" * 40)
TOLD = Told("peer 192.0.2.1:8091", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as archive:
        yield archive


@pytest.fixture
def writer(archive: Archive) -> Iterator[WriteSession]:
    with archive.writer() as writer:
        yield writer


def stored(archive: Archive, writer: WriteSession, path: str, data: bytes) -> FileEntry:
    names = names_of(data)
    archive.put(writer, data, names)
    return FileEntry(path, len(data)).with_names(names)


class TestMark:
    @pytest.fixture(autouse=True)
    def _put(self, archive: Archive, writer: WriteSession) -> None:
        entry = stored(archive, writer, "a", b"a")
        archive.unconfirmed.put(writer, REPO, COMMIT, TOLD)
        archive.put_revision(writer, Revision.of(REPO, COMMIT, [entry]))

    def test_it_is_read(self, archive: Archive) -> None:
        assert archive.unconfirmed.get(REPO, COMMIT) == TOLD
        assert archive.unconfirmed.get(REPO, GitOid("d" * 40)) is None
        assert archive.unconfirmed.all() == {(REPO, COMMIT)}
        assert survey(archive).damaged == ()

    @pytest.mark.parametrize("how", ["flipped", "gone", "both flipped"])
    def test_damage_takes_no_mark_away(self, archive: Archive, how: str) -> None:
        path = archive.unconfirmed.path(REPO, COMMIT)
        if how == "gone":
            path.unlink()
        else:
            for each in (path, archive.layout.second_of(path))[: 1 + how.startswith("both")]:
                each.write_bytes(each.read_bytes().replace(b"192", b"193"))
        assert archive.unconfirmed.get(REPO, COMMIT) == Told()
        assert archive.unconfirmed.all() == {(REPO, COMMIT)}
        [damage] = survey(archive).damaged
        assert damage.name == archive.layout.name_of(path)
        [mended] = mend(archive.layout.home)
        assert mended.name == damage.name
        assert survey(archive).damaged == ()
        assert archive.unconfirmed.get(REPO, COMMIT) == (Told() if "both" in how else TOLD)

    def test_it_goes_with_its_revision(self, archive: Archive) -> None:
        remove(archive, Target(REPO, None), dry_run=False, control=Control())
        assert archive.unconfirmed.all() == frozenset()
        assert not any(archive.layout.unconfirmed.rglob("*"))


def test_a_ref_without_the_field_is_confirmed() -> None:
    """As versions before wrote it."""
    ref = Ref("main", COMMIT, "peer x", unconfirmed=True)
    assert decode_ref("main", ref.encode()) == ref
    document = json.loads(ref.encode())
    del document["unconfirmed"]
    assert not decode_ref("main", json.dumps(document).encode()).unconfirmed
    assert b"unconfirmed" not in Ref("main", COMMIT, "http://hub").encode()


class TestTwoProcesses:
    """One follows a node's list of a commit while another gets that of the hub."""

    @pytest.fixture
    def entries(self, archive: Archive, writer: WriteSession) -> dict[str, FileEntry]:
        data = {"right": b"right", "changed": b"wrong", "extra": b"extra"}
        return {path: stored(archive, writer, path, each) for path, each in data.items()}

    @pytest.fixture
    def hubs(self, entries: dict[str, FileEntry]) -> list[FileEntry]:
        changed = FileEntry("changed", 5).with_names(names_of(b"truth"))
        return [entries["right"], changed]

    def begin(self, archive: Archive, writer: WriteSession, entries: list[FileEntry]) -> None:
        start_draft(archive, writer, REPO, COMMIT, entries, told_by="peer x")
        assert archive.unconfirmed.get(REPO, COMMIT) is not None

    def test_what_comes_after_the_hubs_list_is_no_part_of_it(
        self,
        archive: Archive,
        writer: WriteSession,
        entries: dict[str, FileEntry],
        hubs: list[FileEntry],
    ) -> None:
        self.begin(archive, writer, list(entries.values()))
        start_draft(archive, writer, REPO, COMMIT, hubs)
        archive.acknowledge(writer, REPO, COMMIT, list(entries.values()), listed=True)
        revision = archive.load(REPO, COMMIT)
        assert revision is not None
        assert [e.path for e in revision.files] == ["right"]
        assert list(revision.missing) == hubs[1:]
        assert archive.unconfirmed.get(REPO, COMMIT) is None

    def test_a_seal_that_was_under_way(
        self,
        archive: Archive,
        writer: WriteSession,
        entries: dict[str, FileEntry],
        hubs: list[FileEntry],
    ) -> None:
        """It had read the draft of the node's list."""
        self.begin(archive, writer, list(entries.values()))
        archive.acknowledge(writer, REPO, COMMIT, list(entries.values()), listed=True)
        read = archive.load(REPO, COMMIT)
        assert read is not None
        stored(archive, writer, "changed", b"truth")
        start_draft(archive, writer, REPO, COMMIT, hubs)
        archive.acknowledge(writer, REPO, COMMIT, hubs)
        archive.put_revision(writer, read, drafted=True)
        archive.put_revision(writer, read, drafted=True)  # and where the draft is gone by then
        revision = archive.load(REPO, COMMIT)
        assert revision is not None
        assert list(revision.files) == sorted(hubs, key=lambda e: e.path)
        assert len(archive.index.manifests_of(REPO, COMMIT)) == 1
