"""Flipped bits anywhere in an archive, then whatever a person may run: nothing that is whole, and
that a record names or named, is lost.
"""

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.core.names import RepoId, Target
from outlast.intake.form_policy import FormWishes
from outlast.ops import doctor, removal
from outlast.ops.pack import pack, unpack
from outlast.ops.verify import verify
from outlast.store.archive import Archive
from outlast.store.records.refs import Ref
from tests.campaign import SEED, rounds
from tests.store import weights
from tests.store.build import entry_of, put, revision_of

CASES = rounds(80, 10_000)
BIG = 40_000
"""Weights of a model that `pack` finds large enough."""
BASE, OTHER_BASE = weights.model(1, BIG), weights.model(2, BIG)
TUNED, RETUNED = weights.tuned(BASE, 3), weights.tuned(BASE, 4)
SHARED, AWAITED = b"shared by several" * 50, b"still to come"
GONE = RepoId.parse("org/gone")
STAYS = {
    "org/base": {"model.safetensors": BASE, "config.json": b"{}", "shared": SHARED},
    "org/tuned": {"model.safetensors": TUNED, "config.json": b"{}"},
    "me/plain": {"a": b"only here", "b": b"", "shared": SHARED},
}
DRAFT, DRAFT_COMMIT = RepoId.parse("org/draft"), GitOid("d" * 40)
HELD = {"one": b"acknowledged", "two": b"acknowledged too"}


@dataclass(frozen=True)
class Specimen:
    """An archive, and by sha256 of each blob that must stay the files that hold it."""

    home: Path
    files: dict[Digest, frozenset[str]]


def fill(home: Path) -> None:
    with Archive(home, create=True) as archive, archive.writer() as writer:
        for number, (name, files) in enumerate([*STAYS.items(), ("org/gone", {"x": RETUNED})]):
            put(archive, writer, *files.values())
            commit = GitOid(f"{number:x}" * 40)
            archive.put_revision(writer, revision_of(files, repo=RepoId.parse(name), commit=commit))
            archive.refs.put(writer, RepoId.parse(name), Ref("main", commit))
        weights.pack(archive, writer, Digest.of(TUNED), Digest.of(BASE))
        weights.pack(archive, writer, Digest.of(RETUNED), Digest.of(BASE))
        weights.pack(archive, writer, Digest.of(BASE))
        put(archive, writer, *HELD.values(), b"garbage", OTHER_BASE)
        listed = revision_of({}, {**HELD, "three": AWAITED}, repo=DRAFT, commit=DRAFT_COMMIT)
        archive.drafts.start(writer, listed)
        held = [entry_of(path, data) for path, data in HELD.items()]
        archive.drafts.add(DRAFT, DRAFT_COMMIT, held)


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    home = tmp_path_factory.mktemp("specimen") / "home"
    fill(home)
    named = {data for files in (*STAYS.values(), HELD) for data in files.values()}
    files: dict[Digest, frozenset[str]] = {}
    with Archive(home) as archive:
        layout = archive.layout
        for digest in map(Digest.of, named):
            places = [layout.blob(digest), layout.capsule(digest)]
            if digest == Digest.of(TUNED):
                places.append(layout.capsule(Digest.of(BASE)))
            files[digest] = frozenset(
                path.relative_to(home).as_posix() for path in places if path.exists()
            )
        assert len(files[Digest.of(TUNED)]) == 2
        archive.forms.capsules()  # the index has notes of all capsules
    return Specimen(home, files)


def flip(path: Path, chance: random.Random, bits: int) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(bits):
        at = chance.randrange(len(data))
        data[at] ^= 1 << chance.randrange(8)
    path.chmod(0o644)
    path.write_bytes(data)


Act = Callable[[Archive], object]
CONTROL = Control()


def check(archive: Archive) -> None:
    verify(archive, [], quarantine=False, control=CONTROL)


def quarantine(archive: Archive) -> None:
    verify(archive, [], quarantine=True, control=CONTROL)


def examine(archive: Archive) -> None:
    list(doctor.examine(archive.layout.home))


def rebuild(archive: Archive) -> None:
    doctor.rebuild(archive.layout.home)


def collect(archive: Archive) -> None:
    removal.collect_garbage(archive, dry_run=False, control=CONTROL)


def collect_now(archive: Archive) -> None:
    removal.collect_garbage(archive, dry_run=False, control=CONTROL, grace=0)


def remove_other(archive: Archive) -> None:
    removal.remove(archive, Target(GONE, None), dry_run=False, control=CONTROL)


def pack_all(archive: Archive) -> None:
    pack(archive, [], FormWishes(), dry_run=False, control=CONTROL)


def unpack_all(archive: Archive) -> None:
    unpack(archive, [], dry_run=False, control=CONTROL)


ACTS: tuple[Act, ...] = (
    check, quarantine, examine, rebuild, collect, collect_now, collect_now, remove_other, pack_all,
    unpack_all,
)  # fmt: skip


def lost(home: Path, wanted: set[Digest]) -> list[str]:
    """Those of the blobs that cannot be read back."""
    missing = []
    with Archive(home) as archive:
        for digest in wanted:
            try:
                with archive.open_blob(digest) as blob:
                    right = blob.sha256() == digest
            except OutlastError as error:
                missing.append(f"{digest.short}: {error}")
            else:
                if not right:
                    missing.append(f"{digest.short}: other bytes")
    return missing


def run(specimen: Specimen, folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    home = folder / str(seed)
    shutil.copytree(specimen.home, home)
    every = sorted(path for path in home.rglob("*") if path.is_file() and path.stat().st_size)
    index = home / "index.sqlite"
    records = [p for p in every if p.is_relative_to(home / "manifests") or p.suffix == ".jsonl"]
    # Half of the flips hit what deletion is decided from.
    choices = chance.choices([every, [index], records], weights=[2, 1, 1], k=chance.randint(1, 2))
    flipped = {chance.choice(paths) for paths in choices}
    for path in sorted(flipped):
        flip(path, chance, chance.choice([1, 1, 1, 2, 8]))
    marker = home / "outlast.json"
    if marker in flipped:  # nothing opens it then; what others would do is tried all the same
        shutil.copyfile(specimen.home / "outlast.json", home / "other.json")
        (home / "other.json").replace(marker)
    done = []
    for _ in range(chance.randint(1, 5)):
        act = chance.choice(ACTS)
        done.append(act.__name__)
        with contextlib.suppress(OutlastError), Archive(home) as archive:
            act(archive)
    hit = {path.relative_to(home).as_posix() for path in flipped}
    wanted = {digest for digest, files in specimen.files.items() if not files & hit}
    assert lost(home, wanted) == [], f"seed {seed}: {sorted(hit)}, {done}"
    shutil.rmtree(home)


def seeds() -> Iterator[int]:
    yield from range(SEED * 1_000_000, SEED * 1_000_000 + CASES)


@pytest.mark.torture
def test_no_flip_costs_more_than_what_it_hit(specimen: Specimen, tmp_path: Path) -> None:
    for seed in seeds():
        run(specimen, tmp_path, seed)
