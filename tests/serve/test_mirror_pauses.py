"""A fetch of a mirror that no client follows yields to one that a client waits for, and goes on."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.errors import BusyError, Cancelled
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.revision import FetchContext, start_draft
from outlast.fetch.transfer import Wishes
from outlast.mirror import streaming
from outlast.mirror.asker import Voice
from outlast.mirror.intake import Admission
from outlast.mirror.limits import IntakeLimits
from outlast.mirror.streaming import StreamingFile, StreamingFiles
from outlast.mirror.tuning import MirrorTuning
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store import unverified
from outlast.store.archive import Archive
from outlast.store.partials import Partial
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, archived, until
from tests.serve.upstream import MIB, Resuming, same, sent, sha256, target, weights
from tests.serve.wire import Wire

REPO = "org/big"
SIZE = 24 * MIB
IN_FLIGHT = 16 * MIB
SLOW = 512 * 1024
AFTER = 3.0
STILL = 0.5
"""Seconds for which a piece is on its way to the disk while a fetch pauses."""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def begun(node: Node, count: int) -> bool:
    """Whether so many fetches are under way."""
    return node.metric("outlast_fetches") == count


def ignore() -> None:
    """A reader that only follows."""


class Mirror:
    """The fetches of a mirror for one large file at a time, without its server: `a` and `b`."""

    def __init__(self, root: Path, hub: HubSim, commit: GitOid) -> None:
        self.hub = hub
        self.archive = Archive(root / "home", create=True)
        self.commit = commit
        self.repo = RepoId.parse(REPO)
        self.cancel = Cancel()
        self.clock = Clock()
        self.outcomes: dict[str, BaseException | None] = {}
        self.unheard: list[BaseException] = []
        self._client = HttpClient(HttpSettings())
        self.source = HubSource(self._client, hub.url)
        self.entries = {e.path: e for e in self.source.describe(self.repo, "main").entries}
        with self.archive.writer() as writer:
            start_draft(self.archive, writer, self.repo, commit, list(self.entries.values()))
        tuning = MirrorTuning(fetches=1, deserted_after=AFTER, look=0.01)
        intake = Admission(root, IntakeLimits(keep_free=0), tuning, self.clock)
        self.files = StreamingFiles(self._context, self._ended, self.unheard.append, intake)

    def _context(self, _voice: Voice) -> FetchContext:
        return FetchContext(
            archive=self.archive,
            writer=self.archive.writer(),
            sources=[self.source],
            wishes=Wishes(),
            control=Control(cancel=self.cancel),
        )

    def _ended(
        self, _repo: RepoId, _commit: GitOid, entry: FileEntry, error: BaseException | None
    ) -> None:
        self.outcomes[entry.path] = error

    def ask(self, path: str) -> StreamingFile:
        streaming = self.files.fetch(self.repo, self.commit, self.entries[path], Voice(""))
        streaming.listen(ignore)
        return streaming

    def leave(self, streaming: StreamingFile) -> None:
        streaming.unlisten(ignore)
        self.clock.now += AFTER

    def pause(self) -> tuple[StreamingFile, StreamingFile]:
        """`a`, of which a reader had a part and which is paused; and `b`, which hardly moves."""
        slow = {"action": "slow", "rate": SLOW}
        self.hub.set_faults([{**slow, "file": "a"}, {**slow, "rate": 1, "file": "b"}])
        a = self.ask("a")
        until(lambda: a.readable, "the first bytes")
        self.leave(a)
        b = self.ask("b")
        until(lambda: a._left is not None, "the pause")
        until(lambda: self._is_free(a), "its last connection lets go of the partial")
        return a, b

    def _is_free(self, streaming: StreamingFile) -> bool:
        try:
            with Partial(self.archive.layout, streaming.entry.key, streaming.entry.size):
                return True
        except BusyError:
            return False

    def go_on(self) -> None:
        """From now on the hub is quick."""
        self.hub.set_faults([])

    def close(self) -> None:
        self.cancel.set()
        until(lambda: not self.files.count, "the end of all fetches")
        self.archive.close()


class Case:
    def __init__(self, root: Path) -> None:
        self.data = {name: weights(root / name, SIZE, seed) for seed, name in enumerate("abcdefg")}
        commit = HubRepo(root / "hub", REPO).commit({name: root / name for name in self.data})
        self.commit = GitOid(commit.sha)
        self.hub = HubSim(root / "hub", mode="thread")

    def sent(self, name: str) -> int:
        return sent(self.hub, name)


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    case = Case(tmp_path_factory.mktemp("pauses"))
    with case.hub:
        yield case


@pytest.fixture
def case(one_hub: Case) -> Case:
    one_hub.hub.set_faults([])
    one_hub.hub.clear_log()
    return one_hub


@pytest.fixture
def mirror(case: Case, tmp_path: Path) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path, case.hub, case.commit)
    yield mirror
    case.hub.set_faults([])
    mirror.close()


class TestFetches:
    def test_it_yields_and_goes_on_where_it_was(self, case: Case, mirror: Mirror) -> None:
        case.hub.set_faults([{"action": "slow", "rate": SLOW, "file": "a"}])
        a = mirror.ask("a")
        until(lambda: a.readable, "the first bytes")
        mirror.leave(a)
        b = mirror.ask("b")
        until(lambda: b.finished, "what a client waits for")
        assert mirror.outcomes == {"b": None}
        assert mirror.files.find(a.entry.key) is a
        case.hub.set_faults([])
        until(lambda: not mirror.files.count, "what was begun")
        assert mirror.outcomes == {"a": None, "b": None}
        assert a.finished
        assert a.epoch == 0
        assert not unverified.is_marked(mirror.archive, a.entry.key)
        assert case.sent("a") <= SIZE + IN_FLIGHT
        assert not mirror.unheard

    def test_what_a_client_follows_does_not(self, case: Case, mirror: Mirror) -> None:
        """Another client than the one that began it."""
        case.hub.set_faults([{"action": "slow", "rate": 4 * SLOW, "file": "a"}])
        a = mirror.ask("a")
        until(lambda: a.readable, "the first bytes")
        a.listen(follower := lambda: None)
        mirror.leave(a)
        b = mirror.ask("b")
        until(lambda: a.finished)
        assert not b.finished or case.sent("a") == SIZE
        a.unlisten(follower)
        until(lambda: b.finished)
        assert case.sent("a") == SIZE

    def test_a_client_that_comes_back_follows_the_same_fetch(
        self, case: Case, mirror: Mirror
    ) -> None:
        a, b = mirror.pause()
        fd_before, had = a.open(), a.readable
        assert fd_before is not None
        assert mirror.ask("a") is a
        assert a.may_continue(0)
        mirror.go_on()
        mirror.leave(b)  # now it is `b` that yields
        until(lambda: a.finished, "the one that was paused")
        with open(fd_before, "rb") as early:
            assert same(early.read(had), case.data["a"][:had])
        assert a.first_to_stream
        assert a.epoch == 0
        until(lambda: b.finished)

    def test_a_piece_that_is_on_its_way_to_the_disk_is_no_change(
        self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk that is slow with the last piece: what readers had is what lies there."""
        writes, on_its_way, stamped = Partial.write, threading.Event(), threading.Event()
        too_early: list[bool] = []

        def write(partial: Partial, index: int, data: bytes | memoryview) -> None:
            if index and mirror.entries["a"].key in partial.path.name and not on_its_way.is_set():
                asked = a._pause  # the next run has another one
                on_its_way.set()
                until(lambda: asked.is_set, "the pause")
                too_early.append(stamped.wait(STILL))
            writes(partial, index, data)

        def stamp(path: Path) -> tuple[int, ...]:
            stamped.set()
            return kept(path)

        kept = streaming._stamp
        monkeypatch.setattr(Partial, "write", write)
        monkeypatch.setattr(streaming, "_stamp", stamp)
        mirror.hub.set_faults([{"action": "slow", "rate": 1, "file": "b"}])
        a = mirror.ask("a")
        until(lambda: a.readable and on_its_way.is_set(), "a piece on its way")
        mirror.leave(a)
        b = mirror.ask("b")
        until(lambda: a._left is not None)
        assert too_early == [False]
        mirror.go_on()
        mirror.leave(b)
        mirror.ask("a")
        until(lambda: a.finished)
        assert a.epoch == 0

    def test_its_partial_is_gone_when_it_goes_on(self, mirror: Mirror) -> None:
        """What readers had may be other bytes than those that come now."""
        a, b = mirror.pause()
        for path in (mirror.archive.layout.partial).glob(f"{a.entry.key}.*"):
            path.unlink()
        mirror.go_on()
        mirror.leave(b)
        mirror.ask("a")
        until(lambda: a.finished)
        assert not a.may_continue(0)
        assert unverified.is_marked(mirror.archive, a.entry.key)

    def test_its_partial_changed_meanwhile(self, case: Case, mirror: Mirror) -> None:
        """Another process fetched on, and perhaps other bytes of what readers had."""
        a, b = mirror.pause()
        with Partial(mirror.archive.layout, a.entry.key, SIZE) as partial:
            had = sum(partial.have)
            for index in range(had + 4):
                start = index * MIB
                partial.write(index, case.data["a"][start : start + MIB])
        mirror.go_on()
        mirror.leave(b)
        mirror.ask("a")
        until(lambda: a.finished)
        assert not a.may_continue(0)
        assert unverified.is_marked(mirror.archive, a.entry.key)

    def test_another_process_brings_it(self, case: Case, mirror: Mirror) -> None:
        a, b = mirror.pause()
        with mirror.archive.writer() as writer:
            mirror.archive.put(writer, case.data["a"], names_of(case.data["a"]))
            mirror.go_on()
            mirror.leave(b)
            mirror.ask("a")
            until(lambda: a.finished)
        assert not a.may_continue(0)
        assert unverified.is_marked(mirror.archive, a.entry.key)

    def test_the_mirror_closes(self, mirror: Mirror) -> None:
        a, b = mirror.pause()
        mirror.cancel.set()
        until(lambda: not mirror.files.count)
        assert isinstance(b.error, Cancelled)
        assert isinstance(a.error, Cancelled)
        assert set(mirror.outcomes) == {"a", "b"}


class TestMirror:
    """A whole server."""

    def test_a_seventh_does_not_wait_for_six_that_no_client_waits_for(
        self, case: Case, tmp_path: Path
    ) -> None:
        *left, wanted = case.data
        clients = {name: Resuming(target(name, REPO), SIZE) for name in case.data}
        slow = {"action": "slow", "rate": SLOW}
        case.hub.set_faults([{**slow, "file": name} for name in left])
        env = {"OUTLAST_LOG": "mirror=debug"}
        tuned = {"outlast.mirror.tuning.TUNING.deserted_after": 0.5}
        with Node(
            tmp_path / "home", "--upstream", case.hub.url, "--no-swarm", env=env, tuned=tuned
        ) as node:

            def all_at_once(work: Callable[[str], None]) -> None:
                with ThreadPoolExecutor(len(left)) as pool:
                    list(pool.map(work, left))

            all_at_once(lambda name: clients[name].fetch(node.url, stop=1))
            clients[wanted].fetch(node.url)
            assert clients[wanted].complete
            digests = {name: sha256(data) for name, data in case.data.items()}
            assert not any(archived(node, [digests[name]]) for name in left)
            case.hub.set_faults([])
            all_at_once(lambda name: clients[name].insist(node.url))
            until(lambda: archived(node, list(digests.values())), "what was begun")
            paused = [line for line in node.lines() if line.endswith(' paused"}')]
        for name, client in clients.items():
            assert same(client.data, case.data[name])
            assert client.statuses == ([200] if name == wanted else [200, 206])
        assert len(paused) == 1
        twice = sum(map(case.sent, case.data)) - SIZE * len(case.data)
        assert twice <= IN_FLIGHT

    def test_nor_for_six_whose_hub_sends_nothing(self, case: Case, tmp_path: Path) -> None:
        """Then no byte that cannot be sent shows that a client is gone."""
        *left, wanted = case.data
        case.hub.set_faults([{"action": "stall", "at": 9, "file": name} for name in left])
        tuned = {"outlast.mirror.tuning.TUNING.deserted_after": 0.5}
        with Node(tmp_path / "home", "--upstream", case.hub.url, "--no-swarm", tuned=tuned) as node:
            for name in left:
                with Wire(node.url) as wire:
                    wire.ask(target(name, REPO))
                    until(partial(begun, node, left.index(name) + 1), "the fetch")
            client = Resuming(target(wanted, REPO), SIZE)
            client.fetch(node.url)
            assert client.complete
            case.hub.set_faults([])
