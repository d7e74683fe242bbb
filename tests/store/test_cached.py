"""Revisions that came through a mirror: their marks, who holds them, and how they go."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.cached.choice import bytes_of, choose
from outlast.store.cached.drop import drop, finish, turn
from outlast.store.cached.marks import Key
from outlast.store.cached.measure import measure
from outlast.store.collect import collect
from outlast.store.garbage.trash import Trash
from outlast.store.records.facts import About, Notice
from outlast.store.records.refs import Ref
from tests.campaign import LONG
from tests.store import weights
from tests.store.build import entry_of, put, revision_of
from tests.store.fault import Crash, FaultyOs, When, die, seeing

SIZE = 40_000
HOLDER = """
import sys
from pathlib import Path
from outlast.store.archive import Archive
from tests.store.test_cached import key
with Archive(Path(sys.argv[1])) as archive, archive.in_use.use() as held:
    assert held.add(*key("one"))
    print("held", flush=True)
    sys.stdin.read()
"""


def key(name: str, commit: str = "a") -> Key:
    return RepoId.parse(f"org/{name}"), GitOid(commit * 40)


def content(seed: str) -> bytes:
    return seed.encode() * (SIZE // len(seed.encode()))


def bring(archive: Archive, which: Key, *files: bytes, mark: bool = True) -> Key:
    """Archives a revision as a mirror does, or else by hand."""
    repo, commit = which
    named = {f"{n}.bin": data for n, data in enumerate(files)}
    with archive.writer() as writer:
        if mark:
            assert archive.cached.begin(writer, repo, commit)
        archive.drafts.start(writer, revision_of({}, named, repo=repo, commit=commit))
        put(archive, writer, *files)
        archive.drafts.add(repo, commit, [entry_of(path, data) for path, data in named.items()])
        sealed = archive.load(repo, commit)
        assert sealed is not None
        archive.put_revision(writer, sealed, drafted=True)
        archive.refs.put(writer, repo, Ref("main", commit))
    return which


def here(archive: Archive, *contents: bytes) -> list[bool]:
    return [archive.has(Digest.of(data), len(data)) for data in contents]


def order(archive: Archive) -> list[str]:
    return [repo.name.removeprefix("org/") for (repo, _), _ in measure(archive).revisions]


def let_go(archive: Archive, need: int) -> int:
    with turn(archive, time.sleep):
        return drop(archive, measure(archive).choose(need)).freed


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as made:
        yield made


class TestMarks:
    def test_what_is_here_already_is_not_marked(self, archive: Archive) -> None:
        bring(archive, key("kept"), b"by hand", mark=False)
        with archive.writer() as writer:
            assert not archive.cached.begin(writer, *key("kept"))
        assert archive.cached.stamps() == {}

    def test_asking_for_it_by_name_keeps_it_and_removing_it_forgets_the_mark(
        self, archive: Archive
    ) -> None:
        for name in ("one", "two"):
            bring(archive, key(name), content(name))
        assert archive.cached.keep(*key("one"))
        assert not archive.cached.keep(*key("one"))
        archive.delete_revision(*key("two"))
        assert archive.cached.stamps() == {}
        assert not list(archive.layout.cached.iterdir())

    def test_a_damaged_mark_marks_nothing(self, archive: Archive) -> None:
        bring(archive, key("one"), content("one"))
        path = archive.cached.path(*key("one"))
        path.write_bytes(path.read_bytes().replace(b"mirror", b"mirrow"))
        assert measure(archive).revisions == ()
        assert not archive.drop_cached(*key("one"))

    def test_the_order_of_use_survives_a_clock_that_jumps(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("one", "two", "three"):
            bring(archive, key(name), content(name))
        now = time.time_ns()
        for jump, name in ((10, "one"), (-10, "three"), (0, "two"), (-20, "one")):
            monkeypatch.setattr(time, "time_ns", lambda jump=jump: now + jump * 365 * 86400 * 10**9)
            archive.cached.touch([key(name)])
        with Archive(archive.layout.home) as again:
            assert order(again) == ["three", "two", "one"]
            again.cached.touch([key("three"), key("two")])
            assert order(again) == ["one", "three", "two"]


class TestMeasure:
    def test_bytes_that_a_kept_revision_needs_do_not_count(self, archive: Archive) -> None:
        shared, own = content("shared"), content("own")
        bring(archive, key("kept"), shared, mark=False)
        bring(archive, key("cached"), shared, own)
        cache = measure(archive)
        assert cache.size == archive.forms.space_of(Digest.of(own))
        assert order(archive) == ["cached"]

    def test_what_a_source_withdrew_or_has_a_notice_stays(self, archive: Archive) -> None:
        for name in ("free", "withdrawn", "notice", "shared"):
            bring(archive, key(name), content(name))
        with archive.writer() as writer:
            about = About().with_withdrawn("hub", "", "2026-01-01T00:00:00+00:00", "gone")
            archive.refs.put_about(writer, key("withdrawn")[0], about)
            about = About().with_notice(Notice("2026-01-01", "a letter", stopped=True))
            archive.refs.put_about(writer, key("notice")[0], about)
        found = [which for which, _ in measure(archive, {key("shared")}).revisions]
        assert found == [key("free")]

    def test_a_draft_counts_with_its_download(self, archive: Archive) -> None:
        repo, commit = key("draft")
        data = os.urandom(3 << 20)
        with archive.writer() as writer:
            archive.cached.begin(writer, repo, commit)
            archive.drafts.start(writer, revision_of({}, {"a": data}, repo=repo, commit=commit))
        with archive.partial(entry_of("a", data)) as partial:
            partial.write(0, data[: 1 << 20])
        assert measure(archive).size >= 1 << 20
        assert let_go(archive, 1) >= 1 << 20
        assert archive.commits(repo) == []
        assert list(archive.layout.partial.iterdir()) == []


class TestDrop:
    def test_the_least_recently_used_goes_and_no_more_than_needed(self, archive: Archive) -> None:
        for name in ("one", "two", "three"):
            bring(archive, key(name), content(name))
        archive.cached.touch([key("one")])
        assert let_go(archive, 1) > 0
        assert here(archive, *map(content, ("one", "two", "three"))) == [True, False, True]
        assert archive.refs.list(key("two")[0]) == []
        assert archive.load(*key("two")) is None

    def test_the_bytes_are_gone_and_not_in_the_trash(self, archive: Archive) -> None:
        bring(archive, key("kept"), b"by hand", mark=False)
        with archive.writer() as writer:
            put(archive, writer, content("deleted by hand"))
        list(collect(archive, dry_run=False))
        waiting = Trash(archive.layout).size()
        assert waiting > 0
        with archive.writer() as writer:
            put(archive, writer, content("other garbage"))
        bring(archive, key("one"), content("one"))
        space = archive.forms.space_of(Digest.of(content("one")))
        assert let_go(archive, 1) == pytest.approx(space, abs=4096)
        assert Trash(archive.layout).size() == waiting
        assert here(archive, content("one"), content("other garbage")) == [False, True]

    def test_the_base_of_a_delta_that_stays_stays(self, archive: Archive) -> None:
        base = weights.model(1, 20_000)
        tuned = weights.tuned(base, 2)
        bring(archive, key("base"), base)
        bring(archive, key("tuned"), tuned)
        with archive.writer() as writer:
            weights.pack(archive, writer, Digest.of(tuned), Digest.of(base))
        assert order(archive) == ["base", "tuned"]
        before = measure(archive).size
        with turn(archive, time.sleep):
            drop(archive, measure(archive).revisions[:1])
        assert here(archive, base, tuned) == [True, True]
        assert measure(archive).size == before  # it is the fine-tune's now
        let_go(archive, before)
        assert here(archive, base, tuned) == [False, False]

    def test_who_reads_it_keeps_it_in_whatever_process(self, archive: Archive) -> None:
        for name in ("one", "two"):
            bring(archive, key(name), content(name))
        command = [sys.executable, "-c", HOLDER, str(archive.layout.home)]
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert reader.stdin is not None
        assert reader.stdout is not None
        with reader.stdin, reader.stdout:
            assert reader.stdout.readline() == b"held\n"
            with archive.in_use.use() as held:
                assert held.add(*key("two"))
                assert let_go(archive, 10 * SIZE) == 0
            assert let_go(archive, 10 * SIZE) > 0
            assert here(archive, content("one"), content("two")) == [True, False]
            reader.kill()  # its lock dies with it
            reader.wait()
            assert let_go(archive, 10 * SIZE) > 0
            assert here(archive, content("one")) == [False]

    def test_a_hold_that_was_closed_takes_nothing(self, archive: Archive) -> None:
        bring(archive, key("one"), content("one"))
        held = archive.in_use.use()
        held.close()
        assert not held.add(*key("one"))
        assert let_go(archive, 1) > 0
        with archive.in_use.use() as held:
            assert not held.add(*key("one"))

    def test_one_kept_after_it_was_chosen_stays(self, archive: Archive) -> None:
        bring(archive, key("one"), content("one"))
        chosen = measure(archive).choose(1)
        archive.cached.keep(*key("one"))
        with turn(archive, time.sleep):
            done = drop(archive, chosen)
        assert (done.revisions, done.freed) == ((), 0)
        assert here(archive, content("one")) == [True]

    @pytest.mark.parametrize("when", When, ids=lambda when: when.value)
    def test_a_crash_at_any_step_loses_nothing_and_is_finished(
        self, when: When, tmp_path: Path
    ) -> None:
        """What stays is whole, and what went takes no room once another process looks."""
        template = tmp_path / "template"
        with Archive(template, create=True) as made:
            bring(made, key("kept"), content("shared"), content("kept"), mark=False)
            bring(made, key("other"), content("other"))
            bring(made, key("gone"), content("shared"), content("gone"))
            made.cached.touch([key("other")])
        for fuse in range(0, 200, 1 if LONG else 3):
            home = tmp_path / "home"
            shutil.copytree(template, home)
            faulty = FaultyOs(fuse, when)
            with Archive(home) as doomed:
                try:
                    with seeing(faulty):
                        let_go(doomed, 1)
                    break
                except Crash:
                    die(seen=faulty)
            self._check_after(home)
            shutil.rmtree(home)
        assert fuse > 10

    def _check_after(self, home: Path) -> None:
        stays = [content(name) for name in ("shared", "kept", "other")]
        with Archive(home) as archive:
            assert here(archive, *stays) == [True] * 3
            with turn(archive, time.sleep):
                finish(archive)
            gone = archive.load(*key("gone")) is None
            assert here(archive, *stays, content("gone")) == [True, True, True, not gone]
            assert Trash(archive.layout).size() == 0
            assert not disk.matching(archive.layout.dropping, *"****")
            let_go(archive, 1)
            assert archive.load(*key("kept")) is not None


class TestChoice:
    def test_two_that_share_all_their_bytes_go_together(self) -> None:
        cached = [{"a"}, {"a", "b"}, {"c"}]
        sizes = {"a": 100, "b": 1, "c": 100}
        users = Counter(name for names in cached for name in names)
        assert choose(cached, sizes, users, 50) == [0, 1]
        assert choose(cached, sizes, users, 150) == [0, 1, 2]
        assert choose(cached, sizes, users + Counter("a"), 50) == [2]
        assert choose(cached, sizes, users + Counter("abc"), 50) == []

    @given(
        cached=st.lists(st.frozensets(st.integers(0, 9), max_size=5), max_size=8),
        kept=st.lists(st.integers(0, 9), max_size=5),
        need=st.integers(1, 40),
    )
    def test_enough_and_none_too_many(
        self, cached: list[frozenset[int]], kept: list[int], need: int
    ) -> None:
        named = [frozenset(map(str, names)) for names in cached]
        sizes = {str(n): n for n in range(10)}
        users = Counter(map(str, kept))
        for names in named:
            users.update(names)
        chosen = choose(named, sizes, users, need)

        def freed(gone: list[int]) -> int:
            left = users - Counter(name for at in gone for name in named[at])
            return bytes_of(frozenset().union(*(named[at] for at in gone)), sizes, left)

        assert chosen == sorted(set(chosen))
        assert freed(chosen) >= min(need, freed(list(range(len(named)))))
        for at in chosen:
            fewer = [one for one in chosen if one != at]
            assert freed(fewer) < min(need, freed(list(range(len(named)))))
