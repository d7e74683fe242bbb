"""What a file waits for, as its progress says it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.codec.merkle import PIECE
from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.download import Download
from outlast.fetch.job import Job
from outlast.fetch.plan import CLOSED, DIRECT, FetchPlan
from outlast.p2p.progress import FileProgress
from outlast.p2p.reasons import Cause, Reason
from outlast.p2p.tuning import TUNING, Tuning
from outlast.store.layout import Layout
from outlast.store.partials import Partial

ENTRY = FileEntry("a.bin", 1000, sha256=Digest.of(b"a"))
WAITS = Reason(Cause.FETCHER, "10.0.0.2")


@pytest.fixture
def progress() -> FileProgress:
    return FileProgress(Job(ENTRY, small=False), TUNING)


def waits_for(progress: FileProgress) -> str:
    status = progress.status(RepoId.parse("org/model"))
    assert status.state in {"waiting", "seeding"}
    return status.waits_for


class TestWhy:
    def test_before_the_first_decision(self, progress: FileProgress) -> None:
        assert waits_for(progress) == ""

    def test_another_node_fetches_it(self, progress: FileProgress) -> None:
        progress.explain(CLOSED, WAITS)
        assert waits_for(progress) == "10.0.0.2, which fetches it since 0 s"

    def test_it_comes(self, progress: FileProgress) -> None:
        progress.explain(CLOSED, WAITS)
        progress.explain(DIRECT, Reason(Cause.ELECTED))
        assert waits_for(progress) == ""

    def test_it_is_here(self, progress: FileProgress) -> None:
        progress.explain(CLOSED, WAITS)
        progress.job.done = True
        assert waits_for(progress) == ""

    def test_another_process(self, progress: FileProgress) -> None:
        """That has the last word, whatever the neighbours do."""
        progress.explain(DIRECT, Reason(Cause.ELECTED))
        progress.job.locked_since = 1.0
        assert waits_for(progress).startswith("another process of this archive, which fetches it")

    def test_what_is_news(self, progress: FileProgress) -> None:
        """Only news is logged."""
        assert progress.explain(CLOSED, WAITS)
        assert not progress.explain(CLOSED, Reason(Cause.FETCHER, "10.0.0.2"))
        assert progress.explain(CLOSED, Reason(Cause.FETCHER, "10.0.0.3"))
        assert progress.explain(DIRECT, Reason(Cause.FETCHER, "10.0.0.3"))


class TestSpeed:
    """Whether the origin should help."""

    ANY_TIME = replace(TUNING, quiet_after=0.0)

    @pytest.fixture
    def download(self, tmp_path: Path) -> Iterator[Download]:
        layout = Layout(tmp_path)
        layout.make_folders()
        entry = replace(ENTRY, size=3 * PIECE)
        with Partial(layout, entry.key, entry.size) as partial:
            yield Download(entry, partial, FetchPlan())

    def test_nothing_comes(self, download: Download) -> None:
        assert started(download, replace(self.ANY_TIME, slow_after=1e9)).is_slow

    def test_nothing_came_since_it_began_again(self, download: Download) -> None:
        download.partial.write(0, memoryview(bytes(PIECE)))
        assert started(download, replace(self.ANY_TIME, slow_after=1e9)).is_slow

    @pytest.mark.parametrize(("longest", "slow"), [(0.0, True), (1e9, False)])
    def test_the_rest_would_take_longer(
        self, download: Download, longest: float, *, slow: bool
    ) -> None:
        progress = started(download, replace(self.ANY_TIME, slow_after=longest))
        download.partial.write(0, memoryview(bytes(PIECE)))
        assert progress.is_slow == slow

    def test_it_is_too_early_to_say(self, download: Download) -> None:
        assert not started(download, replace(TUNING, quiet_after=1e9)).is_slow


def started(download: Download, tuning: Tuning) -> FileProgress:
    """The progress of a download that begins now."""
    job = Job(download.entry, small=False)
    job.download = download
    progress = FileProgress(job, tuning)
    progress.start()
    return progress


class TestOthers:
    def test_a_crowd_that_changes(self, progress: FileProgress) -> None:
        """The time counts from the last change."""
        before = progress.see_crowd(0)
        assert progress.see_crowd(1) == 0.0
        assert progress.see_crowd(1) >= 0.0
        assert before >= 0.0

    def test_all_that_ever_had_some(self, progress: FileProgress) -> None:
        assert progress.see_offerers(["a"]) == {"a"}
        assert progress.see_offerers(["b"]) == {"a", "b"}
        assert progress.see_offerers([]) == {"a", "b"}

    def test_it_is_handed_on_once(self, progress: FileProgress) -> None:
        assert not progress.hand_on()
        progress.job.done = True
        assert [progress.hand_on(), progress.hand_on()] == [True, False]
