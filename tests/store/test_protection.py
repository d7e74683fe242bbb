"""What protects blobs where two rules meet: drafts that were set aside, older formats, bases in the
trash, and a machine that is short of files meanwhile.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import ExhaustedError
from outlast.intake import capsule_stream
from outlast.intake.base_finder import BaseFinder
from outlast.intake.capsule_stream import Intake
from outlast.intake.form_policy import FormWishes
from outlast.ops.doctor import Health, examine
from outlast.ops.mend import mend
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.forms import StoredForm, stamp_of
from outlast.store.index import Index
from outlast.store.records import draft_lines, records
from outlast.store.records.survey import survey
from outlast.store.records.upgrade import upgrade
from tests.campaign import rounds
from tests.store import weights
from tests.store.build import COMMIT, OTHER, REPO, archive_revision, entry_of, put, revision_of
from tests.store.test_collect import FILES, add_garbage, are_here, flip, start_draft, take
from tests.store.test_formats import CLOSED, GOLDEN, opened

BASE, TUNED = weights.model(1), weights.tuned(weights.model(1), 2)
LATER = {**FILES, "c": b"later"}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


# Drafts that were set aside


def test_a_draft_that_was_set_aside_protects_until_its_revision_is_complete(
    archive: Archive,
) -> None:
    path = start_draft(archive, "a", "b")
    flip(path, path.read_bytes().rindex(b'"held"'))
    listed = list(mend(archive.layout.home))
    assert len(listed) == 1
    garbage = add_garbage(archive, b"it may be named")
    assert take(archive, grace=0)[0] == set()
    with archive.writer() as writer:  # a part of it, for good: that says nothing of the others
        archive.put_revision(writer, revision_of({"a": FILES["a"]}, {"c": b"later"}, unlisted=True))
    assert take(archive, grace=0)[0] == set()
    assert are_here(archive, *FILES.values())
    with archive.writer() as writer:
        put(archive, writer, b"later")
        archive.put_revision(writer, revision_of(LATER))
    assert take(archive, grace=0) == ({garbage}, [])
    assert are_here(archive, *LATER.values())


def test_a_draft_that_was_sealed_in_doubt_protects_until_its_revision_is_complete(
    archive: Archive,
) -> None:
    path = start_draft(archive, "a", "b")
    flip(path, path.read_bytes().rindex(b'"held"'))
    garbage = add_garbage(archive, b"it may be named")
    with archive.writer() as writer:
        sealed = archive.drafts.load(REPO, COMMIT)
        assert sealed is not None
        archive.put_revision(writer, sealed)
    assert take(archive, grace=0)[0] == set()
    with archive.writer() as writer:
        put(archive, writer, *LATER.values())
        archive.put_revision(writer, revision_of(LATER))
    assert take(archive, grace=0) == ({garbage}, [])


def test_another_revision_does_not_stand_for_a_draft_that_was_set_aside(archive: Archive) -> None:
    path = start_draft(archive, "a", "b")
    flip(path, 3)
    list(mend(archive.layout.home))
    archive.drafts.delete(REPO, COMMIT)
    with archive.writer() as writer:
        put(archive, writer, b"x")
        archive.put_revision(writer, revision_of({"x": b"x"}, commit=OTHER))
        other = revision_of({"x": b"x"}, repo=CLOSED, commit=COMMIT)
        archive.put_revision(writer, other)
    assert take(archive, grace=0)[0] == set()
    assert are_here(archive, *FILES.values())


def test_a_draft_whose_end_is_zeros_is_not_taken_for_torn(archive: Archive) -> None:
    """As a disk gives a sector that it lost: what was acknowledged stood there."""
    large = b"a file whose merkle root is not its sha256" * 1000
    path = start_draft(archive, "a")
    with archive.writer() as writer:
        put(archive, writer, large)
        archive.drafts.add(REPO, COMMIT, [entry_of("d", large)])
    data = path.read_bytes()
    begin = data.rindex(b"merkle_root")
    path.write_bytes(data[:begin] + bytes(len(data) - begin))
    assert take(archive, grace=0)[0] == set()
    assert are_here(archive, large)


# Older formats


def spoil(archive: Archive, data: bytes) -> Path:
    """A digit of the only lines that name a blob is none any more, in a draft of format 2."""
    path = archive.layout.draft(CLOSED, OTHER)
    name = Digest.of(data).hex.encode()
    path.write_bytes(path.read_bytes().replace(name, b"q" + name[1:]))
    return path


def test_a_line_of_an_old_draft_that_cannot_be_read_loses_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, 2) as archive:
        (held,) = archive.drafts.all().__next__().files
        assert held.sha256 is not None
        with archive.open_blob(held.sha256) as blob:
            data = blob.stream().read()
        spoil(archive, data)
        assert take(archive, grace=0)[0] == set()
        archive.writer().close()
        assert archive.layout.version() == 3
        assert take(archive, grace=0)[0] == set()
        assert are_here(archive, data)


def test_no_bit_of_an_old_draft_loses_a_blob_or_completes_it(tmp_path: Path) -> None:
    """Small files of a hub have their sha256 only in the line that noted them."""
    with opened(tmp_path, 2) as archive:
        path = archive.layout.draft(CLOSED, OTHER)
        first = path.read_bytes()
        (held,) = next(archive.drafts.all()).files
        assert held.sha256 is not None
        name = held.sha256.hex.encode()
        entry = b'"merkle_root": "%s", "path": "1", "sha256": "%s"' % (name, name)
        first = first.replace(entry, b'"git_sha1": "%s", "path": "1"' % (b"1" * 40), 1)
        first = first.replace(b'"merkle_root": "%s", ' % name, b"")
        assert first.count(name) == 1
        assert first.endswith(b"}\n")
        last = len(first) - 130
        for at in (*range(last, len(first), rounds(3, 1)), *range(0, last, rounds(19, 7))):
            for zeros in (1, 400):
                broken = first[:at] + bytes(zeros) + first[at + zeros :]
                if zeros == 1:
                    broken = first[:at] + bytes([first[at] ^ 4]) + first[at + 1 :]
                path.write_bytes(broken)
                archive.layout.marker.unlink()
                shutil.rmtree(archive.layout.second, ignore_errors=True)
                shutil.rmtree(archive.layout.quarantine, ignore_errors=True)
                shutil.copyfile(GOLDEN / "v2" / "outlast.json", archive.layout.marker)
                with Archive(archive.layout.home) as again:
                    upgrade(again.records, list)
                    for state in again.drafts.states():
                        assert state.revision is None or state.revision.partial, broken
                    taken = {garbage.name for garbage in collect(again, dry_run=True)}
                assert held.sha256.hex not in taken, broken


def test_a_torn_line_of_an_old_draft_is_no_damage(tmp_path: Path) -> None:
    with opened(tmp_path, 2) as archive:
        path = archive.layout.draft(CLOSED, OTHER)
        line = path.read_bytes().splitlines()[-1]
        with open(path, "ab") as file:
            file.write(b"\n" + line[: len(line) // 2] + b"\n" + line + b"\n" + line[:9])
        assert survey(archive).damaged == ()
        assert [garbage.what for garbage in collect(archive, dry_run=True)] == []


def test_an_upgrade_without_files_left_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, 2) as archive:
        real = records.Records.read

        def short(self: records.Records, path: Path, limit: int = records.LIMIT) -> bytes:
            if path.name == "main":
                raise OSError(errno.EMFILE, "Too many open files")
            return real(self, path, limit)

        with monkeypatch.context() as patch:
            patch.setattr(records.Records, "read", short)
            with pytest.raises(ExhaustedError):
                archive.writer()
        assert archive.layout.version() == 2
        archive.writer().close()
        assert survey(archive).damaged == ()
        assert archive.layout.version() == 3


# The trash


def test_the_base_of_what_is_in_use_is_taken_out_of_the_trash_too(archive: Archive) -> None:
    revision = archive_revision(archive, {"m": TUNED})
    with archive.writer() as writer:
        put(archive, writer, BASE)
        weights.pack(archive, writer, Digest.of(TUNED), Digest.of(BASE))
    path = archive.layout.manifest(revision.digest)
    data = path.read_bytes()
    archive.delete_revision(REPO, COMMIT)
    list(collect(archive, dry_run=False))
    assert list(archive.blobs()) == []
    path.write_bytes(data)
    list(collect(archive, dry_run=False))
    list(collect(archive, dry_run=False, grace=0))
    assert are_here(archive, TUNED)


# The index


def test_a_manifest_that_the_disk_cannot_read_leaves_the_others(archive: Archive) -> None:
    archive_revision(archive, FILES)
    bad = archive.layout.manifests / f"{'e' * 64}.json"
    bad.mkdir()  # reading it is an error, as where a sector is lost
    assert [summary.repo for summary in archive.summaries()] == [REPO]
    assert not archive.index.differs()
    findings = [f for f in examine(archive.layout.home) if f.health is Health.WRONG]
    assert {finding.check for finding in findings} == {"manifests", "records"}
    assert take(archive, grace=0)[0] == set()
    bad.rmdir()
    with archive.writer() as writer:
        put(archive, writer, b"x")
        archive.put_revision(writer, revision_of({"x": b"x"}, commit=OTHER))
    assert archive.commits(REPO) == sorted([COMMIT, OTHER])


# Bases


@pytest.mark.parametrize("rotted", [False, True])
def test_what_comes_in_is_not_encoded_against_a_damaged_base(
    archive: Archive, *, rotted: bool
) -> None:
    big = weights.model(1, 40_000)
    tuned = weights.tuned(big, 2)
    with archive.writer() as writer:
        put(archive, writer, big)
        archive.put_revision(writer, revision_of({"model.safetensors": big}))
    path = archive.layout.blob(Digest.of(big))
    if rotted:
        flip(path, 60_000)
    with archive.writer() as writer:
        wishes = FormWishes()
        finder = BaseFinder(archive, writer, wishes, REPO)
        intake = Intake(archive, writer, wishes, finder)
        capsule_stream.put(intake, bytearray(tuned), names_of(tuned))
    assert bool(archive.form_of(Digest.of(tuned)).bases) != rotted
    if rotted:
        flip(path, 60_000)  # the base is repaired, and read as a whole
        archive.soundness.note_whole(Digest.of(big), path.stat())
    assert are_here(archive, big, tuned)


def test_notes_that_cannot_be_taken_cost_nothing_else(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_revision(archive, FILES)
    digest = Digest.of(FILES["a"])
    stat = os.stat(archive.layout.blob(digest))

    def short(_: Index, _read: object) -> None:
        raise ExhaustedError("Too many open files")

    monkeypatch.setattr(Index, "_sync", short)
    archive.index.note_checked(digest, stat)
    archive.index.note_unpaying(digest)
    archive.index.note_form(digest, stamp_of(stat), StoredForm(Form.CAPSULE, 9, 5))
    archive.note_names(names_of(FILES["b"]))
    archive.index.forget_trees([digest])
    with pytest.raises(ExhaustedError):
        archive.index.is_checked(digest, stat)


def test_a_manifest_that_can_be_read_again_is_read(archive: Archive) -> None:
    """The folder's time does not tell: nothing in it changed but what the disk gives back."""
    path = archive.layout.manifest(archive_revision(archive, FILES).digest)
    data = path.read_bytes()
    path.unlink()
    path.mkdir()
    os.utime(archive.layout.manifests, (1e9, 1e9))
    assert archive.summaries() == []
    path.rmdir()
    path.write_bytes(data)
    os.utime(archive.layout.manifests, (1e9, 1e9))
    assert [summary.repo for summary in archive.summaries()] == [REPO]


def test_a_listed_line_of_an_old_draft_is_never_torn() -> None:
    data = (GOLDEN / "v2/drafts/datasets/org/closed").joinpath(f"{OTHER}.jsonl").read_bytes()
    lines = data.split(b"\n")
    assert draft_lines.read("x", data, strict=False).bad_lines == 0
    lines[2] = lines[2][:40]
    assert draft_lines.read("x", b"\n".join(lines), strict=False).bad_lines == 1
