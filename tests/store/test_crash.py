"""Every operation, killed at every single step that changes the disk, in three ways."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlast.codec import merkle
from outlast.codec.hashing import names_of
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from tests.campaign import LONG
from tests.store import weights
from tests.store.build import COMMIT, OTHER, REPO, archive_revision, entry_of, put, revision_of
from tests.store.fault import TEARABLE, Crash, FaultyOs, When, die, seeing
from tests.store.model import Model

MODEL = weights.model(1, 500)
TUNED, PACKED = weights.tuned(MODEL, 2), weights.tuned(MODEL, 3)
MODELS = {"model.safetensors": MODEL, "tuned.safetensors": TUNED, "packed.safetensors": PACKED}
MODELS_REPO = RepoId.parse("org/models")
DRAFTED = GitOid("d" * 40)
KEPT = {"kept.json": b"{}", "kept.bin": b"weights" * 1000}
BIG = b"large" * (merkle.PIECE // 5 + 100)
NEW = {"new.bin": b"new" * 1000, "kept.json": b"{}"}


@dataclass
class Scene:
    """An archive with something in it, and a writer that is about to die."""

    archive: Archive
    closed: bool = False

    def __post_init__(self) -> None:
        self.writer = self.archive.writer()

    def end(self) -> None:
        if not self.closed:
            self.writer.close()

    def die(self, seen: FaultyOs) -> None:
        die(*([] if self.closed else [self.writer]), seen=seen)

    def put_blob(self) -> None:
        put(self.archive, self.writer, b"new")

    def put_known_blob(self) -> None:
        put(self.archive, self.writer, KEPT["kept.bin"])

    def put_revision(self) -> None:
        put(self.archive, self.writer, *NEW.values())
        self.archive.put_revision(self.writer, revision_of(NEW, commit=OTHER))

    def pull(self) -> None:
        listed = revision_of({}, NEW, commit=OTHER)
        self.archive.drafts.start(self.writer, listed)
        put(self.archive, self.writer, *NEW.values())
        self.archive.drafts.add(REPO, OTHER, [entry_of(p, d) for p, d in NEW.items()])
        sealed = self.archive.load(REPO, OTHER)
        assert sealed == revision_of(NEW, commit=OTHER)
        self.archive.put_revision(self.writer, sealed)
        self.archive.refs.put(self.writer, REPO, Ref("v2", OTHER))

    def seal(self) -> None:
        sealed = self.archive.load(REPO, DRAFTED)
        assert sealed is not None
        assert sealed.files
        self.archive.put_revision(self.writer, sealed)

    def receive(self) -> None:
        entry = entry_of("new.bin", BIG)
        with self.archive.partial(entry) as partial:
            partial.write(1, BIG[merkle.PIECE :])
            partial.write(0, BIG[: merkle.PIECE])
            partial.finish(self.writer, Digest(entry.key))

    def complete(self) -> None:
        """Replaces the partial manifest of the same commit."""
        put(self.archive, self.writer, b"late")
        more = revision_of({**KEPT, "late": b"late"})
        self.archive.put_revision(self.writer, more)

    def set_ref(self) -> None:
        self.archive.refs.put(self.writer, REPO, Ref("main", OTHER))
        self.archive.refs.put_about(self.writer, REPO, About(tags=("x",)))

    def delete(self) -> None:
        self.archive.refs.delete(REPO, "main")
        self.archive.delete_revision(REPO, COMMIT)

    def delete_and_collect(self) -> None:
        self.delete()
        list(collect(self.archive, dry_run=False))

    def pack(self) -> None:
        weights.pack(self.archive, self.writer, Digest.of(TUNED), Digest.of(MODEL))
        weights.pack(self.archive, self.writer, Digest.of(MODEL))

    def repack(self) -> None:
        """A full capsule becomes a delta."""
        self.put_base()
        weights.pack(self.archive, self.writer, Digest.of(PACKED), Digest.of(MODEL))

    def unpack(self) -> None:
        weights.unpack(self.archive, self.writer, Digest.of(PACKED))

    def put_base(self) -> None:
        put(self.archive, self.writer, MODEL)

    def put_capsule(self) -> None:
        data = weights.tuned(MODEL, 5)
        self.put_base()
        with weights.encoded_bytes(self.archive, self.writer, data, Digest.of(MODEL)) as new:
            new.publish(Digest.of(data))

    def pack_and_collect(self) -> None:
        """Nothing refers to the base any more, but a writer holds a lease on its delta."""
        put(self.archive, self.writer, MODEL, TUNED)
        self.pack()
        self.archive.delete_revision(MODELS_REPO, COMMIT)
        list(collect(self.archive, dry_run=False))

    def collect_garbage(self) -> None:
        list(collect(self.archive, dry_run=False))

    def close(self) -> None:
        self.writer.temp().write_bytes(b"x")
        self.writer.close()
        self.closed = True


OPERATIONS: list[Callable[[Scene], None]] = [
    Scene.put_blob,
    Scene.put_known_blob,
    Scene.put_revision,
    Scene.pull,
    Scene.seal,
    Scene.receive,
    Scene.complete,
    Scene.set_ref,
    Scene.delete,
    Scene.delete_and_collect,
    Scene.pack,
    Scene.repack,
    Scene.unpack,
    Scene.put_capsule,
    Scene.pack_and_collect,
    Scene.collect_garbage,
    Scene.close,
]

MOMENTS = tuple(When) if LONG else (When.BEFORE, When.TORN)
"""After a step is before the next one, but for what the index wrote between them."""

PASSING = {"pull": ("draft", "listed", "held"), "receive": ("partial", "piece")}
"""The kinds of facts that come and go within an operation."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A partial revision with a ref, a draft, some garbage, a partial for no revision."""
    home = tmp_path_factory.mktemp("crash") / "home"
    with Archive(home, create=True) as archive, archive.writer() as writer:
        put(archive, writer, *KEPT.values(), *MODELS.values(), b"garbage")
        archive.put_revision(writer, revision_of(MODELS, repo=MODELS_REPO))
        weights.pack(archive, writer, Digest.of(PACKED))
        archive.put_revision(writer, revision_of(KEPT, {"late": b"late"}))
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
        archive.drafts.start(writer, revision_of({"kept.json": b"{}"}, commit=DRAFTED))
        with archive.partial(entry_of("y", b"y")) as partial:
            partial.write(0, b"y")
    return home


def crashes(
    operation: Callable[[Scene], None], template: Path, root: Path, when: When
) -> Iterator[tuple[int, Path, Model, Model]]:
    """Runs `operation` again and again, dying one step later each time, until it lives."""
    before = Model.read(template)
    with Archive(shutil.copytree(template, root / "whole")) as archive:
        scene = Scene(archive)
        with seeing(FaultyOs()) as whole:
            operation(scene)
        after = Model.read(root / "whole")
        scene.end()
    for fuse in range(200):
        if when is When.TORN and fuse < len(whole.steps) and whole.steps[fuse] not in TEARABLE:
            continue  # as BEFORE
        home = shutil.copytree(template, root / str(fuse))
        faulty = FaultyOs(fuse, when)
        with Archive(home) as archive:
            scene = Scene(archive)
            try:
                with seeing(faulty):
                    operation(scene)
            except Crash:
                scene.die(faulty)
                yield fuse, home, before, after
            else:
                scene.end()
                assert Model.read(home).facts() == after.facts()
                assert fuse > 0, "the test reaches the code"
                return
        shutil.rmtree(home)
    pytest.fail("it has no end")


@pytest.mark.torture
@pytest.mark.parametrize("when", MOMENTS, ids=lambda when: when.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_crash_leaves_nothing_or_the_whole_thing(
    operation: Callable[[Scene], None], when: When, template: Path, tmp_path: Path
) -> None:
    for fuse, home, before, after in crashes(operation, template, tmp_path, when):
        found = Model.read(home)
        found.check_interrupted(before, after, *PASSING.get(operation.__name__, ()))
        with seeing(FaultyOs()), Archive(home) as archive:
            list(collect(archive, dry_run=False))
            assert [path.name for path in (home / "tmp").iterdir()] == [], fuse
            kept = {f"{name}{end}" for name in found.awaited() for end in (".data", ".have")}
            assert {path.name for path in (home / "partial").iterdir()} <= kept, fuse
            assert Model.read(home).garbage() == set()
            redo = Scene(archive)
            if operation is not Scene.seal or found.drafts:
                operation(redo)  # no dead lock remains, and it can be done again
            redo.end()
            with archive.writer() as writer:
                archive.put(writer, b"alive", names_of(b"alive"))
        again = Model.read(home)
        assert again.manifests == after.manifests
        assert again.refs == after.refs
        assert again.drafts == after.drafts


@pytest.mark.parametrize("when", When, ids=lambda when: when.value)
def test_a_crash_while_an_archive_is_created(when: When, tmp_path: Path) -> None:
    for fuse in range(100):
        home = tmp_path / str(fuse)
        faulty = FaultyOs(fuse, when)
        try:
            with seeing(faulty), Archive(home, create=True):
                break
        except Crash:
            die(seen=faulty)
        with Archive(home, create=True) as archive:
            archive_revision(archive, KEPT)
            list(collect(archive, dry_run=False))
            assert [path.name for path in (home / "tmp").iterdir()] == []
            assert len(list(archive.blobs())) == 2
    assert fuse > 5
