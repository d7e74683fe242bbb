"""What a collection believes, what it keeps when it cannot know, and the trash."""

import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlast.cli.revisions.verify import verdict_status
from outlast.codec import format as fmt
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, ExhaustedError, NotFoundError, StorageError
from outlast.core.events import Event, Planned
from outlast.core.names import RepoId
from outlast.ops.verify import Verified, verify
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.collect import Spared, collect, undo
from outlast.store.database import proof
from outlast.store.garbage.ages import Moment
from outlast.store.garbage.trash import Trash, room_hint
from outlast.store.garbage.tuning import DAY, GRACE
from outlast.store.records.sealed import seal
from tests.store import weights
from tests.store.build import COMMIT, OTHER, REPO, archive_revision, entry_of, put, revision_of

FILES = {"a": b"only here", "b": b"weights" * 100}
BASE, TUNED = weights.model(1), weights.tuned(weights.model(1), 2)
THIRD = RepoId.parse("me/third")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


def flip(path: Path, at: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def flip_digit(path: Path, digest: Digest, place: int = 0) -> None:
    """Makes the file name another blob in place of this one, in one line of those that do."""
    name = b'"sha256": "' + digest.hex.encode()
    parts = path.read_bytes().split(name)
    assert len(parts) > place + 1
    other = name[:-1] + (b"0" if name[-1:] != b"0" else b"1")
    head, tail = name.join(parts[: place + 1]), name.join(parts[place + 1 :])
    path.write_bytes(head + other + tail)


def take(archive: Archive, **options: object) -> tuple[set[tuple[str, str]], list[Spared]]:
    """What a collection takes, after a dry run said the same."""
    found = []
    for dry_run in (True, False):
        spared: list[Spared] = []
        items = collect(archive, dry_run=dry_run, spared=spared.append, **options)  # type: ignore[arg-type]
        found.append(({(g.what, g.name) for g in items if g.what != "tmp"}, spared))
    assert found[0] == found[1]
    return found[1]


def are_here(archive: Archive, *contents: bytes) -> bool:
    for data in contents:
        if not archive.has(Digest.of(data), len(data)):
            return False
        with archive.open_blob(Digest.of(data)) as blob:
            if blob.sha256() != Digest.of(data):
                return False
    return True


def add_garbage(archive: Archive, data: bytes) -> tuple[str, str]:
    with archive.writer() as writer:
        put(archive, writer, data)
    return "blob", Digest.of(data).hex


def quarantine_all(archive: Archive) -> Verified:
    return verify(archive, [], quarantine=True, control=Control())


# Records that cannot be read


def test_a_damaged_manifest_keeps_what_was_here_and_no_more(archive: Archive) -> None:
    revision = archive_revision(archive, FILES)
    flip(archive.layout.manifest(revision.digest))
    taken, (spared,) = take(archive)
    assert taken == set()
    assert spared.record == f"manifests/{revision.digest}.json"
    assert (spared.count, spared.size) == (2, sum(map(len, FILES.values())))
    newer = add_garbage(archive, b"came later")
    assert take(archive)[0] == {newer}
    assert are_here(archive, *FILES.values())


def test_a_quarantined_manifest_keeps_the_same(archive: Archive) -> None:
    """The first thing that lost a model: one bit, `verify --quarantine`, `gc`."""
    revision = archive_revision(archive, FILES)
    flip(archive.layout.manifest(revision.digest))
    assert quarantine_all(archive).problems
    taken, (spared,) = take(archive, grace=0)
    assert (taken, spared.count) == (set(), 2)
    assert spared.record == f"quarantine/{revision.digest}.json"
    archive_revision(archive, FILES)  # pulled again
    archive.delete_revision(REPO, COMMIT)
    assert take(archive, grace=0)[1] != [], "the record is nowhere again"
    archive_revision(archive, FILES)
    newer = add_garbage(archive, b"came later")
    assert take(archive, grace=0) == ({newer}, [])


def test_files_of_another_time_are_kept_too(archive: Archive) -> None:
    """As after `pack`, in a copy of an archive, and with a clock that jumped."""
    revision = archive_revision(archive, {"m": BASE})
    flip(archive.layout.manifest(revision.digest))
    take(archive)
    with archive.writer() as writer:
        weights.pack(archive, writer, Digest.of(BASE))
    os.utime(archive.layout.capsule(Digest.of(BASE)), ns=(2**62, 2**62))
    assert take(archive, grace=0)[0] == set()
    assert are_here(archive, BASE)


def test_a_record_is_given_up_by_name(archive: Archive) -> None:
    revision = archive_revision(archive, FILES)
    path = archive.layout.manifest(revision.digest)
    flip(path)
    take(archive)
    with pytest.raises(NotFoundError):
        list(collect(archive, dry_run=False, discard=["a"]))
    taken, spared = take(archive, discard=[path.name])
    blobs = {("blob", Digest.of(data).hex) for data in FILES.values()}
    assert taken == blobs | {("record", f"manifests/{path.name}")}
    assert spared == []
    assert disk.listed(archive.layout.unreadable) == []
    assert [back for _, back in undo(archive)] == [True] * 3
    assert path.exists()
    assert take(archive)[0] == set()


def test_a_record_that_is_whole_cannot_be_given_up(archive: Archive) -> None:
    revision = archive_revision(archive, FILES)
    with pytest.raises(NotFoundError):
        list(collect(archive, dry_run=False, discard=[f"manifests/{revision.digest}.json"]))
    assert are_here(archive, *FILES.values())


def start_draft(archive: Archive, *held: str) -> Path:
    listed = revision_of({}, {**FILES, "c": b"later"})
    with archive.writer() as writer:
        put(archive, writer, *(FILES[name] for name in held))
        archive.drafts.start(writer, listed)
        archive.drafts.add(REPO, COMMIT, [entry_of(name, FILES[name]) for name in held])
    return archive.layout.draft(REPO, COMMIT)


def test_a_draft_without_its_head_keeps_the_same(archive: Archive) -> None:
    path = start_draft(archive, "a", "b")
    flip(path, 3)
    unnamed = add_garbage(archive, b"may be named")
    taken, (spared,) = take(archive, grace=0)
    assert (taken, spared.count) == (set(), 1), "it still names the other two"
    # A pull that runs appends to it; what it notes is protected as well.
    with archive.writer() as writer:
        put(archive, writer, b"acknowledged since")
        archive.drafts.add(REPO, COMMIT, [entry_of("d", b"acknowledged since")])
    path.write_bytes(path.read_bytes().replace(Digest.of(b"acknowledged since").hex.encode(), b"?"))
    assert take(archive, grace=0)[0] == set()
    assert archive.has(Digest(unnamed[1]), 12)


@pytest.mark.parametrize("place", [0, 1])
def test_a_draft_that_names_another_blob_loses_none(archive: Archive, place: int) -> None:
    """Its lines carry no checksum: the listing and the acknowledgement stand for each other."""
    flip_digit(start_draft(archive, "a", "b"), Digest.of(FILES["a"]), place)
    take(archive, grace=0)
    assert are_here(archive, *FILES.values())


def test_a_draft_whose_only_name_is_wrong_loses_none(archive: Archive) -> None:
    large = b"a file whose merkle root is not its sha256" * 1000
    with archive.writer() as writer:
        put(archive, writer, large)
        archive.drafts.start(writer, revision_of({"large": large}))
    path = archive.layout.draft(REPO, COMMIT)
    flip_digit(path, Digest.of(large))
    taken, (spared,) = take(archive, grace=0)
    assert (taken, spared.count) == (set(), 1)
    path.write_bytes(path.read_bytes().replace(b'"path"', b'"pbth"', 1))
    assert take(archive, grace=0)[0] == set()
    assert are_here(archive, large)


def test_a_draft_that_cannot_say_all_is_kept_when_it_is_sealed(archive: Archive) -> None:
    """The file of a line that cannot be read is in no manifest then."""
    path = start_draft(archive, "a", "b")
    held = path.read_bytes().rindex(b'"held"')
    flip(path, held)
    place = path.read_bytes().index(Digest.of(FILES["b"]).hex.encode())
    assert place < held
    with archive.writer() as writer:
        sealed = archive.drafts.load(REPO, COMMIT)
        assert sealed is not None
        assert [entry.path for entry in sealed.files] == ["a"]
        archive.put_revision(writer, sealed)
    assert take(archive, grace=0)[0] == set()
    assert are_here(archive, *FILES.values())
    assert not path.exists()


def test_a_note_that_is_damaged_is_made_anew(archive: Archive) -> None:
    revision = archive_revision(archive, FILES)
    unnamed = add_garbage(archive, b"may be named")
    flip(archive.layout.manifest(revision.digest))
    take(archive)
    (note,) = archive.layout.unreadable.iterdir()
    whole = note.read_bytes()
    note.chmod(0o644)
    for damaged in (
        whole.replace(unnamed[1].encode(), b"0" * 64),
        whole.replace(unnamed[1].encode() + b"\n", b""),
        whole.replace(b"manifests/", b"manifestz/"),
        whole[: len(whole) // 2],
        b"",
    ):
        note.write_bytes(damaged)
        assert take(archive, grace=0)[0] == set()
        assert note.read_bytes() == whole
        note.chmod(0o644)
    assert are_here(archive, *FILES.values())


def test_what_such_a_record_still_says_is_kept_when_it_comes(archive: Archive) -> None:
    """A blob that was not here when the record broke, and that another model brings later."""
    revision = archive_revision(archive, FILES)
    path = archive.layout.blob(Digest.of(FILES["a"]))
    archive.quarantine(path)
    flip(archive.layout.manifest(revision.digest), 1)
    take(archive)
    add_garbage(archive, FILES["a"])
    assert take(archive, grace=0)[0] == set()


def test_downloads_stay_while_a_draft_cannot_be_read(archive: Archive) -> None:
    path = start_draft(archive, "a")
    with archive.partial(entry_of("c", b"later")):
        pass
    flip(path, 3)
    assert take(archive)[0] == set()


def test_a_file_in_place_of_a_folder_is_not_empty(archive: Archive) -> None:
    start_draft(archive, "a")
    archive.drafts.delete(REPO, COMMIT)
    shutil.rmtree(archive.layout.drafts, ignore_errors=True)
    archive.layout.drafts.write_bytes(b"")
    with pytest.raises(StorageError):
        list(collect(archive, dry_run=False))
    assert are_here(archive, FILES["a"])


# Capsules and the index


def delta(archive: Archive) -> tuple[Digest, Digest]:
    """A delta capsule in use, and its base, which nothing else needs."""
    archive_revision(archive, {"m": TUNED})
    with archive.writer() as writer:
        put(archive, writer, BASE)
        weights.pack(archive, writer, Digest.of(TUNED), Digest.of(BASE))
    archive.forms.capsules()
    return Digest.of(TUNED), Digest.of(BASE)


def change_index(archive: Archive, statement: str, *values: object) -> None:
    with sqlite3.connect(archive.layout.index) as db:
        assert db.execute(statement, values).rowcount
    db.close()


def test_an_index_that_lies_of_bases_costs_none(archive: Archive) -> None:
    tuned, base = delta(archive)
    sha256, stamp, form, size, stored = (
        tuned.hex,
        "x",
        "capsule",
        len(TUNED),
        archive.layout.capsule(tuned).stat().st_size,
    )
    with sqlite3.connect(archive.layout.index) as db:
        stamp = db.execute("SELECT stamp FROM forms").fetchone()[0]
    db.close()
    row = (sha256, stamp, form, size, stored, "")
    change_index(archive, "REPLACE INTO forms VALUES (?, ?, ?, ?, ?, ?, ?)", *row, proof(*row))
    assert archive.forms.capsules()[tuned].bases == ()  # type: ignore[union-attr]
    assert take(archive, grace=0)[0] == set()
    assert are_here(archive, TUNED, BASE)
    assert base.hex


def test_a_flipped_row_of_the_index_is_no_answer(archive: Archive) -> None:
    tuned, base = delta(archive)
    other = Digest.of(b"x").hex
    change_index(archive, "UPDATE forms SET bases = ?", f"{other}:1")
    found = archive.forms.capsule(tuned)
    assert found is not None
    assert [ref.sha256 for ref in found.bases] == [base]
    change_index(archive, "UPDATE files SET merkle_root = ?", other)
    assert archive.index.root_of(tuned) is None
    assert archive.index.differs()
    archive.index.rebuild()
    assert not archive.index.differs()


def test_an_index_that_is_not_what_the_manifests_say_is_noticed(archive: Archive) -> None:
    archive_revision(archive, FILES)
    assert not archive.index.differs()
    change_index(archive, "UPDATE manifests SET bytes = bytes + 1")
    assert archive.index.differs()
    problems = verify(archive, [], quarantine=False, control=Control()).problems
    assert [problem.path for problem in problems] == ["index.sqlite"]


def test_an_index_that_lies_moves_no_blob(archive: Archive) -> None:
    archive_revision(archive, FILES)
    archive.index.summaries()
    for data in FILES.values():
        names = entry_of("x", data)
        row = (Digest.of(data).hex, len(data), None, Digest.of(b"x").hex)
        change_index(
            archive, "UPDATE files SET merkle_root = ?, proof = ? WHERE sha256 = ?",
            row[3], proof(*row), row[0],
        )  # fmt: skip
        assert archive.index.root_of(Digest.of(data)) != names.merkle_root
    quarantine_all(archive)
    assert are_here(archive, *FILES.values())
    assert disk.listed(archive.layout.quarantine) == []


def test_an_index_that_lies_removes_no_other_model(archive: Archive) -> None:
    archive_revision(archive, FILES)
    other = revision_of({"z": b"z"}, repo=THIRD, commit=OTHER)
    with archive.writer() as writer:
        put(archive, writer, b"z")
        archive.put_revision(writer, other)
    archive.index.summaries()
    change_index(
        archive, "UPDATE manifests SET name = ?, revision = ? WHERE name = ?",
        REPO.name, COMMIT.hex, THIRD.name,
    )  # fmt: skip
    archive.delete_revision(REPO, COMMIT)
    assert archive.layout.manifest(other.digest).exists()


def test_a_delta_outlives_its_base(archive: Archive) -> None:
    """However the base is damaged: the delta itself is whole, and stays."""
    tuned, base = delta(archive)
    with archive.writer() as writer:
        weights.pack(archive, writer, base)
    path = archive.layout.capsule(base)
    whole = path.read_bytes()
    path.chmod(0o644)
    trailer = fmt.Trailer.unpack(whole[-fmt.TRAILER_BYTES :])
    assert trailer is not None
    end = len(whole) - 2 * fmt.TRAILER_BYTES
    begin = end - 2 * trailer.directory_size
    damaged = (
        whole[:begin] + bytes(end - begin) + whole[end:],  # both directories
        whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        whole[:-250] + bytes(250),  # its header
        whole[: len(whole) // 2],
        b"",
    )
    for data in damaged:
        path.write_bytes(data)
        quarantine_all(archive)
        assert archive.layout.capsule(tuned).exists(), len(data)
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
    assert are_here(archive, TUNED)


def test_a_capsule_without_its_header_keeps_its_base(archive: Archive) -> None:
    tuned, base = delta(archive)
    path = archive.layout.capsule(tuned)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-250] + bytes(250))
    for _ in range(2):
        taken, spared = take(archive, grace=0)
        assert taken == set()
        assert [record.count for record in spared] == [1]
        assert archive.layout.blob(base).exists()
        quarantine_all(archive)
        assert not path.exists()
    taken, spared = take(archive, grace=0, discard=[path.name])
    assert taken == {("record", f"quarantine/{path.name}"), ("blob", base.hex)}


def test_a_quarantined_delta_keeps_its_base(archive: Archive) -> None:
    tuned, base = delta(archive)
    flip(archive.layout.capsule(tuned), 100)
    quarantine_all(archive)
    assert not archive.layout.capsule(tuned).exists()
    assert take(archive, grace=0)[0] == set()
    assert archive.layout.blob(base).exists()


def test_of_two_files_of_a_blob_the_right_one_stays(archive: Archive) -> None:
    """A crash left both; then the plain one was damaged."""
    archive_revision(archive, {"m": BASE})
    digest = Digest.of(BASE)
    plain, capsule = archive.layout.blob(digest), archive.layout.capsule(digest)
    shutil.copyfile(plain, saved := plain.with_suffix(".saved"))
    with archive.writer() as writer:
        weights.pack(archive, writer, digest)
    saved.replace(plain)
    flip(plain, 100)
    assert take(archive, grace=0)[0] == set()
    quarantine_all(archive)
    assert are_here(archive, BASE)
    flip(plain, 100) if plain.exists() else plain.write_bytes(BASE)
    with archive.writer() as writer:
        flip(capsule, 100)
        assert writer.settle(digest) == 0, "the capsule cannot replace the plain file"
    assert plain.exists()


def test_a_pull_moves_no_blob_for_what_was_said_of_it(archive: Archive) -> None:
    path = archive.layout.blob(Digest.of(b"x"))
    add_garbage(archive, b"x")
    stamp = "0:0:0:0"
    assert not archive.quarantine(path, stamp)
    assert path.exists()


def test_nothing_in_quarantine_is_overwritten(archive: Archive) -> None:
    for data in (b"x", b"y", b"z"):
        path = archive.layout.manifests / "same.json"
        path.write_bytes(data)
        assert archive.quarantine(path)
    assert not archive.quarantine(path)
    found = {p.name: p.read_bytes() for p in archive.layout.quarantine.iterdir()}
    assert found == {"same.json": b"x", "same.json.1": b"y", "same.json.2": b"z"}


def test_nothing_is_encoded_against_a_damaged_base(archive: Archive) -> None:
    from outlast.intake.form_policy import FormWish, FormWishes  # noqa: PLC0415
    from outlast.ops.pack import Outcome, pack  # noqa: PLC0415

    big = weights.model(1, 40_000)
    tuned = weights.tuned(big, 2)
    with archive.writer() as writer:
        put(archive, writer, big, tuned)
        archive.put_revision(writer, revision_of({"model.safetensors": big}, commit=COMMIT))
        archive.put_revision(writer, revision_of({"model.safetensors": tuned}, commit=OTHER))
    flip(archive.layout.blob(Digest.of(big)), 60_000)
    wishes = FormWishes(FormWish.AUTO)
    changed = pack(archive, [], wishes, dry_run=False, control=Control())
    outcomes = {blob.digest: blob.outcome for blob in changed.blobs}
    assert outcomes[Digest.of(big)] is Outcome.DAMAGED
    assert are_here(archive, tuned)
    assert archive.form_of(Digest.of(tuned)).bases == ()


# The trash


def batches(archive: Archive) -> list[Path]:
    return sorted(path for path in archive.layout.trash.iterdir() if path.is_dir())


@dataclass
class Clocks:
    """Those of a machine: `pass_time` moves both, a test may move one alone."""

    boot: str = "first"
    ticks: float = 1000.0
    date: float = 1.8e9

    def pass_time(self, seconds: float) -> None:
        self.ticks += seconds
        self.date += seconds

    def restart(self) -> None:
        self.boot, self.ticks = self.boot + "+", 0.0


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    found = Clocks()
    monkeypatch.setattr(Moment, "now", lambda: Moment(found.boot, found.ticks, found.date))
    return found


def trash_one(archive: Archive) -> set[tuple[str, str]]:
    """Puts something into the trash; what is taken when its time is over."""
    _, name = add_garbage(archive, b"garbage")
    list(collect(archive, dry_run=False))
    assert Trash(archive.layout).size() == 7
    return {("trash", f"blobs/{name[:2]}/{name}")}


def test_the_trash_is_kept_for_a_while_and_then_deleted(archive: Archive, clocks: Clocks) -> None:
    garbage = add_garbage(archive, b"garbage")
    (found,) = [g for g in collect(archive, dry_run=False) if g.what == "blob"]
    assert (found.what, found.name) == garbage
    assert found.waits
    assert Trash(archive.layout).size() == 7
    assert "7 bytes" in room_hint(archive.layout)
    clocks.pass_time(GRACE - 1000)
    assert take(archive)[0] == set()
    clocks.pass_time(999)
    assert take(archive)[0] == set()
    clocks.pass_time(1)
    assert take(archive)[0] == {("trash", f"blobs/{garbage[1][:2]}/{garbage[1]}")}
    assert list(archive.layout.trash.iterdir()) == []
    assert room_hint(archive.layout) == ""


def test_looking_and_not_taking_lets_nothing_grow_older(archive: Archive, clocks: Clocks) -> None:
    trash_one(archive)
    before = (archive.layout.trash / "ages").read_bytes()
    clocks.pass_time(GRACE / 2)
    list(collect(archive, dry_run=True))
    assert (archive.layout.trash / "ages").read_bytes() == before


@pytest.mark.parametrize("years", [10, -10])
def test_a_date_that_jumps_makes_no_trash_old(archive: Archive, clocks: Clocks, years: int) -> None:
    trash = trash_one(archive)
    clocks.date += years * 365 * DAY
    assert take(archive)[0] == set()
    clocks.restart()
    clocks.date += max(0, years) * 365 * DAY
    assert take(archive)[0] == set(), "a restart counts for a part of the time"
    clocks.pass_time(GRACE)
    assert take(archive)[0] == trash


def test_the_time_off_counts_by_halves(archive: Archive, clocks: Clocks) -> None:
    """A machine that is on for an hour a week."""
    trash = trash_one(archive)
    for _ in range(2):
        clocks.pass_time(7 * DAY)
        clocks.restart()
        clocks.pass_time(1)
        taken = take(archive)[0]
    assert taken == trash


def test_a_machine_without_such_a_clock_goes_by_the_date(archive: Archive, clocks: Clocks) -> None:
    clocks.boot = ""
    trash = trash_one(archive)
    clocks.pass_time(100 * GRACE)
    assert take(archive)[0] == set()
    clocks.pass_time(100 * GRACE)
    assert take(archive)[0] == trash


@pytest.mark.parametrize("fault", ["gone", "flipped", "of another", "no object"])
def test_ages_that_cannot_be_read_begin_anew(archive: Archive, clocks: Clocks, fault: str) -> None:
    trash = trash_one(archive)
    ages = archive.layout.trash / "ages"
    clocks.pass_time(GRACE - 1)
    take(archive)
    data = ages.read_bytes()
    ages.unlink()
    if fault == "flipped":
        at = data.index(b"6047")  # the age
        ages.write_bytes(data[:at] + b"9" + data[at + 1 :])
    elif fault == "of another":
        ages.write_bytes(seal("trash/other", b"{}\n"))
    elif fault == "no object":
        ages.write_bytes(seal("trash/ages", b"[1]\n"))
    clocks.pass_time(GRACE - 1)
    assert take(archive)[0] == set()
    clocks.pass_time(GRACE)
    assert take(archive)[0] == trash


def test_the_clocks_of_this_machine() -> None:
    first, second = Moment.now(), Moment.now()
    assert first.boot == second.boot
    assert 0 <= first.until(second, 0.0) < 60 or not first.boot
    assert second.until(first, GRACE) == 0


def test_a_clock_that_was_set_back_makes_no_trash_old(archive: Archive) -> None:
    add_garbage(archive, b"garbage")
    later = int(archive.layout.manifests.stat().st_mtime) + 10**7
    os.utime(archive.layout.manifests, (later, later))
    list(collect(archive, dry_run=False))
    assert [int(batch.name) for batch in batches(archive)] == [later]


def test_what_is_deleted_now_does_not_wait(archive: Archive) -> None:
    first, second = add_garbage(archive, b"1"), None
    list(collect(archive, dry_run=False))
    second = add_garbage(archive, b"2")
    taken, _ = take(archive, grace=0)
    assert taken == {second, ("trash", f"blobs/{first[1][:2]}/{first[1]}")}
    assert Trash(archive.layout).size() == 0
    assert not any(path.is_file() for path in archive.layout.trash.rglob("*"))


def test_all_comes_back(archive: Archive) -> None:
    delta(archive)
    archive.delete_revision(REPO, COMMIT)
    before = {path: path.read_bytes() for path in archive.layout.home.glob("[bc]*/??/*")}
    assert len(before) == 2
    list(collect(archive, dry_run=False))
    assert list(archive.blobs()) == []
    assert [back for _, back in undo(archive)] == [True, True]
    assert {path: path.read_bytes() for path in archive.layout.home.glob("[bc]*/??/*")} == before
    assert batches(archive) == []


def test_what_is_here_again_is_not_replaced(archive: Archive) -> None:
    add_garbage(archive, b"garbage")
    list(collect(archive, dry_run=False))
    add_garbage(archive, b"garbage")
    assert [back for _, back in undo(archive)] == [False]
    assert are_here(archive, b"garbage")
    list(collect(archive, dry_run=False))
    assert len(batches(archive)) == 2
    assert sorted(back for _, back in undo(archive)) == [False, True]


def test_what_is_in_use_is_taken_out_of_the_trash(archive: Archive) -> None:
    """As when a manifest comes back: from a copy, or with `gc --undo` of a part."""
    revision = archive_revision(archive, FILES)
    path = archive.layout.manifest(revision.digest)
    data = path.read_bytes()
    archive.delete_revision(REPO, COMMIT)
    list(collect(archive, dry_run=False))
    assert list(archive.blobs()) == []
    path.write_bytes(data)
    list(collect(archive, dry_run=False))
    assert are_here(archive, *FILES.values())


def test_what_others_put_into_the_trash_stays_there(archive: Archive) -> None:
    add_garbage(archive, b"garbage")
    list(collect(archive, dry_run=False))
    (batch,) = batches(archive)
    for name in ("refs/models/x", "blobs/zz", "capsules/" + "a" * 64, "x"):
        (batch / name).parent.mkdir(parents=True, exist_ok=True)
        (batch / name).write_bytes(b"planted")
    (batch / "blobs" / ("b" * 64)).symlink_to("/etc/hostname")
    assert [(file.size, back) for file, back in undo(archive)] == [(7, True)]
    assert not (archive.layout.refs / "models/x").exists()


# Busy is not damaged


def test_busy_has_an_exit_status_of_its_own() -> None:
    busy, damaged = ExhaustedError.code, CorruptError.code
    assert [verdict_status(codes) for codes in ((), (busy,), (busy, damaged))] == [0, 5, 4]


def test_a_process_that_is_short_of_files_finds_no_damage(archive: Archive) -> None:
    delta(archive)
    archive_revision(archive, FILES)
    held: list[int] = []

    def exhaust(event: Event) -> None:
        if isinstance(event, Planned):
            while True:
                try:
                    held.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    return

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        found = verify(archive, [], quarantine=True, control=Control(exhaust))
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {problem.code for problem in found.problems} == {ExhaustedError.code}
    assert len(found.problems) == found.blobs
    assert disk.listed(archive.layout.quarantine) == []
    assert are_here(archive, TUNED, *FILES.values())
