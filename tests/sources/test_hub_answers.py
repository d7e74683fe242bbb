"""Answers of a hub, or of what stands before it, that are not what was asked for."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from outlast.core.digest import GitOid
from outlast.core.errors import IntegrityError, MalformedError, UnreachableError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.base import RangeReader
from outlast.sources.hub import HubSource
from outlast.sources.tuning import Tuning
from tests.serve.peers import client, read, sha
from tests.sources.test_http import server
from tests.sources.test_peer import reply

Ask = Callable[[HubSource], object]
REPO = RepoId.parse("org/name")
COMMIT = GitOid("cd" * 20)
ENTRY = FileEntry("model.bin", 1000, sha256=sha(b"a blob"))
LIMIT = 100_000
GOOD = reply(bytes(10), "206 P", Content_Range="bytes 10-19/1000")


@contextmanager
def hub(*answers: bytes) -> Iterator[tuple[HubSource, list[int]]]:
    """A hub that gives these answers in turn, and the connections that they were asked for on."""
    with server(*answers) as (url, came):
        yield HubSource(client(), url, tuning=Tuning(page=LIMIT)), came


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


@pytest.mark.parametrize("said", ["bytes 10-19/*", "bytes 10-19"])
def test_a_range_without_a_size(said: str) -> None:
    """It is right if the length fits: the bytes are checked anyway."""
    with hub(reply(bytes(10), "206 P", Content_Range=said)) as (source, _):
        assert read(ten(source)) == bytes(10)
    open_ended = f"HTTP/1.1 206 P\r\nContent-Range: {said}\r\n\r\n".encode() + bytes(10)
    for other in (reply(bytes(9), "206 P", Content_Range=said), open_ended):
        with hub(other) as (source, _), pytest.raises(MalformedError, match="the length"):
            ten(source)


@pytest.mark.parametrize("said", ["", "bytes */*", "bytes */1000", "bytes", "items 10-19/1000"])
def test_a_range_that_does_not_say_which(said: str) -> None:
    more = {"Content_Range": said} if said else {}
    with (
        hub(reply(bytes(10), "206 P", **more)) as (source, _),
        pytest.raises(MalformedError, match="does not say which bytes"),
    ):
        ten(source)


REFS = {"branches": [{"name": "main", "targetCommit": COMMIT.hex}]}
PLAIN = json.dumps(REFS).encode()


def packed(body: bytes, encoding: str = "gzip") -> bytes:
    return reply(body, Content_Encoding=encoding)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZIP ", "identity", "Identity"])
def test_metadata_that_is_compressed_unasked(encoding: str) -> None:
    body = gzip.compress(PLAIN) if "gzip" in encoding.lower() else PLAIN
    with hub(packed(body, encoding)) as (source, _):
        assert [ref.name for ref in source.refs(REPO)] == ["main"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (packed(zlib.compress(PLAIN), "deflate"), "encodes its answer \\('deflate'\\)"),
        (packed(b"x", "br"), "encodes its answer \\('br'\\)"),
        (packed(b"x", "gzip, gzip"), "encodes its answer \\('gzip, gzip'\\)"),
        (packed(PLAIN), "is gzip, which it is not"),
        (packed(gzip.compress(PLAIN)[:-9]), "is gzip, which it is not"),
        (packed(gzip.compress(PLAIN) + b"x"), "is gzip, which it is not"),
        (packed(gzip.compress(bytes(LIMIT + 1))), "more than 100000 bytes"),
        (packed(gzip.compress(bytes(1 << 24))), "more than 100000 bytes"),
    ],
)
def test_what_cannot_be_decoded(answer: bytes, reason: str) -> None:
    with hub(answer) as (source, _), pytest.raises(MalformedError, match=reason):
        source.refs(REPO)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_a_file_that_is_compressed_unasked(encoding: str) -> None:
    """The error says who did what, and what to do."""
    with (
        hub(packed(bytes(10), encoding)) as (source, _),
        pytest.raises(MalformedError, match=rf"127.0.0.1:\d+ encodes .*{encoding}") as caught,
    ):
        ten(source)
    assert "--from" in caught.value.hint


PAGE = b"\n<!doctype html><title>Welcome to our WLAN</title>"
LOGIN = reply(PAGE, Content_Type="text/html; charset=utf-8")
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nhtml\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("answer", [LOGIN, CHUNKED, packed(gzip.compress(PLAIN))])
@pytest.mark.parametrize("away", [False, True])
def test_a_network_that_wants_a_login(answer: bytes, *, away: bool) -> None:
    """A page in place of metadata or a file, from there or from another host."""
    asks: list[Ask] = [lambda hub: hub.refs(REPO), lambda hub: hub.describe(REPO, "main"), ten]
    if answer is CHUNKED:
        asks = [ten]  # what is no page by its first byte is no JSON either
    elif answer is not LOGIN:
        answer = reply(gzip.compress(PAGE), Content_Encoding="gzip", Content_Type="text/html")
    for ask in asks:
        with server(answer) as (portal, _):
            login = portal.replace("127.0.0.1", "localhost") + "login?to=x"
            redirect = reply(b"", "302 Found", Location=login)
            with (
                hub(redirect if away else answer) as (source, _),
                pytest.raises(UnreachableError, match="may want a login") as caught,
            ):
                ask(source)
        assert caught.value.again
        assert "browser" in caught.value.hint
        assert ("localhost" in str(caught.value)) == away


def test_after_the_login_the_hub_is_asked_again() -> None:
    """The page's URL is not taken for that of the file."""
    with server(LOGIN, LOGIN) as (portal, _):
        away = portal.replace("127.0.0.1", "localhost")
        with hub(reply(b"", "302 Found", Location=away), GOOD) as (source, came):
            with pytest.raises(UnreachableError):
                ten(source)
            assert read(ten(source)) == bytes(10)
            assert len(came) == 2


@pytest.mark.parametrize(("path", "page"), [("index.html", PAGE), ("model.bin", PAGE)])
def test_a_file_that_is_a_page(path: str, page: bytes) -> None:
    entry = FileEntry(path, len(page), sha256=sha(page))
    with hub(LOGIN) as (source, _):
        assert read(source.open(REPO, COMMIT, entry, 0, len(page))) == page
