"""What a reader may have of a file that downloads, until the whole is verified."""

import asyncio
import threading
from pathlib import Path

import pytest

from outlast.codec.merkle import PIECE
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import UnreachableError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.download import Download
from outlast.fetch.plan import FetchPlan
from outlast.fetch.revision import FetchContext
from outlast.fetch.source_state import Patience, SourceState
from outlast.mirror.asker import Voice
from outlast.mirror.intake import Admission
from outlast.mirror.limits import IntakeLimits
from outlast.mirror.streaming import StreamingFile, StreamingFiles
from outlast.server.http.files import StreamingReader
from outlast.sources.hub import HubSource
from outlast.store.layout import Layout
from outlast.store.partials import Partial
from tests.serve.node import SECONDS
from tests.serve.peers import client


def test_the_last_piece_is_held_back_until_the_whole_is_verified(tmp_path: Path) -> None:
    """So no reader completes a file that proves wrong."""
    size = 2 * PIECE + 5
    entry = FileEntry("file", size, sha256=Digest.of(bytes(size)))
    source = SourceState(HubSource(client(), "http://hub", None), Patience(), lambda _: None)
    layout = Layout(tmp_path)
    layout.make_folders()
    streaming = StreamingFile(entry)
    readable = [streaming.readable]
    with Partial(layout, entry.key, size) as partial:
        download = Download(entry, partial, FetchPlan())
        streaming.started(download)
        download.take(source)
        for index, length in enumerate([PIECE, PIECE, 5]):
            assert download.accept(source, index, memoryview(bytes(length)))
            readable.append(streaming.readable)
    streaming.end(None)
    assert [*readable, streaming.readable] == [0, PIECE, 2 * PIECE, 2 * PIECE, size]


def test_a_reader_of_bytes_that_proved_wrong_gets_no_more() -> None:
    """Not even of what it was told before that it may read."""

    async def read() -> None:
        data = b"a file"
        streaming = StreamingFile(FileEntry("file", len(data), sha256=Digest.of(data)))
        with StreamingReader(streaming) as early:
            may_continue = [early.may_continue]
            streaming.mismatched()
            may_continue.append(early.may_continue)
            with StreamingReader(streaming) as late:
                may_continue.append(late.may_continue)
                streaming.end(UnreachableError("the source is gone"))
                may_continue.append(late.may_continue)
        assert may_continue == [True, False, True, False]

    asyncio.run(read())


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("a bug"), True), (UnreachableError("the source is gone"), False)],
    ids=["a bug", "no bug"],
)
def test_a_bug_is_told_though_a_reader_listens(
    error: Exception, *, told: bool, tmp_path: Path
) -> None:
    """The reader may be sending, or its client leaving, and so never raise it."""
    followed, over = threading.Event(), threading.Event()
    unheard: list[BaseException] = []

    def fail(_voice: Voice) -> FetchContext:
        assert followed.wait(SECONDS)
        raise error

    files = StreamingFiles(
        fail, lambda *_outcome: over.set(), unheard.append, Admission(tmp_path, IntakeLimits())
    )
    entry = FileEntry("file", 1, sha256=Digest.of(b"a"))
    streaming = files.fetch(RepoId.parse("org/model"), GitOid("1" * 40), entry, Voice(""))
    streaming.listen(lambda: None)
    followed.set()
    assert over.wait(SECONDS)
    assert unheard == [error] * told
