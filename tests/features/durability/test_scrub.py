"""A scrub finds what is damaged, mends it, and goes on where it was."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outlast.codec.payload import Payload
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BusyError, Cancelled, NotArchivedError, OutlastError
from outlast.core.events import Event, Progress
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId, Target
from outlast.features.durability.scrub import scrub as scrubbing
from outlast.features.durability.scrub.cursor import ScrubCursor
from outlast.features.durability.scrub.found import DamagedPart, FoundDamage, Scrubbed
from outlast.features.durability.scrub.items import items_of
from outlast.features.durability.scrub.manifests import Askable
from outlast.features.durability.scrub.mender import Mender
from outlast.features.durability.scrub.scrub import Helpers, ScrubWishes, scrub
from outlast.fetch.job import Job
from outlast.fetch.salvage import salvage
from outlast.fetch.transfer import Wishes, Work
from outlast.intake.form_policy import FormWishes
from outlast.sources.base import Source
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.store.partials import Partial
from outlast.store.records.refs import Ref
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.pull import weights as trained
from tests.pull.kit import BIG, FILES, MIB, Puller, check_pulled, contents, sent
from tests.rot import damage, file_of
from tests.store import weights
from tests.store.build import put, revision_of

REPO = RepoId.parse("org/name")
COMMIT = GitOid("a" * 40)
PLAIN = noise(3, 3 * MIB + 77)
BASE = weights.model(1, 40_000)
TUNED = weights.tuned(BASE, 3)
HELD = {"plain.bin": PLAIN, "base.safetensors": BASE, "tuned.safetensors": TUNED, "a.txt": b"text"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An archive with blobs in all forms."""
    home = tmp_path / "home"
    with Archive(home, create=True) as archive, archive.writer() as writer:
        put(archive, writer, *HELD.values())
        archive.put_revision(writer, revision_of(HELD, repo=REPO, commit=COMMIT))
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
        weights.pack(archive, writer, Digest.of(TUNED), Digest.of(BASE))
        weights.pack(archive, writer, Digest.of(BASE))
    return home


ALL = ScrubWishes()
FULL = ScrubWishes(full=True)


def run(
    home: Path,
    wishes: ScrubWishes = ALL,
    helpers: Helpers | None = None,
    control: Control | None = None,
) -> Scrubbed:
    with Archive(home) as archive, ScrubCursor(home) as cursor:
        return scrub(archive, cursor, wishes, helpers, control or Control())


def read_by(home: Path, wishes: ScrubWishes = ALL, most: int = 0) -> list[str]:
    """The files that a scrub reads, in this order; it is interrupted when it begins one more than
    `most` of them.
    """
    names: list[str] = []
    cancel = Cancel()

    def emit(event: Event) -> None:
        if isinstance(event, Progress) and event.path not in names:
            if most and len(names) == most:
                cancel.set()
                return
            names.append(event.path)

    if most:
        with pytest.raises(Cancelled):
            run(home, wishes, control=Control(emit, cancel))
    else:
        run(home, wishes, control=Control(emit, cancel))
    return names


@pytest.mark.parametrize("wishes", [ALL, FULL], ids=["quick", "full"])
def test_what_is_right_is_read_and_nothing_is_found(home: Path, wishes: ScrubWishes) -> None:
    result = run(home, wishes)
    with Archive(home) as archive:
        items = list(items_of(archive.layout))
    assert (result.files, result.left, result.found) == (len(items), 0, ())
    assert result.size == sum(one.size for one in items)


@pytest.mark.parametrize("wishes", [ALL, FULL], ids=["quick", "full"])
@pytest.mark.parametrize("name", HELD)
def test_a_flipped_bit_is_found_in_each_form(home: Path, name: str, wishes: ScrubWishes) -> None:
    path = file_of(home, HELD[name])
    damage(path, 0.5)
    (found,) = run(home, wishes).found
    assert found.path == path.relative_to(home).as_posix()
    assert not found.mended
    with Archive(home) as archive:
        (known,) = archive.damage.of(Digest.of(HELD[name]))
        assert known.by == "scrub"
        assert not archive.has(Digest.of(HELD[name]), len(HELD[name]))


def test_every_damaged_piece_is_named(home: Path) -> None:
    damage(file_of(home, PLAIN), 0.0, 0.6, 0.99999)
    run(home)
    with Archive(home) as archive:
        (known,) = archive.damage.of(Digest.of(PLAIN))
        assert known.parts == (0, 1, 3)


def test_a_file_that_another_program_cut_short_is_found(home: Path) -> None:
    path = file_of(home, PLAIN)
    path.chmod(0o644)
    os.truncate(path, MIB)
    (found,) = run(home).found
    assert "truncated" in found.problem


def test_damage_ends_only_when_all_of_a_file_was_hashed(home: Path) -> None:
    path = file_of(home, PLAIN)
    damage(path, 0.5)
    run(home)
    damage(path, 0.5)  # it is right again, by whatever luck
    with Archive(home) as archive:
        assert archive.damage.of(Digest.of(PLAIN))
    run(home)
    with Archive(home) as archive:
        assert not archive.damage.all()


# Where it goes on


def test_a_scrub_that_was_interrupted_goes_on_where_it_was(home: Path) -> None:
    first = read_by(home, most=2)
    second = read_by(home)
    assert len(first) == 2
    assert not {*first} & {*second}
    with Archive(home) as archive:
        assert {*first, *second} == {one.name for one in items_of(archive.layout)}
    assert len(read_by(home)) == len(first) + len(second)  # the next pass has all


def test_what_was_checked_longest_ago_comes_first(home: Path) -> None:
    target = Target(REPO, None)
    before = read_by(home)
    path = file_of(home, PLAIN).relative_to(home).as_posix()
    with Archive(home) as archive, ScrubCursor(home) as cursor:
        cursor.note(path, "quick")
        assert archive.revision(target.repo, target.ref) is not None
    after = read_by(home)
    assert after == [*(name for name in before if name != path), path]


def test_no_file_is_begun_after_the_time_is_over(home: Path) -> None:
    result = run(home, replace(ALL, most_seconds=0))
    assert (result.files, result.left) == (0, len(HELD))
    assert run(home).files == len(HELD)


def test_a_target_is_read_with_what_it_depends_on(home: Path) -> None:
    with Archive(home) as archive, archive.writer() as writer:
        other = RepoId.parse("org/other")
        revision = revision_of({"tuned": TUNED}, repo=other, commit=GitOid("b" * 40))
        archive.put_revision(writer, revision)
    names = read_by(home, ScrubWishes(targets=(Target(other, None),)))
    held = [file_of(home, data).relative_to(home).as_posix() for data in (BASE, TUNED)]
    assert sorted(names) == sorted(held)


def test_two_scrubs_at_once_are_one_too_many(home: Path) -> None:
    with ScrubCursor(home), pytest.raises(BusyError):
        run(home)


def test_a_damaged_cursor_costs_a_pass(home: Path) -> None:
    run(home)
    for path in (home / "durability").glob("scrub.sqlite*"):
        path.write_bytes(b"not a database at all" * 300)
    assert run(home).files == len(HELD)


def test_what_comes_next_follows_from_no_clock(home: Path) -> None:
    """A clock that was ten years ahead changes the times that people see, and no order."""
    with Archive(home) as archive, ScrubCursor(home, clock=lambda: 4e9) as cursor:
        scrub(archive, cursor, ALL, None, Control())
        known = dict(cursor.known)
    read_by(home, most=1)
    assert len(read_by(home)) == len(HELD) - 1
    assert all(one.at == 4e9 for one in known.values())


def test_the_oldest_is_what_was_not_read_for_longest(home: Path) -> None:
    run(home)
    with Archive(home) as archive, ScrubCursor(home) as cursor:
        items = [replace(one, came=0.0) for one in items_of(archive.layout)]
        assert 0 <= scrubbing.oldest(cursor, items) < 1000
        with sqlite3.connect(home / "durability" / "scrub.sqlite") as db:
            db.execute("DELETE FROM checked WHERE name = ?", (items[0].name,))
    with ScrubCursor(home) as cursor:
        assert scrubbing.oldest(cursor, items) > 1e9


# Mending


@pytest.fixture
def pulled(hub: HubSim, tmp_path: Path) -> Puller:
    puller = Puller(tmp_path / "pulled")
    puller("org/name", hub.url)
    hub.clear_log()
    return puller


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    root = tmp_path / "hub"
    HubRepo(root, "org/name").commit(FILES)
    with HubSim(root, mode="thread") as sim:
        yield sim


def mended(home: Path, *sources: Source, wishes: ScrubWishes = ALL) -> tuple[FoundDamage, ...]:
    with Archive(home) as archive, ScrubCursor(home) as cursor:
        wishes_of_files = Wishes(connections=1, forms=FormWishes())
        with Mender(archive, sources, nullcontext, wishes_of_files, Control()) as mender:
            helpers = Helpers(mender.mend, mender.ask)
            return scrub(archive, cursor, wishes, helpers, Control()).found


def at(hub: HubSim) -> HubSource:
    return HubSource(HttpClient(HttpSettings()), hub.url)


def test_damaged_pieces_are_fetched_from_where_they_came_from(pulled: Puller, hub: HubSim) -> None:
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    (found,) = mended(pulled.home, at(hub))
    assert (found.mended, found.why_not) == (True, "")
    assert sent(hub) == MIB
    check_pulled(pulled.home)
    assert mended(pulled.home, at(hub)) == ()


def test_what_cannot_be_mended_is_said_each_time(pulled: Puller) -> None:
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    for _ in range(2):
        (found,) = mended(pulled.home)
        assert not found.mended
        assert found.why_not


def partials(home: Path) -> int:
    """Bytes of the disk that downloads in progress take."""
    return sum(path.stat().st_blocks * 512 for path in (home / "partial").iterdir())


def test_what_cannot_be_mended_leaves_no_second_copy(pulled: Puller, hub: HubSim) -> None:
    """Of the three wrong pieces the hub sends one: that one is kept, and comes no more."""
    damage(file_of(pulled.home, FILES[BIG]), 0.1, 0.5, 0.9)
    hub.set_faults([{"action": "status", "status": 404, "file": BIG, "skip": 1}])
    (found,) = mended(pulled.home, at(hub))
    assert not found.mended
    assert sent(hub) == MIB
    assert 0 < partials(pulled.home) < 1.1 * MIB
    hub.set_faults([])
    (found,) = mended(pulled.home, at(hub))
    assert found.mended
    assert sent(hub) == 3 * MIB
    check_pulled(pulled.home)
    assert partials(pulled.home) == 0


def test_where_no_source_is_nothing_is_copied(
    pulled: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    opened: list[object] = []
    real = Archive.partial

    def partial(archive: Archive, entry: FileEntry, payload: Payload | None = None) -> Partial:
        opened.append(entry)
        return real(archive, entry, payload)

    monkeypatch.setattr(Archive, "partial", partial)
    (found,) = mended(pulled.home)
    assert not found.mended
    assert "nowhere else here" in found.why_not
    assert opened == []


def test_a_gone_file_leaves_nothing(pulled: Puller, hub: HubSim) -> None:
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    hub.set_faults([{"action": "status", "status": 404, "file": BIG}])
    (found,) = mended(pulled.home, at(hub))
    assert not found.mended
    assert not list((pulled.home / "partial").iterdir())


def test_a_file_that_fails_while_it_is_copied_leaves_nothing(
    pulled: Puller, hub: HubSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source says that it is gone while what is right here goes into the partial."""
    works: list[Work] = []
    copied: list[set[int]] = []
    here, copy = Work.already_here, salvage

    def already_here(work: Work, job: Job) -> bool:
        works.append(work)
        return here(work, job)

    def fails_meanwhile(*what: Any) -> set[int]:
        copied.append(copy(*what))
        work = works[-1]
        with work.state:
            work.fail(work.jobs[0], NotArchivedError("it is gone"))
        return copied[-1]

    monkeypatch.setattr(Work, "already_here", already_here)
    monkeypatch.setattr("outlast.fetch.large_files.salvage", fails_meanwhile)
    damage(file_of(pulled.home, FILES[BIG]), 0.5)
    (found,) = mended(pulled.home, at(hub))
    assert not found.mended
    assert any(copied)
    assert not list((pulled.home / "partial").iterdir())


def test_sums_are_made_anew(home: Path) -> None:
    with Archive(home) as archive:
        path = archive.layout.sums_of(Digest.of(PLAIN))
    right = path.read_bytes()
    damage(path, 0.7)
    (found,) = run(home).found
    assert (found.kind, found.mended) == (DamagedPart.SUMS, True)
    assert path.read_bytes() == right


def test_a_capsule_that_lost_a_copy_of_its_directory_is_made_whole(home: Path) -> None:
    path = file_of(home, BASE)
    right = path.read_bytes()
    for place in (0, len(right) - 3, len(right) - 70):
        damage(path, place / len(right))
        (found,) = mended(home)
        assert (found.kind, found.mended) == (DamagedPart.CAPSULE, True)
        assert path.read_bytes() == right


def test_a_ref_is_restored_from_its_second_copy(home: Path) -> None:
    (path,) = (home / "refs").rglob("main")
    damage(path, 0.5)
    (found,) = mended(home)
    assert (found.kind, found.mended) == (DamagedPart.RECORD, True)
    with Archive(home) as archive:
        assert archive.find_commit(REPO, "main") == COMMIT


def test_the_index_is_made_anew(home: Path) -> None:
    with sqlite3.connect(home / "index.sqlite") as db:
        db.execute("UPDATE files SET size = size + 1")
    (found,) = mended(home)
    assert (found.kind, found.mended) == (DamagedPart.INDEX, True)
    assert mended(home) == ()


def manifest_of(home: Path) -> Path:
    (path,) = (home / "manifests").glob("*.json")
    return path


def test_a_manifest_with_one_wrong_bit_is_its_own_redundancy(home: Path) -> None:
    path = manifest_of(home)
    right = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(right[:99] + bytes([right[99] ^ 8]) + right[100:])
    (found,) = mended(home)
    assert (found.kind, found.mended) == (DamagedPart.MANIFEST, True)
    assert path.read_bytes() == right


def test_a_manifest_is_made_again_from_the_list_of_its_source(pulled: Puller, hub: HubSim) -> None:
    path = manifest_of(pulled.home)
    right = path.read_bytes()
    damage(path, 0.3, size=100)
    (found,) = mended(pulled.home, at(hub))
    assert (found.kind, found.mended) == (DamagedPart.MANIFEST, True)
    assert path.read_bytes() == right
    assert sent(hub) == 0
    check_pulled(pulled.home)


def test_a_manifest_that_no_source_has_stays_as_it_is(pulled: Puller) -> None:
    path = manifest_of(pulled.home)
    damage(path, 0.3, size=100)
    before = path.read_bytes()
    (found,) = mended(pulled.home)
    assert (found.kind, found.mended) == (DamagedPart.MANIFEST, False)
    assert path.read_bytes() == before


def test_a_base_is_mended_before_what_depends_on_it(hub: HubSim, tmp_path: Path) -> None:
    base = trained.model(8)
    plain = trained.packed(tmp_path / "base.safetensors", base)
    tuned = trained.packed(tmp_path / "tuned.safetensors", trained.tuned(base))
    HubRepo(hub.root, "org/base").commit({BIG: plain})
    HubRepo(hub.root, "org/tuned").commit(
        {BIG: tuned, "README.md": b"---\nbase_model: org/base\n---\n"}
    )
    puller = Puller(tmp_path / "pulled", forms=FormWishes())
    for name in ("org/base", "org/tuned"):
        puller(name, hub.url)
    damage(file_of(puller.home, plain), 0.4)
    damage(file_of(puller.home, tuned), 0.4)
    found = mended(puller.home, at(hub))
    assert [one.mended for one in found] == [True, True]
    for name, data in (("org/base", plain), ("org/tuned", tuned)):
        assert contents(puller.home, name)[BIG] == data
    assert mended(puller.home) == ()


def test_one_that_cannot_be_mended_keeps_no_other_back(home: Path) -> None:
    damage(file_of(home, PLAIN), 0.5)
    damage(file_of(home, TUNED), 0.5)
    tried: list[Digest] = []

    def mend(blob: Digest) -> None:
        tried.append(blob)
        raise NotArchivedError("no one has it")

    result = run(home, helpers=Helpers(mend, Askable))
    assert {*tried} == {Digest.of(PLAIN), Digest.of(TUNED)}
    assert result.damage_left == 2
    assert {one.why_not for one in result.found} == {"no one has it"}


def test_errors_of_a_target_are_those_of_other_commands(home: Path) -> None:
    with pytest.raises(OutlastError):
        run(home, ScrubWishes(targets=(Target.parse("no/such"),)))
