"""What clients may make a mirror fetch and keep."""

import contextlib
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.asker import ASKER
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import Cancelled, DiskFullError, ExhaustedError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.revision import FetchContext
from outlast.mirror.asker import Voice
from outlast.mirror.intake import Admission
from outlast.mirror.limits import IntakeLimits
from outlast.mirror.streaming import StreamingFiles
from outlast.mirror.tuning import MirrorTuning
from outlast.store import disk
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node, until
from tests.serve.upstream import target, weights
from tests.serve.wire import Reply, Wire, once

SECONDS = 30.0
SIZE = 3 << 20
LARGE = 5 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def admitted(intake: Admission, size: int, asker: str = "") -> bool:
    token = ASKER.set(asker)
    try:
        intake.admit(size)
    except ExhaustedError as error:
        return not error.retry_after
    finally:
        ASKER.reset(token)
    return True


class TestQuota:
    def test_each_asker_has_its_own_and_it_comes_back_in_an_hour(self, tmp_path: Path) -> None:
        clock = Clock()
        intake = Admission(tmp_path, IntakeLimits(hourly=1000, keep_free=0), clock=clock)
        assert admitted(intake, 600, "a")
        assert admitted(intake, 400, "a")
        assert not admitted(intake, 1, "a")
        assert admitted(intake, 1000, "b")
        clock.now += 3599
        assert not admitted(intake, 1, "a")
        clock.now += 1
        assert admitted(intake, 1000, "a")

    def test_one_file_may_be_larger_than_it(self, tmp_path: Path) -> None:
        intake = Admission(tmp_path, IntakeLimits(hourly=1000, keep_free=0))
        assert admitted(intake, 5000)
        assert not admitted(intake, 1)

    def test_none(self, tmp_path: Path) -> None:
        intake = Admission(tmp_path, IntakeLimits(hourly=0, keep_free=0))
        assert all(admitted(intake, 1 << 20) for _ in range(100))

    def test_questions_have_one_too(self, tmp_path: Path) -> None:
        intake = Admission(tmp_path, IntakeLimits(), MirrorTuning(questions=3))
        for _ in range(3):
            intake.question()
        with pytest.raises(ExhaustedError):
            intake.question()

    def test_a_part_of_the_disk_stays_free(self, tmp_path: Path) -> None:
        free = disk.free_bytes(tmp_path)
        intake = Admission(tmp_path, IntakeLimits(hourly=0, keep_free=free - (64 << 20)))
        for size in (65 << 20, free):
            with pytest.raises(DiskFullError):
                intake.admit(size)
        intake.admit(1 << 20)

    def test_by_default_too(self, tmp_path: Path) -> None:
        with pytest.raises(DiskFullError):
            Admission(tmp_path, IntakeLimits()).admit(disk.free_bytes(tmp_path) - 1)

    def test_what_is_under_way_counts_as_taken(self, tmp_path: Path) -> None:
        free, go = disk.free_bytes(tmp_path), threading.Event()
        intake = Admission(tmp_path, IntakeLimits(hourly=0, keep_free=free // 2))
        size = free // 3
        intake.admit(size)
        over = threading.Event()

        def work() -> bool:
            assert go.wait(SECONDS)
            over.set()
            return False

        intake.submit(size, work)
        with pytest.raises(DiskFullError):
            intake.admit(size)
        go.set()
        assert over.wait(SECONDS)

    def test_what_is_written_is_not_counted_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        free, began, go = [100], threading.Event(), threading.Event()
        monkeypatch.setattr(disk, "free_bytes", lambda _path: free[0])
        intake = Admission(tmp_path, IntakeLimits(hourly=0, keep_free=20))

        def work() -> bool:
            began.set()
            assert go.wait(SECONDS)
            return False

        intake.admit(50)
        intake.submit(50, work, written=lambda: 100 - free[0])
        assert began.wait(SECONDS)
        for free[0] in (100, 60, 50):
            intake.admit(30)
            with pytest.raises(DiskFullError):
                intake.admit(31)
        free[0] = 45  # something else takes the disk too
        with pytest.raises(DiskFullError):
            intake.admit(26)
        go.set()

    def test_so_does_what_a_fetch_takes_beside_its_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(disk, "free_bytes", lambda _path: 100)
        intake = Admission(tmp_path, IntakeLimits(hourly=0, keep_free=20))
        with intake.beside() as claim, intake.beside() as other:
            assert not claim(81)
            assert claim(50)
            assert not other(31)
            with pytest.raises(DiskFullError):
                intake.admit(31)
            assert other(30)
            with pytest.raises(DiskFullError):
                intake.admit(1)
        intake.admit(80)

    def test_large_files_that_arrive_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many ask in the same moment, no more are fetched than leave the reserve."""
        monkeypatch.setattr(disk, "free_bytes", lambda _path: 100)
        intake = Admission(tmp_path, IntakeLimits(hourly=0, keep_free=20))
        go, came, together = threading.Event(), list[str](), threading.Barrier(12)

        def context(_voice: Voice) -> FetchContext:
            assert go.wait(SECONDS)
            raise Cancelled("over")

        streams = StreamingFiles(context, lambda *_: None, lambda _error: None, intake)

        def ask(name: str) -> None:
            entry = FileEntry(name, 30, sha256=Digest.of(name.encode()))
            together.wait(SECONDS)
            with contextlib.suppress(DiskFullError):
                streams.fetch(RepoId.parse("org/big"), GitOid("0" * 40), entry, Voice(""))
                came.append(name)

        threads = [threading.Thread(target=ask, args=(f"{n}",)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(came) == 2
        go.set()
        until(lambda: not streams.count)


class TestTurns:
    """Fetches that end when they are told to."""

    def start(
        self, intake: Admission, asker: str, size: int = LARGE, wanted: bool = True
    ) -> tuple[threading.Event, threading.Event]:
        began, go = threading.Event(), threading.Event()

        def work() -> bool:
            began.set()
            assert go.wait(SECONDS)
            return False

        token = ASKER.set(asker)
        try:
            intake.submit(size, work, lambda: None if wanted else -math.inf)
        finally:
            ASKER.reset(token)
        return began, go

    def test_an_asker_with_none_begins_though_another_has_all(self, tmp_path: Path) -> None:
        intake = Admission(tmp_path, IntakeLimits(), MirrorTuning(fetches=2, crowding=2))
        mine = [self.start(intake, "a") for _ in range(4)]
        assert mine[0][0].wait(SECONDS)
        assert mine[1][0].wait(SECONDS)
        other = self.start(intake, "b")
        assert other[0].wait(SECONDS)
        again = self.start(intake, "b")
        assert not any(began.is_set() for began, _ in (*mine[2:], again))
        other[1].set()
        assert again[0].wait(SECONDS)  # before those of "a" that waited longer
        assert not mine[2][0].is_set()
        for _, go in (*mine, again):
            go.set()
        assert all(began.wait(SECONDS) for began, _ in mine)

    def test_askers_beyond_all_bounds_wait_and_come(self, tmp_path: Path) -> None:
        intake = Admission(tmp_path, IntakeLimits(), MirrorTuning(fetches=1, crowding=3))
        all_of = [self.start(intake, f"a{n}") for n in range(10)]
        assert all(began.wait(SECONDS) for began, _ in all_of[:3])
        assert not any(began.is_set() for began, _ in all_of[3:])
        for began, go in all_of:
            go.set()
            assert began.wait(SECONDS)

    def test_a_fetch_that_fails_gives_its_place_back(self, tmp_path: Path) -> None:
        intake, over = (
            Admission(tmp_path, IntakeLimits(), MirrorTuning(fetches=1)),
            threading.Event(),
        )

        def fail() -> bool:
            raise ValueError("it fails")

        def end() -> bool:
            over.set()
            return False

        for _ in range(3):
            intake.submit(LARGE, fail)
        intake.submit(LARGE, end)
        assert over.wait(SECONDS)

    def test_small_files_do_not_wait_for_large_ones(self, tmp_path: Path) -> None:
        tuning = MirrorTuning(fetches=1, small_fetches=1, crowding=2)
        intake = Admission(tmp_path, IntakeLimits(), tuning)
        large = [self.start(intake, asker) for asker in ("a", "b", "c", "a", "b", "c")]
        small = self.start(intake, "a", 10)
        assert small[0].wait(SECONDS)
        second = self.start(intake, "a", 10)
        assert not second[0].is_set()
        assert sum(began.is_set() for began, _ in large) <= 2
        for _, go in (small, second, *large):
            go.set()
        assert all(began.wait(SECONDS) for began, _ in (second, *large))

    def test_what_a_client_waits_for_comes_first(self, tmp_path: Path) -> None:
        intake = Admission(tmp_path, IntakeLimits(), MirrorTuning(fetches=1))
        first = self.start(intake, "a")
        left = [self.start(intake, "a", wanted=False) for _ in range(3)]
        wanted = self.start(intake, "a")
        assert first[0].wait(SECONDS)
        first[1].set()
        assert wanted[0].wait(SECONDS)
        assert not any(began.is_set() for began, _ in left)
        for _, go in (wanted, *left):
            go.set()
        assert all(began.wait(SECONDS) for began, _ in left)

    def test_one_asker_can_wait_for_so_many(self, tmp_path: Path) -> None:
        intake = Admission(tmp_path, IntakeLimits(), MirrorTuning(fetches=1, fetches_each=3))
        fetches = [self.start(intake, "a") for _ in range(3)]
        assert not admitted(intake, 1, "a")
        assert admitted(intake, 1, "b")
        for _, go in fetches:
            go.set()
        until(lambda: admitted(intake, 1, "a"))


class TestMirror:
    @pytest.fixture
    def hub(self, tmp_path: Path) -> Iterator[HubSim]:
        repo = HubRepo(tmp_path / "hub", "org/big")
        for n in range(3):
            weights(tmp_path / f"{n}", SIZE, seed=n)
        repo.commit({f"{n}.bin": tmp_path / f"{n}" for n in range(3)})
        with HubSim(tmp_path / "hub", mode="thread") as hub:
            yield hub

    @staticmethod
    def ask(node: Node, path: str, source: str) -> Reply:
        with Wire(node.url, source=source) as wire:
            wire.ask(target(path, "org/big"), Connection="close")
            return wire.reply()

    def test_a_client_has_its_quota_and_what_is_here_does_not_count(
        self, hub: HubSim, tmp_path: Path
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text(f"[serve]\nfetch-quota = {2 * SIZE}\n")
        env = {"OUTLAST_CONFIG": str(config)}
        with Node(tmp_path / "home", "--upstream", hub.url, "--no-swarm", env=env) as node:
            for n in (0, 1, 0, 1, 0):
                assert self.ask(node, f"{n}.bin", "127.0.0.2").complete
            reply = self.ask(node, "2.bin", "127.0.0.2")
            assert reply.status == 503
            assert 0 < int(reply.headers["retry-after"]) <= 3600
            assert "quota" in reply.headers["x-error-message"]
            assert self.ask(node, "2.bin", "127.0.0.3").complete
            assert self.ask(node, "2.bin", "127.0.0.2").complete  # it is here now

    @pytest.mark.parametrize("listed", [True, False])
    def test_it_does_not_fill_the_disk(self, hub: HubSim, tmp_path: Path, *, listed: bool) -> None:
        """Neither with files nor with lists of them."""
        about = "/api/models/org/big"
        if listed:
            with Node(tmp_path / "home", "--upstream", hub.url, "--no-swarm") as node:
                assert once(node.url, about).status == 200
        config = tmp_path / "config.toml"
        config.write_text(f"[serve]\nkeep-free = {disk.free_bytes(tmp_path) * 2}\n")
        env = {"OUTLAST_CONFIG": str(config)}
        with Node(tmp_path / "home", "--upstream", hub.url, "--no-swarm", env=env) as node:
            assert once(node.url, about).status == (200 if listed else 507)
            reply = self.ask(node, "0.bin", "127.0.0.1")
            assert reply.status == 507
            told = reply.headers["x-error-message"]
            assert "stay free" in told
            assert ("a file of" in told, "a list of 3 files" in told) == (listed, not listed)
            assert node.get("/healthz").status == 200
        assert not [one for one in hub.requests() if one.what == "resolve"]
        drafts = [path for path in (tmp_path / "home" / "drafts").rglob("*") if path.is_file()]
        assert bool(drafts) == listed

    def test_a_page_cannot_make_it_fetch(self, hub: HubSim, tmp_path: Path) -> None:
        """An image whose source is a file of a model: a request without CORS."""
        sent = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
        with Node(tmp_path / "home", "--upstream", hub.url, "--no-swarm") as node:
            reply = once(node.url, target("0.bin", "org/big"), Sec_Fetch_Dest="image", **sent)
            assert reply.status == 403
        assert not hub.requests()
