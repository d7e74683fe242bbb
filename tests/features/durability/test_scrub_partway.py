"""A scrub that ends within a large file goes on there; attestations are compared with their
names.
"""

import itertools
import sqlite3
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import Cancelled
from outlast.core.events import Event, Progress
from outlast.core.names import RepoId
from outlast.features.durability.scrub import check
from outlast.features.durability.scrub import scrub as scrubbing
from outlast.features.durability.scrub.cursor import Partway, ScrubCursor
from outlast.features.durability.scrub.found import DamagedPart, Scrubbed
from outlast.features.durability.scrub.manifests import Askable
from outlast.features.durability.scrub.scrub import Helpers, ScrubWishes, scrub
from outlast.features.durability.scrub.tuning import TUNING
from outlast.store.archive import Archive
from outlast.store.soundness.damage import Damage, Why
from tests.noise import noise
from tests.rot import damage, file_of
from tests.store import weights
from tests.store.build import put, revision_of

MIB = 1 << 20
REPO = RepoId.parse("org/name")
COMMIT = GitOid("a" * 40)
PLAIN = noise(3, 7 * MIB + 77)
BASE = weights.model(1, 1_400_000)
TUNED = weights.tuned(BASE, 3)
HELD = {"plain.bin": PLAIN, "base.safetensors": BASE, "tuned.safetensors": TUNED}
ALL, FULL = ScrubWishes(), ScrubWishes(full=True)
WISHES = pytest.mark.parametrize("wishes", [ALL, FULL], ids=["quick", "full"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of files that all count as large, in all forms."""
    monkeypatch.setattr(check, "TUNING", replace(TUNING, by_tree=0, window=MIB))
    home = tmp_path / "home"
    with Archive(home, create=True) as archive, archive.writer() as writer:
        put(archive, writer, *HELD.values())
        archive.put_revision(writer, revision_of(HELD, repo=REPO, commit=COMMIT))
        weights.pack(archive, writer, Digest.of(TUNED), Digest.of(BASE))
        weights.pack(archive, writer, Digest.of(BASE))
    return home


class Reads:
    """The bytes that scrubs read, by file; interrupts one after so many events of it."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.cancel = Cancel()
        self.stop: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.bytes[event.path] += event.count
            left = self.stop.get(event.path)
            if left is not None:
                self.stop[event.path] = left - 1
                if left == 1:
                    self.cancel.set()


def run(home: Path, wishes: ScrubWishes = ALL, reads: Reads | None = None) -> Scrubbed:
    reads = reads or Reads()
    with Archive(home) as archive, ScrubCursor(home) as cursor:
        return scrub(archive, cursor, wishes, None, Control(reads, reads.cancel))


def interrupted(home: Path, data: bytes, wishes: ScrubWishes, after: int = 3) -> Reads:
    """A scrub that is interrupted within a file; what it read."""
    reads = Reads()
    reads.stop[name_of(home, data)] = after
    with pytest.raises(Cancelled):
        run(home, wishes, reads)
    return reads


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is over by each look at the clock."""
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)), time=time.time)
    monkeypatch.setattr(scrubbing, "time", clock)


def name_of(home: Path, data: bytes) -> str:
    return file_of(home, data).relative_to(home).as_posix()


@WISHES
@pytest.mark.parametrize("data", HELD.values(), ids=HELD)
def test_an_interrupted_file_is_gone_on_with(home: Path, data: bytes, wishes: ScrubWishes) -> None:
    """Each part is read once, but one piece at most; and the pass is as whole as any."""
    whole = Reads()
    run(home, wishes, whole)
    name = name_of(home, data)
    first = interrupted(home, data, wishes)
    second = Reads()
    result = run(home, wishes, second)
    assert (result.left, result.found) == (0, ())
    assert 0 < second.bytes[name] < whole.bytes[name]
    assert 0 <= first.bytes[name] + second.bytes[name] - whole.bytes[name] <= 2 * MIB
    third = Reads()
    run(home, wishes, third)
    assert third.bytes == whole.bytes


@WISHES
def test_a_file_is_scrubbed_over_many_nights(
    home: Path, monkeypatch: pytest.MonkeyPatch, wishes: ScrubWishes
) -> None:
    """Each has time for a piece or two."""
    whole = Reads()
    run(home, wishes, whole)
    hurry(monkeypatch)
    reads, sizes = Reads(), []
    for _ in range(200):
        result = run(home, replace(wishes, most_seconds=3), reads)
        sizes.append(result.left_size)
        if not result.left:
            break
    assert len(sizes) > 5
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    assert sum(reads.bytes.values()) <= sum(whole.bytes.values()) + len(sizes) * MIB
    assert reads.bytes[name_of(home, PLAIN)] == len(PLAIN)


@WISHES
def test_another_file_is_begun_anew(home: Path, wishes: ScrubWishes) -> None:
    interrupted(home, PLAIN, wishes)
    path = file_of(home, PLAIN)
    path.chmod(0o644)
    path.chmod(0o444)
    reads = Reads()
    run(home, wishes, reads)
    assert reads.bytes[name_of(home, PLAIN)] == len(PLAIN)


def test_another_check_is_begun_anew(home: Path) -> None:
    interrupted(home, PLAIN, ALL)
    reads = Reads()
    run(home, FULL, reads)
    assert reads.bytes[name_of(home, PLAIN)] == len(PLAIN)


@WISHES
@pytest.mark.parametrize("place", [0.01, 0.97])
@pytest.mark.parametrize("data", HELD.values(), ids=HELD)
def test_damage_before_and_behind_the_end_of_a_scrub_is_found(
    home: Path, data: bytes, wishes: ScrubWishes, place: float
) -> None:
    damage(file_of(home, data), place)
    interrupted(home, data, wishes)
    found = run(home, wishes).found
    assert [one.path for one in found] == [name_of(home, data)]
    with Archive(home) as archive:
        assert archive.damage.of(Digest.of(data))


@pytest.mark.parametrize("form", ["plain", "capsule"])
def test_damage_that_is_noted_later_ends_with_no_half_a_check(home: Path, form: str) -> None:
    """It may lie where the check had been already."""
    data = PLAIN if form == "plain" else BASE
    interrupted(home, data, FULL)
    with Archive(home) as archive:
        archive.damage.note(Damage(Digest.of(data), Form(form), Why.ROT, "test", (0,)))
    whole, reads = Reads(), Reads()
    run(home, FULL, reads)
    with Archive(home) as archive:
        assert not archive.damage.all()
    run(home, FULL, whole)
    assert reads.bytes[name_of(home, data)] == whole.bytes[name_of(home, data)]


def test_all_wrong_pieces_are_named(home: Path) -> None:
    damage(file_of(home, PLAIN), 0.0, 0.5, 0.99999)
    run(home, FULL)
    with Archive(home) as archive:
        (known,) = archive.damage.of(Digest.of(PLAIN))
        assert known.parts == (0, 3, 7)


def test_a_file_without_sums_is_read_to_its_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written then; without them it would never come to an end."""
    with Archive(home) as archive:
        archive.layout.sums_of(Digest.of(PLAIN)).unlink()
    hurry(monkeypatch)
    reads = Reads()
    while run(home, replace(ALL, most_seconds=3), reads).left:
        pass
    assert reads.bytes[name_of(home, PLAIN)] == len(PLAIN)


def test_where_a_scrub_is_survives_a_kill(home: Path) -> None:
    with ScrubCursor(home, tuning=replace(TUNING, noted=0)) as cursor:
        cursor.note_partway("blobs/some", Partway("stamp", 5, 5 * MIB))
        with sqlite3.connect(home / "durability" / "scrub.sqlite") as db:
            assert db.execute("SELECT * FROM partway").fetchall() == [
                ("blobs/some", "stamp", 5, 5 * MIB)
            ]
    with ScrubCursor(home) as cursor:
        assert cursor.partway("blobs/some") == Partway("stamp", 5, 5 * MIB)
        cursor.finish("quick", ())  # it is gone
    with ScrubCursor(home) as cursor:
        assert cursor.partway("blobs/some").done == 0


# Attestations


@pytest.fixture
def attestation(home: Path) -> Path:
    data = b'{"signatures": []}' * 9
    folder = home / "attestations" / ("c" * 64)
    folder.mkdir(parents=True)
    (folder / "README").write_text("no sum names this")
    path = folder / f"{Digest.of(data).hex}.json"
    path.write_bytes(data)
    (folder / f"{'d' * 64}.json").symlink_to(path)
    return path


def test_attestations_are_compared_with_their_names(home: Path, attestation: Path) -> None:
    right = attestation.read_bytes()
    assert run(home).found == ()
    attestation.write_bytes(right[:9] + bytes([right[9] ^ 4]) + right[10:])
    (found,) = run(home).found
    assert (found.kind, found.mended) == (DamagedPart.ATTESTATION, False)
    assert found.path == attestation.relative_to(home).as_posix()
    helpers = Helpers(lambda _blob: None, Askable)
    for bits, is_mended in ((4, True), (5, False)):
        wrong = right[:9] + bytes([right[9] ^ bits]) + right[10:]
        attestation.chmod(0o644)
        attestation.write_bytes(wrong)
        with Archive(home) as archive, ScrubCursor(home) as cursor:
            (found,) = scrub(archive, cursor, ALL, helpers, Control()).found
        assert found.mended is is_mended
        assert attestation.read_bytes() == (right if is_mended else wrong)
