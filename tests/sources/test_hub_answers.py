"""Answers of a hub, or of what stands before it, that are not what was asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from outlast.core.digest import GitOid
from outlast.core.errors import IntegrityError, UnreachableError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.base import RangeReader
from outlast.sources.hub import HubSource
from tests.serve.peers import client, read, sha
from tests.sources.test_http import server
from tests.sources.test_peer import reply

REPO = RepoId.parse("org/name")
COMMIT = GitOid("cd" * 20)
ENTRY = FileEntry("model.bin", 1000, sha256=sha(b"a blob"))
GOOD = reply(bytes(10), "206 P", Content_Range="bytes 10-19/1000")


@contextmanager
def hub(*answers: bytes) -> Iterator[tuple[HubSource, list[int]]]:
    """A hub that gives these answers in turn, and the connections that they were asked for on."""
    with server(*answers) as (url, came):
        yield HubSource(client(), url), came


def ten(source: HubSource, entry: FileEntry = ENTRY) -> RangeReader:
    return source.open(REPO, COMMIT, entry, 10, 20)


def no_range(size: str = "") -> bytes:
    more = {"Content_Range": f"bytes */{size}"} if size else {}
    return reply(b"", "416 Range Not Satisfiable", **more)


@pytest.mark.parametrize("size", ["", "*", "1000", "ten"])
def test_a_416_inside_the_file_proves_nothing(size: str) -> None:
    with hub(no_range(size), GOOD) as (source, _):
        with pytest.raises(UnreachableError, match="lies within the file") as caught:
            ten(source)
        assert caught.value.again
        assert "shorter" not in str(caught.value)
        assert read(ten(source)) == bytes(10)


@pytest.mark.parametrize("size", ["5", "1001"])
def test_another_size_counts_when_it_is_said_twice(size: str) -> None:
    with hub(no_range(size), GOOD) as (source, _):
        assert read(ten(source)) == bytes(10)
    with hub(no_range(size), no_range("7")) as (source, _), pytest.raises(UnreachableError):
        ten(source)
    with hub(no_range(size), no_range(size)) as (source, came):
        with pytest.raises(IntegrityError, match=f"has {size} bytes there, not 1000"):
            ten(source)
        assert len(came) == 2


def test_a_416_of_a_cdn_leads_back_to_the_hub() -> None:
    """An edge that holds another file is not asked again with the same URL."""
    with server(GOOD, no_range("5")) as (edge, _):
        away = reply(b"", "302 Found", Location=edge.replace("127.0.0.1", "localhost"))
        with hub(away, GOOD) as (source, came):
            for _ in range(2):
                assert read(ten(source)) == bytes(10)
            assert len(came) == 2
