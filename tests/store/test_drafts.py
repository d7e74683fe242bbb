"""Drafts: what was acknowledged stays, after torn writes and with several writers at once."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import CorruptError, OutlastError
from outlast.core.manifest import Revision
from outlast.store.archive import Archive
from outlast.store.collect import collect
from tests.store.build import COMMIT, OTHER, REPO, entry_of, put, revision_of
from tests.store.fault import FaultyOs, seeing

CONTENTS = {f"f{n}": b"content %d" % n for n in range(4)}
LISTED = revision_of({}, CONTENTS)
LINE = json.dumps({**entry_of("f1", CONTENTS["f1"]).to_json(), "held": True}).encode()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


@pytest.fixture
def draft(archive: Archive) -> Path:
    with archive.writer() as writer:
        archive.drafts.start(writer, LISTED)
    return archive.layout.draft(REPO, COMMIT)


def held(archive: Archive) -> set[str]:
    revision = archive.drafts.load(REPO, COMMIT)
    assert revision is not None
    here, missing = ({e.path for e in part} for part in (revision.files, revision.missing))
    assert here | missing == set(CONTENTS)
    assert not here & missing
    return here


def add(archive: Archive, *paths: str) -> None:
    archive.drafts.add(REPO, COMMIT, [entry_of(path, CONTENTS[path]) for path in paths])


@pytest.mark.parametrize("gone", ["org/name", "org"])
def test_a_list_beside_a_process_that_finishes_the_draft(
    archive: Archive, draft: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """It deletes the folders that are empty then, and the list was just about to look there."""
    folder = archive.layout.drafts / "models" / gone
    assert draft.is_relative_to(folder)

    def about_to_look(look: Callable[[Any], Any], path: Any) -> Any:
        if not isinstance(path, int) and Path(path) == folder:
            shutil.rmtree(folder)
        return look(path)

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, partial(about_to_look, getattr(os, name)))
    assert list(archive.drafts.all()) == []
    assert not folder.exists()


def test_a_draft_from_start_to_end(archive: Archive, draft: Path) -> None:
    assert archive.drafts.exists(REPO, COMMIT)
    assert archive.drafts.load(REPO, COMMIT) == LISTED
    assert archive.drafts.of(REPO) == [COMMIT]
    assert list(archive.drafts.all()) == [LISTED]
    add(archive, "f0", "f2")
    assert held(archive) == {"f0", "f2"}
    add(archive)
    add(archive, "f0")
    add(archive, "f1", "f3")
    sealed = archive.drafts.load(REPO, COMMIT)
    assert sealed == revision_of(CONTENTS)
    assert archive.drafts.delete(REPO, COMMIT)
    assert not archive.drafts.delete(REPO, COMMIT)
    assert not draft.parent.exists()
    assert archive.layout.drafts.exists()


def test_starting_again_keeps_what_is_there(archive: Archive, draft: Path) -> None:
    add(archive, "f0")
    before = draft.read_bytes()
    with archive.writer() as writer:
        archive.drafts.start(writer, LISTED)
    assert draft.read_bytes() == before


def test_a_start_knows_what_is_here_already(archive: Archive) -> None:
    revision = revision_of({"a": b"a"}, {"b": b"b"}, commit=OTHER)
    with archive.writer() as writer:
        archive.drafts.start(writer, revision)
    assert archive.drafts.load(REPO, OTHER) == revision


@pytest.mark.parametrize("cut", range(len(LINE)))
def test_a_torn_line_is_ignored_and_ends_where_the_next_begins(
    archive: Archive, draft: Path, cut: int
) -> None:
    add(archive, "f0")
    with open(draft, "ab") as file:
        file.write(b"\n" + LINE[:cut])
    assert held(archive) == {"f0"}
    add(archive, "f2")
    assert held(archive) == {"f0", "f2"}


@pytest.mark.parametrize(
    "junk", [bytes(4096), b"\xff\xfe\n", b"[]\n", b"null\n", b"\n\n\n", b'"f1"\n', b"7\n", b"{}\n"]
)
def test_what_a_lost_plug_leaves_is_ignored(archive: Archive, draft: Path, junk: bytes) -> None:
    add(archive, "f0")
    with open(draft, "ab") as file:
        file.write(junk)
    add(archive, "f3")
    assert held(archive) == {"f0", "f3"}


@pytest.mark.parametrize("lines", [0, 1])
def test_a_draft_without_a_head_is_damaged(archive: Archive, draft: Path, lines: int) -> None:
    draft.write_bytes(b'{"type": "other"}\n' * lines)
    with pytest.raises(CorruptError):
        archive.drafts.load(REPO, COMMIT)
    with pytest.raises(CorruptError):
        list(archive.drafts.all())


def test_eight_threads_add_at_once(archive: Archive) -> None:
    contents = {f"file{n}": b"%d" % n for n in range(64)}
    with archive.writer() as writer:
        archive.drafts.start(writer, revision_of({}, contents))
    barrier = threading.Barrier(8)

    def some(first: int) -> None:
        barrier.wait(30)
        for n in range(first, 64, 8):
            archive.drafts.add(REPO, COMMIT, [entry_of(f"file{n}", b"%d" % n)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))
    assert archive.drafts.load(REPO, COMMIT) == revision_of(contents)


def test_two_processes_start_the_same_draft(archive: Archive) -> None:
    """The later process must not undo what the other noted in between."""
    before_rename: list[None] = []

    def other_process(_: int, step: str) -> None:
        if step == "open" and not before_rename:  # it has looked: there is no draft
            before_rename.append(None)
            with archive.writer() as other:
                archive.drafts.start(other, LISTED)
                put(archive, other, CONTENTS["f0"])
                add(archive, "f0")

    with archive.writer() as writer, seeing(FaultyOs(hook=other_process)):
        archive.drafts.start(writer, LISTED)
    assert before_rename
    assert held(archive) == {"f0"}


def test_sealing_does_not_lose_what_another_process_acknowledged_meanwhile(
    archive: Archive,
) -> None:
    """Two pulls of different files of one commit: one seals what it read, the other adds."""
    with archive.writer() as one, archive.writer() as two:
        archive.drafts.start(one, LISTED)
        put(archive, one, CONTENTS["f0"])
        add(archive, "f0")
        sealed = archive.load(REPO, COMMIT)
        assert isinstance(sealed, Revision)
        put(archive, two, CONTENTS["f1"])
        add(archive, "f1")  # acknowledged
        archive.put_revision(one, sealed)
    check_f1_is_kept(archive)


def test_sealing_sees_what_is_noted_while_it_writes(archive: Archive) -> None:
    noted: list[int] = []

    def other_process(number: int, step: str) -> None:
        if step == "fsync" and not noted:  # it has read the draft and writes the manifest
            noted.append(number)
            add(archive, "f1")

    with archive.writer() as one, archive.writer() as two:
        archive.drafts.start(one, LISTED)
        put(archive, two, CONTENTS["f0"], CONTENTS["f1"])
        add(archive, "f0")
        sealed = archive.load(REPO, COMMIT)
        assert isinstance(sealed, Revision)
        with seeing(FaultyOs(hook=other_process)):
            archive.put_revision(one, sealed)
        assert noted
    check_f1_is_kept(archive)


def test_adding_after_another_process_sealed_is_not_silently_lost(archive: Archive) -> None:
    with archive.writer() as one, archive.writer() as two:
        archive.drafts.start(one, LISTED)
        put(archive, one, CONTENTS["f0"])
        add(archive, "f0")
        sealed = archive.load(REPO, COMMIT)
        assert isinstance(sealed, Revision)
        archive.put_revision(one, sealed)
        put(archive, two, CONTENTS["f1"])
        try:
            add(archive, "f1")
        except OutlastError:
            return  # the caller knows that it was not noted
    check_f1_is_kept(archive)


def check_f1_is_kept(archive: Archive) -> None:
    revision = archive.load(REPO, COMMIT)
    assert revision is not None
    assert {"f0", "f1"} <= {entry.path for entry in revision.files}
    assert list(collect(archive, dry_run=False)) == []


def test_a_blob_that_awaits_its_line_is_not_garbage(archive: Archive) -> None:
    """As after a crash between the blob's rename and the draft's line: its session is dead."""
    with archive.writer() as writer:
        archive.drafts.start(writer, LISTED)
        awaited, other = put(archive, writer, CONTENTS["f1"], b"in no draft")
    assert held(archive) == set()
    assert [g.name for g in collect(archive, dry_run=False)] == [other.hex]
    assert archive.has(awaited, len(CONTENTS["f1"]))


def test_a_draft_in_the_place_of_another_is_not_believed(archive: Archive, draft: Path) -> None:
    """A file that was copied to the wrong place must not show one model as another."""
    place = archive.layout.draft(REPO, OTHER)
    place.write_bytes(draft.read_bytes())
    with pytest.raises(CorruptError):
        archive.drafts.load(REPO, OTHER)


def test_foreign_files_among_the_drafts(archive: Archive, draft: Path) -> None:
    (draft.parent / "notes.jsonl").write_text("x")
    try:
        assert archive.commits(REPO) == [COMMIT]
    except CorruptError:
        return


def test_a_list_of_more_files_takes_the_place_of_one_of_less(archive: Archive) -> None:
    """Versions before left files out for their names."""
    less = revision_of({}, {path: CONTENTS[path] for path in ("f0", "f1")})
    with archive.writer() as writer:
        archive.drafts.start(writer, less)
        put(archive, writer, CONTENTS["f0"])
        add(archive, "f0")
        archive.drafts.start(writer, LISTED)
        assert held(archive) == {"f0"}
        archive.drafts.start(writer, less)
    assert held(archive) == {"f0"}, "a list of less does not"


def test_acknowledging_into_an_unlisted_commit_does_not_make_it_complete(archive: Archive) -> None:
    """It is not known what else the commit has; a sealed draft must not say that it is whole."""
    with archive.writer() as writer:
        put(archive, writer, CONTENTS["f0"], CONTENTS["f1"])
        archive.put_revision(writer, revision_of({"f0": CONTENTS["f0"]}, unlisted=True))
        archive.acknowledge(writer, REPO, COMMIT, [entry_of("f1", CONTENTS["f1"])])
        draft = archive.load(REPO, COMMIT)
        assert draft is not None
        archive.put_revision(writer, draft)
    sealed = archive.load(REPO, COMMIT)
    assert sealed is not None
    assert {entry.path for entry in sealed.files} == {"f0", "f1"}
    assert sealed.partial
