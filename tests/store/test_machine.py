"""The store against a dictionary, under every operation in any order, with crashes at any step.

A longer search: HYPOTHESIS_PROFILE=long pytest tests/store/test_machine.py
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from outlast.codec import merkle
from outlast.codec.hashing import names_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import TooDeepError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from outlast.store.writer import WriteSession
from tests.campaign import LONG
from tests.store import weights
from tests.store.build import entry_of
from tests.store.checks import (
    COMMITS,
    CONTENTS,
    DATA_OF,
    ENTRIES,
    PATHS,
    REF_NAMES,
    REPOS,
    check_answers,
    check_pieces,
    entries_of,
    piece_of,
    void,
)
from tests.store.fault import Crash, FaultyOs, When, die, seeing
from tests.store.model import Draft, Model, key_of

repos = st.sampled_from(REPOS)
commits = st.sampled_from(COMMITS)
contents = st.sampled_from(range(len(CONTENTS)))
listings = st.dictionaries(st.sampled_from(PATHS), contents, max_size=4)
fuses = st.tuples(st.none() | st.integers(0, 30), st.sampled_from(When))


class StoreMachine(RuleBasedStateMachine):
    """Each rule does something to the archive and says what that means for the model."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="outlast-machine-"))
        self.home = self.root / "home"
        self.model = Model()
        self.writers: list[tuple[WriteSession, set[str]]] = []
        self.copies = 0
        self.archive = Archive(self.home, create=True)

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.archive.close()
            die(*(writer for writer, _ in self.writers))
            shutil.rmtree(self.root)

    # How a rule acts

    def act(
        self,
        fuse: tuple[int | None, When],
        do: Callable[[], None],
        means: Callable[[Model], None],
        *passing: str,
    ) -> None:
        """Does `do`, as far as the fuse allows; `means` is what the whole of it comes to, and
        `passing` the kinds of facts that may come and go meanwhile.
        """
        before, after = self.model, self.model.copy()
        means(after)
        faulty = FaultyOs(*fuse)
        try:
            with seeing(faulty):
                do()
        except Crash:
            self.recover(faulty)
            self.model.check_interrupted(before, after, *passing)
        else:
            self.model = after

    def recover(self, faulty: FaultyOs) -> None:
        """The process died; another one looks at what is there."""
        self.archive.close()
        die(*(writer for writer, _ in self.writers), seen=faulty)
        self.writers.clear()
        self.archive = Archive(self.home, create=True)
        self.model = Model.read(self.home)

    def writer(self, number: int) -> tuple[WriteSession, set[str]]:
        if not self.writers:
            self.writers.append((self.archive.writer(), set()))
        return self.writers[number % len(self.writers)]

    def put(self, number: int, keys: list[str]) -> None:
        writer, leases = self.writer(number)
        for key in keys:
            data = DATA_OF[key]
            if not writer.lease(Digest(key), len(data)):
                self.archive.put(writer, data, names_of(data))
            leases.add(key)

    # Rules about writers

    @rule()
    def open_writer(self) -> None:
        if len(self.writers) < 3:
            self.writers.append((self.archive.writer(), set()))

    @precondition(lambda self: self.writers)
    @rule(number=st.integers(0, 2), fuse=fuses)
    def close_writer(self, number: int, fuse: tuple[int | None, When]) -> None:
        writer, _ = self.writer(number)
        self.act(fuse, writer.close, lambda _: None)
        self.writers = [pair for pair in self.writers if pair[0] is not writer]

    # Rules about blobs and partials

    @rule(number=st.integers(0, 2), content=contents, fuse=fuses)
    def put_blob(self, number: int, content: int, fuse: tuple[int | None, When]) -> None:
        entry = ENTRIES[content]
        self.act(
            fuse,
            lambda: self.put(number, [entry.key]),
            lambda after: after.blobs.update({entry.key: entry.size}),
        )

    @rule(content=contents, indexes=st.lists(st.integers(0, 2), max_size=3), fuse=fuses)
    def receive(self, content: int, indexes: list[int], fuse: tuple[int | None, When]) -> None:
        entry = ENTRIES[content]
        wanted = {i for i in indexes if i < merkle.piece_count(entry.size)}

        def do() -> None:
            with self.archive.partial(entry) as partial:
                check_pieces(self.model, entry, partial.have)
                for index in wanted:
                    partial.write(index, piece_of(entry, index))

        def means(after: Model) -> None:
            after.partials[entry.key] = after.partials.get(entry.key, frozenset()) | wanted

        self.act(fuse, do, means)

    @precondition(lambda self: self.model.partials)
    @rule(data=st.data(), number=st.integers(0, 2), fuse=fuses)
    def finish(self, data: st.DataObject, number: int, fuse: tuple[int | None, When]) -> None:
        """Receives what is missing, and publishes."""
        key = data.draw(st.sampled_from(sorted(self.model.partials)))
        entry = next(entry for entry in ENTRIES if entry.key == key)
        writer, leases = self.writer(number)

        def do() -> None:
            with self.archive.partial(entry) as partial:
                for index, have in enumerate(partial.have):
                    if not have:
                        partial.write(index, piece_of(entry, index))
                partial.finish(writer, Digest(entry.key))
                leases.add(entry.key)

        def means(after: Model) -> None:
            after.partials.pop(key)
            after.blobs[key] = entry.size

        self.act(fuse, do, means, "piece")

    @precondition(lambda self: self.model.partials)
    @rule(data=st.data(), fuse=fuses)
    def discard(self, data: st.DataObject, fuse: tuple[int | None, When]) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.partials)))
        entry = next(entry for entry in ENTRIES if entry.key == key)

        def do() -> None:
            with self.archive.partial(entry) as partial:
                partial.discard()

        self.act(fuse, do, lambda after: void(after.partials.pop(key)))

    # Rules about forms

    @precondition(lambda self: self.model.blobs)
    @rule(data=st.data(), number=st.integers(0, 2), delta=st.booleans(), fuse=fuses)
    def pack(
        self, data: st.DataObject, number: int, delta: bool, fuse: tuple[int | None, When]
    ) -> None:
        """A capsule takes the place of what holds a blob, if it may depend on its bases."""
        here = sorted(self.model.blobs)
        key = data.draw(st.sampled_from(here))
        bases = (data.draw(st.sampled_from(here)),) if delta else ()
        allowed = all(self.model.may_depend(key, base) for base in bases)
        writer, leases = self.writer(number)

        def do() -> None:
            for each in (key, *bases):
                assert writer.lease(Digest(each), self.model.blobs[each])
                leases.add(each)
            try:
                assert weights.pack(self.archive, writer, Digest(key), *map(Digest, bases))
            except TooDeepError:
                assert not allowed
            else:
                assert allowed

        self.act(fuse, do, lambda after: after.pack(key, bases) if allowed else None)

    @rule(number=st.integers(0, 2), content=contents, base=st.none() | contents, fuse=fuses)
    def put_capsule(
        self, number: int, content: int, base: int | None, fuse: tuple[int | None, When]
    ) -> None:
        """A capsule of new bytes arrives, on what is here."""
        entry = ENTRIES[content]
        bases = () if base is None else (ENTRIES[base].key,)
        if not all(each in self.model.blobs for each in bases):
            return
        here = entry.key in self.model.blobs
        allowed = here or all(self.model.may_depend(entry.key, each) for each in bases)
        writer, leases = self.writer(number)

        def do() -> None:
            for each in bases:
                assert writer.lease(Digest(each), self.model.blobs[each])
                leases.add(each)
            names = map(Digest, bases)
            with weights.encoded_bytes(self.archive, writer, CONTENTS[content], *names) as new:
                leases.add(entry.key)
                try:
                    assert new.publish(Digest(entry.key)) == (not here)
                except TooDeepError:
                    assert not allowed

        def means(after: Model) -> None:
            if allowed and not here:
                after.blobs[entry.key] = entry.size
                after.pack(entry.key, bases)

        self.act(fuse, do, means)

    @precondition(lambda self: self.model.blobs)
    @rule(data=st.data(), number=st.integers(0, 2), fuse=fuses)
    def unpack(self, data: st.DataObject, number: int, fuse: tuple[int | None, When]) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.blobs)))
        writer, leases = self.writer(number)

        def do() -> None:
            leases.add(key)
            weights.unpack(self.archive, writer, Digest(key))

        self.act(fuse, do, lambda after: after.unpack(key))

    @precondition(lambda self: self.model.doubled)
    @rule(data=st.data(), number=st.integers(0, 2), fuse=fuses)
    def settle(self, data: st.DataObject, number: int, fuse: tuple[int | None, When]) -> None:
        """What a crash left in both forms is packed to the end, if its bases are still allowed."""
        key = data.draw(st.sampled_from(sorted(self.model.doubled)))
        bases = self.model.capsules[key]
        allowed = all(self.model.may_depend(key, base) for base in bases)
        writer, _ = self.writer(number)

        def do() -> None:
            assert writer.settle(Digest(key)) == (self.model.blobs[key] if allowed else 0)

        # An empty blob frees nothing, but it is settled.
        self.act(fuse, do, lambda after: after.pack(key, bases) if allowed else None)

    # Rules about revisions

    @rule(
        number=st.integers(0, 2),
        repo=repos,
        commit=commits | st.none(),
        files=listings,
        missing=listings,
        unlisted=st.booleans(),
        fuse=fuses,
    )
    def put_revision(  # noqa: PLR0917 - Hypothesis names them all
        self,
        number: int,
        repo: RepoId,
        commit: GitOid | None,
        files: dict[str, int],
        missing: dict[str, int],
        unlisted: bool,
        fuse: tuple[int | None, When],
    ) -> None:
        lacking = {path: c for path, c in missing.items() if path not in files}
        here = entries_of(files)
        revision = Revision.of(repo, commit, here, entries_of(lacking), unlisted=unlisted)

        def do() -> None:
            self.put(number, [entry.key for entry in here])
            standing = self.archive.put_revision(self.writer(number)[0], revision)
            assert standing == self.model.copy().put_revision(revision).digest

        def means(after: Model) -> None:
            after.blobs.update({entry.key: entry.size for entry in here})
            after.put_revision(revision)

        self.act(fuse, do, means)

    @rule(number=st.integers(0, 2), repo=repos, commit=commits, files=listings, fuse=fuses)
    def start_draft(
        self,
        number: int,
        repo: RepoId,
        commit: GitOid,
        files: dict[str, int],
        fuse: tuple[int | None, When],
    ) -> None:
        entries = entries_of(files)
        listed = Revision.of(repo, commit, [], entries)

        def means(after: Model) -> None:
            """A list that names more takes the place of one, with what of it is held."""
            begun = after.drafts.get((repo, commit))
            new = {entry.path: entry for entry in entries}
            paths = {*begun.listed, *begun.held} if begun is not None else set()
            if begun is None or begun.unlisted or paths < new.keys():
                held = begun.held if begun is not None else {}
                kept = {path: entry for path, entry in held.items() if new.get(path) == entry}
                after.drafts[repo, commit] = Draft(new, kept)

        self.act(fuse, lambda: self.archive.drafts.start(self.writer(number)[0], listed), means)

    @precondition(lambda self: self.model.drafts)
    @rule(data=st.data(), number=st.integers(0, 2), fuse=fuses, torn=st.integers(0, 200))
    def add_to_draft(
        self, data: st.DataObject, number: int, fuse: tuple[int | None, When], torn: int
    ) -> None:
        """Files arrive; another process may have torn its own line before that."""
        key = data.draw(st.sampled_from(sorted(self.model.drafts)))
        listed = sorted(self.model.drafts[key].listed.values(), key=attrgetter("path"))
        entries = data.draw(st.lists(st.sampled_from(listed), unique=True)) if listed else []
        if torn:
            with open(self.archive.layout.draft(*key), "ab") as file:
                file.write((b'\n{"held": true, "path": "config.json", "sha' * 5)[:torn])

        def do() -> None:
            self.put(number, [entry.key for entry in entries])
            self.archive.drafts.add(*key, entries)

        def means(after: Model) -> None:
            after.blobs.update({entry.key: entry.size for entry in entries})
            after.drafts[key].hold(entries)

        self.act(fuse, do, means)

    @precondition(lambda self: self.model.manifests)
    @rule(data=st.data(), number=st.integers(0, 2), content=contents, fuse=fuses)
    def acknowledge(
        self, data: st.DataObject, number: int, content: int, fuse: tuple[int | None, When]
    ) -> None:
        """A file arrives for a revision that another process may have sealed meanwhile."""
        sealed = [key_of(r) for r in self.model.manifests.values() if r.commit is not None]
        if not sealed:
            return
        key = data.draw(st.sampled_from(sorted(sealed)))
        entry = entry_of(data.draw(st.sampled_from(PATHS)), CONTENTS[content])

        def do() -> None:
            self.put(number, [entry.key])
            self.archive.acknowledge(self.writer(number)[0], *key, [entry])

        def means(after: Model) -> None:
            after.blobs[entry.key] = entry.size
            after.acknowledge(key, [entry])

        self.act(fuse, do, means, "held")

    @precondition(lambda self: self.model.drafts)
    @rule(data=st.data(), number=st.integers(0, 2), fuse=fuses)
    def seal_draft(self, data: st.DataObject, number: int, fuse: tuple[int | None, When]) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.drafts)))
        revision = self.archive.drafts.load(*key)
        assert revision is not None
        self.act(
            fuse,
            lambda: void(self.archive.put_revision(self.writer(number)[0], revision)),
            lambda after: void(after.put_revision(revision)),
        )

    @precondition(lambda self: self.model.revisions())
    @rule(data=st.data(), fuse=fuses)
    def delete_revision(self, data: st.DataObject, fuse: tuple[int | None, When]) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.revisions())))
        self.act(
            fuse,
            lambda: self.archive.delete_revision(*key),
            lambda after: after.delete_revision(key),
        )

    # Rules about refs

    @rule(number=st.integers(0, 2), repo=repos, name=st.sampled_from(REF_NAMES), commit=commits,
          fuse=fuses)  # fmt: skip
    def set_ref(
        self,
        number: int,
        repo: RepoId,
        name: str,
        commit: GitOid,
        fuse: tuple[int | None, When],
    ) -> None:
        def do() -> None:
            writer, _ = self.writer(number)
            self.archive.refs.put(writer, repo, Ref(name, commit, "hub"))
            self.archive.refs.put_about(writer, repo, About(tags=(name,)))

        self.act(fuse, do, lambda after: after.refs.update({(repo, name): commit}))

    @rule(repo=repos, name=st.sampled_from(REF_NAMES), fuse=fuses)
    def delete_ref(self, repo: RepoId, name: str, fuse: tuple[int | None, When]) -> None:
        self.act(
            fuse,
            lambda: void(self.archive.refs.delete(repo, name)),
            lambda after: void(after.refs.pop((repo, name), None)),
        )

    # Rules about garbage, the index and copies

    def garbage(self) -> set[tuple[str, str]]:
        leases = {key for _, held in self.writers for key in held}
        partials = set(self.model.partials) - self.model.awaited()
        return self.model.garbage(leases) | {("partial", name) for name in partials}

    @rule(fuse=fuses, other=st.booleans())
    def collect_garbage(self, fuse: tuple[int | None, When], other: bool) -> None:
        expected = self.garbage()
        archive = Archive(self.home) if other else self.archive
        dry = {(g.what, g.name) for g in collect(archive, dry_run=True)}
        assert {item for item in dry if item[0] != "tmp"} == expected
        self.check_files()

        def do() -> None:
            found = {(g.what, g.name) for g in collect(archive, dry_run=False)}
            assert {item for item in found if item[0] != "tmp"} == expected
            living = {writer.folder.name for writer, _ in self.writers}
            assert set(os.listdir(self.home / "tmp")) == living
            strays = {Path(name).stem for name in os.listdir(self.home / "partial")}
            assert strays == set(self.model.partials) - {name for _, name in expected}

        def means(after: Model) -> None:
            for what, name in expected:
                if what == "partial":
                    del after.partials[name]
                else:
                    after.drop(what, name)

        try:
            self.act(fuse, do, means)
        finally:
            if other:
                archive.close()

    @rule(damage=st.sampled_from(["keep", "delete", "garbage", "truncate", "empty"]))
    def reopen(self, damage: str) -> None:
        for writer, _ in self.writers:
            writer.close()
        self.writers.clear()
        self.archive.close()
        index = self.home / "index.sqlite"
        if damage == "delete":
            index.unlink()
        elif damage != "keep":
            old = index.read_bytes()
            new = {"garbage": b"not a database " * 1000, "truncate": old[:5000], "empty": b""}
            index.write_bytes(new[damage])
        self.archive = Archive(self.home)

    @rule()
    def rebuild(self) -> None:
        assert self.archive.index.rebuild() == len(self.model.manifests)

    @rule()
    def copy_elsewhere(self) -> None:
        """All but the index and tmp, as plain files: the copy is as good."""
        self.copies += 1
        copy = self.root / f"copy{self.copies}"
        shutil.copytree(self.home, copy, ignore=shutil.ignore_patterns("index.sqlite*", "tmp"))
        with Archive(copy, create=True) as archive:
            check_answers(archive, self.model)
            found = {(g.what, g.name) for g in collect(archive, dry_run=False)}
            assert {item for item in found if item[0] in {"blob", "capsule"}} == (
                self.model.garbage()
            )
            assert Model.read(copy).garbage() == set()
        shutil.rmtree(copy)

    # What always holds

    def check_files(self) -> None:
        assert Model.read(self.home).facts() == self.model.facts()

    @invariant()
    def plain_files_are_right(self) -> None:
        self.check_files()

    @invariant()
    def answers_are_right(self) -> None:
        check_answers(self.archive, self.model)

    @invariant()
    def no_lock_remains(self) -> None:
        with seeing(FaultyOs()), self.archive.writer() as writer:
            assert writer.folder.is_dir()
        for entry in ENTRIES:
            if entry.key in self.model.partials:
                with self.archive.partial(entry) as partial:
                    check_pieces(self.model, entry, partial.have)
                    for index in self.model.partials[entry.key]:
                        buffer = memoryview(bytearray(merkle.PIECE))
                        assert partial.read(index, buffer) == piece_of(entry, index)


_all = settings().max_examples
# Each has up to 30 steps, and after each all of the archive is read.
StoreMachine.TestCase.settings = settings(max_examples=_all if LONG else _all // 5)
TestStore = pytest.mark.timeout(1200)(StoreMachine.TestCase)  # it takes long to shrink a failure
