"""Folders on web servers, and the lists beside their files."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.hashing import names_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    EntryNotFoundError,
    IntegrityError,
    MalformedError,
    OutlastError,
    RateLimitedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnreachableError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.sources.base import listing_id
from outlast.sources.folder import MANIFEST, SUMS, FolderSource, parse_sums
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings
from outlast.sources.tuning import TUNING
from tests.sourcesim import Asked, FolderSim, Reply, sums
from tests.sourcesim.site import Fault, cut, failing, page, saying

REPO = RepoId.parse("org/name")
BIG = bytes(range(256)) * 40
FILES = {"config.json": b"{}", "sub/a b+ü%41.bin": BIG, "empty": b""}
ELSEWHERE = GitOid("e" * 40)


@contextmanager
def serving(
    files: Mapping[str, bytes], at: str = "org/name/", **options: Any
) -> Iterator[FolderSim]:
    with FolderSim({f"{at}{path}": data for path, data in files.items()}, **options) as site:
        yield site


@pytest.fixture
def site() -> Iterator[FolderSim]:
    with serving({**FILES, SUMS: sums(FILES)}) as site:
        yield site


def source(
    site: FolderSim, token: str | None = None, model: str = "", **tuned: Any
) -> FolderSource:
    http = HttpClient(HttpSettings(read_timeout=5))
    return FolderSource(http, site.url, token, model, replace(TUNING, **tuned))


def entry(path: str, data: bytes) -> FileEntry:
    return FileEntry(path, len(data), sha256=Digest.of(data))


def read(source: FolderSource, wanted: FileEntry) -> bytes:
    reader = source.open(REPO, ELSEWHERE, wanted, 0, wanted.size)
    try:
        buffer = memoryview(bytearray(wanted.size))
        got = 0
        while count := reader.readinto(buffer[got:]):
            got += count
        return bytes(buffer[:got])
    finally:
        reader.close()


# SHA256SUMS


def test_sums_are_read_as_sha256sum_writes_them() -> None:
    one, two = "0" * 64, "A" * 64
    found = parse_sums(
        f"{one}  plain name\n{two} *binary\r\n# a comment\n\n\\{one}  a\\nb\\\\c\n"
        f"{one}  ./below/x\n{one}  {SUMS}\n{one}  ./{MANIFEST}\n{one}  binary2".encode()
    )
    assert {path: digest.hex for path, digest in found.items()} == {
        "plain name": one,
        "binary": two.lower(),
        "a\nb\\c": one,
        "below/x": one,
        "binary2": one,
    }


@pytest.mark.parametrize(
    "line",
    [
        b"SHA256 (x) = " + b"0" * 64,
        b"0" * 63 + b"  x",
        b"0" * 64 + b"  ",
        b"0" * 64 + b" x",
        b"0" * 64 + b"  \xff",
        b"\\" + b"0" * 64 + b"  a\\tb",
        b"0" * 64 + b"  x\n" + b"1" * 64 + b"  ./x",
        b"<html>",
    ],
)
def test_sums_that_are_none(line: bytes) -> None:
    with pytest.raises(MalformedError, match=SUMS):
        parse_sums(b"0" * 64 + b"  fine\n" + line + b"\n")


@given(st.binary(max_size=300))
def test_no_bytes_are_a_bug(data: bytes) -> None:
    for text in (data, b"0" * 64 + b"  " + data, b"\\" + b"0" * 64 + b"  " + data):
        with suppress(OutlastError):
            parse_sums(text)


# Listings


def test_sizes_are_asked_for_once(site: FolderSim) -> None:
    found = source(site)
    for _ in range(2):
        listing = found.describe(REPO, "main")
        assert {one.path: (one.size, one.sha256) for one in listing.entries} == {
            path: (len(data), Digest.of(data)) for path, data in FILES.items()
        }
        assert (listing.commit, listing.unlisted) == (listing_id(listing.entries), False)
    assert site.count(method="HEAD") == len(FILES)
    site.files[f"org/name/{SUMS}"] += b"\n"
    found.describe(REPO, "main")
    assert site.count(method="HEAD") == 2 * len(FILES)


def test_it_has_one_state(site: FolderSim) -> None:
    found = source(site)
    commit = found.describe(REPO, "refs/heads/main").commit
    assert found.describe(REPO, commit.hex).commit == commit
    assert [(ref.name, ref.commit) for ref in found.refs(REPO)] == [("main", commit)]
    for ref in ("v1", "d" * 40):
        with pytest.raises(RevisionNotFoundError) as caught:
            found.describe(REPO, ref)
        assert "one state" in caught.value.hint


def test_the_folder_itself_or_one_below() -> None:
    for at, model in (("", "."), ("some/where else/", "some/where else")):
        with serving({**FILES, SUMS: sums(FILES)}, at) as site:
            found = source(site, model=model)
            assert len(found.describe(REPO, "main").entries) == len(FILES)
            assert found.name == f"folder+{site.url}={model}"
            assert read(found, entry("x", BIG)) == BIG
            with pytest.raises(RepoNotFoundError, match=SUMS) as caught:
                source(site).describe(REPO, "main")
            assert f"folder+{site.url}=." in caught.value.hint


@pytest.mark.parametrize("missing", [403, 404, 410])
def test_files_that_are_not_there_make_it_partial(missing: int) -> None:
    listed = sums({**FILES, "gone": b"gone", "../../etc/passwd": b"x", "a//b": b"y"})
    with serving({**FILES, SUMS: listed}, missing=missing) as site:
        listing = source(site).describe(REPO, "main")
        assert {one.path for one in listing.entries} == FILES.keys()
        assert listing.unlisted is True
        assert site.count("passwd") == 0
        with pytest.raises(RepoNotFoundError):
            source(site).describe(RepoId.parse("org/none"), "main")


def test_too_many_files(site: FolderSim) -> None:
    with pytest.raises(MalformedError, match="more than 2 files") as caught:
        source(site, folder_files=2).describe(REPO, "main")
    assert MANIFEST in caught.value.hint
    assert site.count(method="HEAD") == 0
    with pytest.raises(MalformedError, match="more than 100 bytes"):
        source(site, sums=100).describe(REPO, "main")


def _sizeless(_: Reply) -> Reply:
    return Reply(200, b"", {"Content-Length": "many"})


SIZE_FAULTS: list[tuple[Fault, type[OutlastError], str]] = [
    (failing(503), UnreachableError, "503"),
    (failing(429, Retry_After="3"), RateLimitedError, "3 s"),
    (_sizeless, MalformedError, "does not tell the size"),
    (lambda _: Reply(200, b"", {"Content-Length": str(1 << 60)}), MalformedError, "size"),
    (lambda r: replace(r, headers={"Content-Encoding": "gzip"}), MalformedError, "encodes"),
]


@pytest.mark.parametrize(("fault", "error", "says"), SIZE_FAULTS)
def test_sizes_that_are_not_told(
    site: FolderSim, fault: Fault, error: type[OutlastError], says: str
) -> None:
    site.fault("config.json", fault)
    with pytest.raises(error, match=says):
        source(site).describe(REPO, "main")


@pytest.mark.parametrize("refused", [403, 405, 501])
def test_sizes_by_a_range_where_head_is_refused(refused: int) -> None:
    """A redirect that is signed for GET answers 403 to HEAD."""

    class Refusing(FolderSim):
        def answer(self, asked: Asked) -> Reply:
            at_once = refused != 403 and not asked.cdn
            if asked.method == "HEAD" and (asked.cdn or at_once):
                return Reply(refused)
            return super().answer(asked)

    held = {f"org/name/{path}": data for path, data in {**FILES, SUMS: sums(FILES)}.items()}
    with Refusing(held, cdn=refused == 403) as site:
        listing = source(site).describe(REPO, "main")
        assert {one.path: one.size for one in listing.entries} == {
            path: len(data) for path, data in FILES.items()
        }
        assert listing.unlisted is False
        site.fault("config.json", failing(403))
        if refused != 403:
            assert source(site).describe(REPO, "main").unlisted is True
        site.fault("config.json", lambda _: Reply(405))
        with pytest.raises(OutlastError, match="405"):
            source(site).describe(REPO, "main")


def test_a_page_for_every_path(site: FolderSim) -> None:
    site.fault(MANIFEST, page)  # as web apps do
    assert source(site).describe(REPO, "main").entries
    site.fault(SUMS, page)
    with pytest.raises(UnreachableError, match="web page"):
        source(site).describe(REPO, "main")


# Manifests


def _manifest(repo: RepoId, commit: GitOid | None = ELSEWHERE) -> Revision:
    files = [FileEntry(path, len(data)).with_names(names_of(data)) for path, data in FILES.items()]
    return Revision.of(repo, commit, files)


def test_a_manifest_tells_sizes_and_the_commit() -> None:
    revision = _manifest(REPO)
    with serving({**FILES, MANIFEST: revision.to_bytes()}) as site:
        listing = source(site).describe(REPO, ELSEWHERE.hex)
        assert (listing.commit, tuple(listing.entries)) == (ELSEWHERE, revision.files)
        assert site.count(method="HEAD") == 0
        assert read(source(site), entry("x", BIG)) == BIG


def test_the_manifest_of_another_model_names_no_commit_of_this_one() -> None:
    revision = _manifest(RepoId.parse("org/other"))
    with serving({**FILES, MANIFEST: revision.to_bytes()}) as site:
        listing = source(site).describe(REPO, "main")
        assert listing.commit == listing_id(revision.files)
        with pytest.raises(RevisionNotFoundError):
            source(site).describe(REPO, ELSEWHERE.hex)


def test_a_manifest_without_a_commit_goes_by_its_digest() -> None:
    revision = _manifest(REPO, None)
    with serving({**FILES, MANIFEST: revision.to_bytes()}) as site:
        assert source(site).describe(REPO, "main").commit == revision.id


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"nothing",
        _manifest(REPO).to_bytes() + b"\n",
        _manifest(REPO).to_bytes().replace(b"empty", b"../up"),
        _manifest(REPO).to_bytes().replace(b"org/name", b"org/n/e"),
    ],
)
def test_manifests_that_are_none(body: bytes) -> None:
    with serving({**FILES, MANIFEST: body}) as site, pytest.raises(MalformedError):
        source(site).describe(REPO, "main")


# Files and tokens


FILE_FAULTS: list[tuple[Fault, type[OutlastError], str]] = [
    (page, UnreachableError, "web page"),
    (failing(403), EntryNotFoundError, "has no"),
    (failing(503), UnreachableError, "503"),
    (lambda _: Reply(200, b"x"), IntegrityError, "1 bytes there"),
    (cut, UnreachableError, "closed early"),
    (saying(b"x", 206), MalformedError, "Content-Range"),
]


@pytest.mark.parametrize(("fault", "error", "says"), FILE_FAULTS)
def test_answers_that_are_not_the_file(
    site: FolderSim, fault: Fault, error: type[OutlastError], says: str
) -> None:
    found = source(site)
    found.describe(REPO, "main")
    site.fault("/sub/", fault)
    with pytest.raises(error, match=says):
        read(found, entry("x", BIG))


def test_whole_files_where_ranges_are_not_served() -> None:
    with serving({**FILES, SUMS: sums(FILES)}, ranges=False) as site:
        reader = source(site).open(REPO, ELSEWHERE, entry("x", BIG), 100, 200)
        assert reader.start == 0
        reader.close()


def test_a_token_goes_to_its_own_host_and_what_it_opens_is_private() -> None:
    with serving({**FILES, SUMS: sums(FILES)}, token="right", cdn=True) as site:
        found = source(site, "right")
        assert found.describe(REPO, "main").facts.private is True
        assert read(found, entry("x", BIG)) == BIG
        assert {one.token for one in site.asked if one.cdn} == {""}
        found.check_access(REPO)
        for token in (None, "other"):
            with pytest.raises(OutlastError):
                source(site, token).describe(REPO, "main")
            with pytest.raises(RepoNotFoundError):
                source(site, token).check_access(REPO)
    with serving({**FILES, SUMS: sums(FILES)}) as site:
        assert source(site, "any").describe(REPO, "main").facts.private is False


def test_the_id_of_a_listing_is_that_of_its_lines() -> None:
    """docs/adr/0025-other-sources.md says how it is made; this is that, by other means."""
    entries = [entry("b", b"2"), entry("a\u00fc", b"1")]
    lines = [
        f'{hashlib.sha256(b"1").hexdigest()} 1 "a\\u00fc"\n',
        f'{hashlib.sha256(b"2").hexdigest()} 1 "b"\n',
    ]
    expected = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    assert listing_id(entries).hex == expected[:40]
