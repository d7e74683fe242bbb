"""What a file waits for, as its progress says it."""

import pytest

from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.plan import CLOSED, DIRECT
from outlast.fetch.transfer import Job
from outlast.p2p.progress import FileProgress
from outlast.p2p.reasons import Cause, Reason
from outlast.p2p.tuning import TUNING

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
