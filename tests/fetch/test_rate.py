"""How a rate limit is kept: evenly, by all connections together."""

from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.digest import GitOid
from outlast.core.events import ignore
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.revision import FetchContext, fetch_files, start_draft
from outlast.fetch.transfer import Wishes
from outlast.sources.base import RangeReader
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.store.records.draft_writer import DraftWriter
from tests.hubsim import HubRepo, HubSim

REPO = RepoId.parse("org/model")
SIZE = 100_000


class Reader:
    """Passes reads on, and notes how much each asked for."""

    def __init__(self, reader: RangeReader, asked: list[int]) -> None:
        self._reader = reader
        self._asked = asked
        self.start = reader.start

    def readinto(self, buffer: memoryview) -> int:
        self._asked.append(len(buffer))
        return self._reader.readinto(buffer)

    def close(self) -> None:
        self._reader.close()


class Noting(HubSource):
    """A hub of which every read is noted."""

    asked: list[int]

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        return Reader(super().open(repo, commit, entry, start, stop), self.asked)


@pytest.mark.parametrize(
    ("rate", "size", "most"), [(200_000, SIZE, 25_000), (0, SIZE, SIZE), (9_000, 9_000, 4096)]
)
def test_a_read_takes_no_more_than_a_connection_s_share_of_a_second(
    tmp_path: Path, rate: int, size: int, most: int
) -> None:
    """Else all of them wait together for what they took, and nothing comes for long."""
    made = HubRepo(tmp_path / "hub", "org/model").commit({"a.txt": bytes(size)})
    commit = GitOid(made.sha)
    with (
        HubSim(tmp_path / "hub", mode="thread") as hub,
        Archive(tmp_path / "archive", create=True) as archive,
        archive.writer() as writer,
    ):
        source = Noting(HttpClient(HttpSettings()), hub.url)
        source.asked = []
        entries = source.describe(REPO, "main").entries
        start_draft(archive, writer, REPO, commit, entries)
        wishes = Wishes(connections=8, rate=rate)
        context = FetchContext(archive, writer, [source], wishes, Control())
        with DraftWriter(archive, writer, (REPO, commit), ignore) as draft_writer:
            fetch_files(context, REPO, commit, entries, draft_writer)
    assert max(source.asked) == most
