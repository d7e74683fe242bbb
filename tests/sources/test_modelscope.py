"""What a ModelScope site says, and may get wrong."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    EntryNotFoundError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    OutlastError,
    RateLimitedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnreachableError,
)
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.base import listing_id
from outlast.sources.http import HttpClient
from outlast.sources.modelscope import ModelScopeSource
from outlast.sources.settings import HttpSettings
from outlast.sources.tuning import TUNING
from tests.sourcesim import Model, ModelScopeSim
from tests.sourcesim.modelscope import row
from tests.sourcesim.site import Fault, Reply, cut, elsewhere, failing, page, saying

REPO = RepoId.parse("org/name")
OLD, NEW = "a" * 40, "b" * 40
BIG = bytes(range(256)) * 40
FILES = {"config.json": b"{}", "sub/model.bin": BIG, "empty": b""}
ELSEWHERE = GitOid("e" * 40)
"""The commit of another source."""
FILE_LIST = "/repo/files"


@pytest.fixture
def site() -> Iterator[ModelScopeSim]:
    model = Model({OLD: {"config.json": b"old"}, NEW: FILES}, {"master": NEW}, {"v1": OLD})
    with ModelScopeSim({"org/name": model}) as site:
        yield site


def source(site: ModelScopeSim, token: str | None = None, **tuned: Any) -> ModelScopeSource:
    http = HttpClient(HttpSettings(read_timeout=5))
    return ModelScopeSource(http, site.url, token, replace(TUNING, **tuned))


def entry(path: str, data: bytes) -> FileEntry:
    return FileEntry(path, len(data), sha256=Digest.of(data))


def read(source: ModelScopeSource, wanted: FileEntry, commit: GitOid = ELSEWHERE) -> bytes:
    reader = source.open(REPO, commit, wanted, 0, wanted.size)
    try:
        buffer = memoryview(bytearray(wanted.size))
        got = 0
        while count := reader.readinto(buffer[got:]):
            got += count
        return bytes(buffer[:got])
    finally:
        reader.close()


# Revisions


def test_main_is_the_default_branch(site: ModelScopeSim) -> None:
    found = source(site)
    for ref in ("main", "master", "refs/heads/master", NEW):
        listing = found.describe(REPO, ref)
        assert (listing.commit.hex, listing.unlisted) == (NEW, False)
        assert {one.path: one.sha256 for one in listing.entries} == {
            path: Digest.of(data) for path, data in FILES.items()
        }
    assert found.describe(REPO, "v1").commit.hex == OLD
    site.models["org/name"].branches = {"main": OLD}
    assert found.describe(REPO, "main").commit.hex == OLD


@pytest.mark.parametrize("ref", ["none", "c" * 40, "b" * 39, "refs/heads/v9"])
def test_what_is_no_revision(site: ModelScopeSim, ref: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        source(site).describe(REPO, ref)


def test_a_name_that_is_not_listed_is_no_revision_whatever_else_answers(
    site: ModelScopeSim,
) -> None:
    """A site that shows the default branch for a name that it does not know would make it so."""
    site.models["org/name"].states["gone"] = FILES
    with pytest.raises(RevisionNotFoundError):
        source(site).describe(REPO, "gone")


def test_files_without_a_commit_go_by_an_id_of_their_own(site: ModelScopeSim) -> None:
    site.models["org/name"].tells_commits = False
    found = source(site)
    listing = found.describe(REPO, "main")
    assert listing.commit == listing_id(reversed(listing.entries))
    assert found.describe(REPO, listing.commit.hex).commit == listing.commit
    other = [replace(listing.entries[0], path="other"), *listing.entries[1:]]
    assert listing_id(other) != listing.commit
    assert read(found, entry("sub/model.bin", BIG), listing.commit) == BIG


def test_a_site_that_answers_for_another_commit(site: ModelScopeSim) -> None:
    site.fault("/commits", saying(json.dumps(_said({"Commit": [{"Id": OLD}]})).encode()))
    listing = source(site).describe(REPO, "v1")
    assert {one.path for one in listing.entries} == {"config.json"}
    with pytest.raises(RevisionNotFoundError):
        source(site).describe(REPO, NEW)


def test_datasets_are_not_asked_for(site: ModelScopeSim) -> None:
    with pytest.raises(RepoNotFoundError, match="models alone"):
        source(site).describe(RepoId.parse("datasets/org/name"), "main")
    assert site.asked == []


# Who may read what


@pytest.mark.parametrize(
    ("visibility", "protected", "private", "gated"),
    [
        (5, 2, False, False),
        (1, 2, True, False),
        (3, 2, True, False),
        (0, 2, True, False),
        (5, 1, False, True),
        (None, 2, False, False),
    ],
)
def test_claims(
    site: ModelScopeSim, visibility: int, protected: int, private: bool, gated: bool
) -> None:
    model = site.models["org/name"]
    model.visibility, model.protected = visibility, protected
    facts = source(site).describe(REPO, "main").facts
    assert (facts.private, facts.gated) == (private, gated)
    assert facts.tags == ("llm",)
    assert facts.facts == {"license": "apache-2.0"}
    if private or gated:
        with pytest.raises((AccessDeniedError, RepoNotFoundError)):
            source(site).check_access(REPO)
    else:
        source(site).check_access(REPO)


def test_what_a_token_alone_opens_counts_as_private(site: ModelScopeSim) -> None:
    site.models["org/name"].token = "ms-right"
    for token in (None, "ms-other"):
        with pytest.raises((RepoNotFoundError, AccessDeniedError)):
            source(site, token).describe(REPO, "main")
        with pytest.raises(RepoNotFoundError):
            source(site, token).check_access(REPO)
    found = source(site, "ms-right")
    found.check_access(REPO)
    assert found.describe(REPO, "main").facts.private is True
    site.models["org/name"].token = ""
    assert found.describe(REPO, "main").facts.private is False
    assert found.with_token(None).has_token is False


def test_a_token_goes_to_the_site_alone(site: ModelScopeSim) -> None:
    site.models["org/name"].token = "ms-right"
    assert read(source(site, "ms-right"), entry("x", BIG)) == BIG
    assert site.count(cdn=True) == 1
    assert {one.token for one in site.asked if one.cdn} == {""}
    with ModelScopeSim({}) as other:
        site.fault("/revisions", elsewhere(f"{other.url}/api/v1/models/org/name"))
        with pytest.raises(MalformedError, match="redirects questions"):
            source(site, "ms-right").refs(REPO)
        assert {one.token for one in other.asked} == {""}


# Long listings


def nested(folders: int, files: int) -> dict[str, bytes]:
    return {f"f{n}/g/{m}.txt": f"{n} {m}".encode() for n in range(folders) for m in range(files)}


def test_a_listing_that_is_cut_short_is_walked(site: ModelScopeSim) -> None:
    files = nested(6, 8) | FILES
    site.models["org/name"].states[NEW] = files
    site.cap = 20
    listing = source(site, tree_cut=20).describe(REPO, "main")
    assert {one.path for one in listing.entries} == files.keys()
    assert listing.unlisted is False
    assert site.count(FILE_LIST) == 2 + 7


def test_a_folder_with_more_than_is_ever_listed_makes_it_partial(site: ModelScopeSim) -> None:
    site.models["org/name"].states[NEW] = nested(1, 30)
    site.cap = 20
    listing = source(site, tree_cut=20).describe(REPO, "main")
    assert listing.unlisted is True
    assert 0 < len(listing.entries) < 30


def test_a_listing_that_does_not_end(site: ModelScopeSim) -> None:
    """Each folder has as many folders again."""

    class Endless(ModelScopeSim):
        def _files(self, _model: Model, asked: Any) -> Reply:
            root = asked.query.get("Root", "")
            at = f"{root}/" if root else ""
            rows = [{"Path": f"{at}{n}", "Type": "tree"} for n in range(20)]
            return Reply(200, json.dumps(_said({"Files": rows})).encode())

    with Endless(site.models) as endless:
        with pytest.raises(MalformedError, match="does not end"):
            source(endless, tree_cut=20, tree_lists=50).describe(REPO, "main")
        assert endless.count(FILE_LIST) < 50


def test_a_listing_of_millions_is_refused_before_it_takes_memory(site: ModelScopeSim) -> None:
    site.fault(FILE_LIST, saying(b'{"Success":true,"Data":{"Files":[' + b"{}," * 600_000 + b"]}}"))
    with pytest.raises(MalformedError, match="more than 1000000 bytes"):
        source(site, hub_description=1_000_000).describe(REPO, "main")
    site.fault(FILE_LIST, saying(b"[" * 2_500_001))
    with pytest.raises(MalformedError, match="objects and arrays"):
        source(site).describe(REPO, "main")


# Answers that are wrong


def _said(data: Any) -> dict[str, Any]:
    return {"Code": 200, "Success": True, "Data": data, "Message": ""}


def _files(*rows: Any) -> bytes:
    return json.dumps(_said({"Files": rows})).encode()


def _row(**other: Any) -> dict[str, Any]:
    return {**row("a", b"x"), **other}


@pytest.mark.parametrize(
    "body",
    [
        b"nothing",
        b"[]",
        b'{"Success": true, "Data": {"Files": {}}}',
        b'{"Success": true, "Data": 7}',
        _files(7),
        _files({}),
        _files(_row(Path=["a"])),
        _files(_row(Size=-1)),
        _files(_row(Size=True)),
        _files(_row(Size="1")),
        _files(_row(Size=None)),
        _files(_row(Size=1 << 60)),
        _files(_row(Sha256="x")),
        _files(_row(Sha256=["0" * 64])),
        _files(_row(), _row(Size=2)),
        _files(_row(), _row(Sha256="0" * 64)),
    ],
)
def test_listings_that_are_none(site: ModelScopeSim, body: bytes) -> None:
    site.fault(FILE_LIST, saying(body))
    with pytest.raises((MalformedError, NotFoundError)) as caught:
        source(site).describe(REPO, "main")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["other/x", "/x", "../x", "f/../../x", 7, "x\x00", "f0/g"])
def test_folders_that_are_elsewhere(site: ModelScopeSim, path: Any) -> None:
    site.models["org/name"].states[NEW] = nested(2, 4)
    answers = [
        _files(*[_row(Path=str(n)) for n in range(5)]),
        _files({"Path": path, "Type": "tree"}),
    ]
    site.fault(FILE_LIST, lambda _: Reply(200, answers.pop(0)))
    with pytest.raises(MalformedError, match="listing has"):
        source(site, tree_cut=5).describe(REPO, "main")


@pytest.mark.parametrize("route", ["name$", "/revisions", FILE_LIST])
@pytest.mark.parametrize("body", [b"[]", b"{}", b"7", b'{"Success": true}', b'{"Data": {}}'])
def test_documents_that_are_none(site: ModelScopeSim, route: str, body: bytes) -> None:
    site.fault(route, saying(body))
    with pytest.raises((MalformedError, NotFoundError)):
        source(site).describe(REPO, "main")


def test_odd_values_are_no_bugs(site: ModelScopeSim) -> None:
    odd = {"Visibility": [5], "ProtectedMode": {}, "Tags": 7, "Path": 1, "License": ["x"]}
    site.fault("name$", saying(json.dumps(_said(odd)).encode()))
    site.fault("/commits", saying(json.dumps(_said({"Commit": [[7]]})).encode()))
    listing = source(site).describe(REPO, "main")
    assert (listing.repo, listing.facts.private) == (REPO, True)
    assert listing.commit == listing_id(listing.entries)


def test_a_file_without_a_digest_is_left_out(site: ModelScopeSim) -> None:
    site.fault(FILE_LIST, saying(_files(_row(), _row(Path="b", Sha256=""))))
    listing = source(site).describe(REPO, "main")
    assert ([one.path for one in listing.entries], listing.unlisted) == (["a"], True)


STATUSES: list[tuple[Fault, type[OutlastError], str]] = [
    (failing(429, Retry_After="7"), RateLimitedError, "wait 7 s: as the test says|wait 7 s"),
    (failing(503), UnreachableError, "503"),
    (failing(500), UnreachableError, "as the test says"),
    (failing(401), RepoNotFoundError, "as the test says"),
    (failing(403), AccessDeniedError, "as the test says"),
    (failing(404), RepoNotFoundError, "as the test says"),
    (failing(451), NotFoundError, "withdrawn for legal reasons"),
    (page, UnreachableError, "web page"),
    (saying(b'{"Success": false, "Code": 10010205001, "Message": "gone"}'), NotFoundError, "gone"),
    (saying(b'{"Success": false, "Code": 403, "Message": "no"}'), AccessDeniedError, "no"),
    (saying(b'{"Success": false, "Code": 503}'), UnreachableError, "503"),
    (saying(b"<html>" + b"x" * 100_000, 503), UnreachableError, "503"),
]


@pytest.mark.parametrize(("fault", "error", "says"), STATUSES)
def test_statuses(site: ModelScopeSim, fault: Fault, error: type[OutlastError], says: str) -> None:
    site.fault("name$", fault)
    with pytest.raises(error, match=says) as caught:
        source(site).describe(REPO, "main")
    if isinstance(caught.value, RateLimitedError):
        assert caught.value.retry_after == 7


# Files


def test_a_file_is_found_by_its_digest_alone(site: ModelScopeSim) -> None:
    found = source(site)
    assert read(found, entry("weights/other-name.bin", BIG)) == BIG
    assert read(found, entry("weights/third-name.bin", BIG)) == BIG
    assert site.count(FILE_LIST) == 1
    with pytest.raises(EntryNotFoundError, match="sha256"):
        read(found, FileEntry("config.json", 2, git_sha1=GitOid.of_blob(b"{}")))
    for wanted in (entry("sub/model.bin", b"other bytes"), replace(entry("x", BIG), size=5)):
        with pytest.raises(EntryNotFoundError, match="no file with the bytes"):
            read(found, wanted)
    assert site.count(FILE_LIST) == 1  # it is not listed again for each of them
    again = source(site, relist_s=0)
    for _ in range(2):
        with pytest.raises(EntryNotFoundError):
            read(again, entry("x", b"other bytes"))
    assert site.count(FILE_LIST) == 3


def test_many_threads_list_it_once(site: ModelScopeSim) -> None:
    found = source(site)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: read(found, entry("x", BIG)), range(16)))
    assert got == [BIG] * 16
    assert site.count(FILE_LIST) == 1


def test_the_newest_listing_is_looked_at_first_and_old_ones_go(site: ModelScopeSim) -> None:
    found = source(site, listed_files=3, relist_s=1e9)
    found.describe(REPO, "v1")
    found.describe(REPO, "main")  # with three files: the other one goes
    assert read(found, entry("x", BIG)) == BIG
    with pytest.raises(EntryNotFoundError):
        read(found, entry("x", b"old"))
    found.describe(REPO, "v1")
    assert read(found, entry("x", b"old")) == b"old"


def test_a_branch_that_moved_serves_what_was_listed(site: ModelScopeSim) -> None:
    found = source(site)
    found.describe(REPO, "main")
    site.models["org/name"].states["d" * 40] = {"sub/model.bin": b"new" * 1000}
    site.models["org/name"].branches["master"] = "d" * 40
    assert read(found, entry("x", BIG)) == BIG


def _other(reply: Reply) -> Reply:
    return replace(reply, headers={**reply.headers, "X-Linked-ETag": f'"{"0" * 64}"'})


FILE_FAULTS: list[tuple[Fault, type[OutlastError], str]] = [
    (_other, IntegrityError, "other bytes"),
    (page, UnreachableError, "web page"),
    (failing(404), NotFoundError, "has no"),
    (failing(403), AccessDeniedError, "refuses"),
    (failing(429), RateLimitedError, "rate-limiting"),
    (lambda r: replace(r, headers={"Content-Encoding": "br"}, status=200), MalformedError, "br"),
    (lambda _: Reply(200, b"x"), IntegrityError, "1 bytes there"),
]


@pytest.mark.parametrize(("fault", "error", "says"), FILE_FAULTS)
def test_answers_that_are_not_the_file(
    site: ModelScopeSim, fault: Fault, error: type[OutlastError], says: str
) -> None:
    site.fault("/repo$", fault)
    with pytest.raises(error, match=says):
        read(source(site), entry("x", BIG))


def test_a_signed_url_is_used_again_until_it_expires(site: ModelScopeSim) -> None:
    found = source(site)
    for _ in range(2):
        assert read(found, entry("x", BIG)) == BIG
    assert site.count("/repo$") == 1
    site.fault("^/[0-9a-f]{64}$", failing(403), times=1)
    assert read(found, entry("x", BIG)) == BIG
    assert site.count("/repo$") == 2
    site.fault("^/[0-9a-f]{64}$", failing(404))
    with pytest.raises(UnreachableError, match="redirects to where"):
        read(found, entry("x", BIG))


def test_a_range_of_a_file_that_is_not_in_lfs(site: ModelScopeSim) -> None:
    """The whole file comes: a little of it is dropped, and much is given as what it is."""
    small = bytes(range(250)) * 3
    site.models["org/name"].states[NEW] = {"tokenizer.json": small}
    for skipped, begins in ((500, 500), (499, 0)):
        reader = source(site, skipped=skipped).open(REPO, GitOid(NEW), entry("x", small), 500, 700)
        assert reader.start == begins
        buffer = memoryview(bytearray(300))
        assert buffer[: reader.readinto(buffer)] == small[begins : begins + 300][: len(buffer)]
        reader.close()
    site.fault("/repo$", cut)
    reader = source(site).open(REPO, GitOid(NEW), entry("x", small), 500, 700)
    with pytest.raises(UnreachableError, match="closed early"):
        reader.readinto(memoryview(bytearray(100)))
    reader.close()


def test_names_are_sent_as_they_are(site: ModelScopeSim) -> None:
    path = "a b/ü&c=d+%41?.bin"
    site.models["org/name"].states[NEW] = {path: BIG}
    assert read(source(site), entry("x", BIG)) == BIG
    assert [one.query["FilePath"] for one in site.asked if one.path.endswith("/repo")] == [path]


def test_the_site_spells_its_models(site: ModelScopeSim) -> None:
    site.models["Org/Name"] = site.models["org/name"]
    about = {"Path": "Org", "Name": "Name", "Visibility": 5}
    site.fault("/org/name$", saying(json.dumps(_said(about)).encode()))
    found = source(site)
    assert found.describe(REPO, "main").repo == RepoId.parse("Org/Name")
    assert read(found, entry("x", BIG)) == BIG
    assert {one.path for one in site.asked if one.path.endswith("/repo")} == {
        "/api/v1/models/Org/Name/repo"
    }
