"""A client that looked for a file just before its fetch ended, and asks for a fetch just after."""

import contextlib
import threading
from pathlib import Path

from outlast.core.digest import Digest
from outlast.core.names import RepoId
from outlast.mirror.answers import Asking
from outlast.mirror.mirror import Mirror
from outlast.mirror.streaming import StreamingFile
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import SECONDS

REPO = RepoId.parse("org/model")


def ended(streaming: StreamingFile) -> bool:
    """Waits for its end: whether all of it came."""
    over = threading.Event()

    def look() -> None:
        if streaming.finished or streaming.error is not None:
            over.set()

    streaming.listen(look)
    look()
    assert over.wait(SECONDS)
    return streaming.finished


def test_it_is_not_fetched_again(tmp_path: Path) -> None:
    files = {"small.txt": b"a small file", "large": bytes(range(256)) * 40_000, "other": b"o"}
    HubRepo(tmp_path / "hub", str(REPO)).commit(files)
    with (
        HubSim(tmp_path / "hub", mode="thread") as hub,
        Archive(tmp_path / "home", create=True) as archive,
        contextlib.closing(HttpClient(HttpSettings())) as client,
        contextlib.closing(Mirror(archive, [HubSource(client, hub.url)])) as mirror,
    ):
        voice = mirror.access.public
        asking = mirror.find(REPO, "main", voice)
        assert isinstance(asking, Asking)
        asking.future.result(SECONDS)
        seen = asking.settle().view
        for path, data in files.items():
            entry, commit = seen.files[path], seen.revision.id
            asked = list[int]()
            for _ in range(2):
                came = mirror.streams.fetch(REPO, commit, entry, voice)
                assert ended(came)
                assert came.entry.sha256 is not None
                assert came.entry.sha256 == Digest.of(data)
                asked.append(len(hub.requests(what="resolve", file=path)))
            assert asked == [asked[0]] * 2
        assert all(archive.lies_here(entry) for entry in archive.revision(REPO).files)
