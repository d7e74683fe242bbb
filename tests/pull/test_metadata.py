"""What a hub says of a model: paged, broken, boundless or hostile."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import (
    BadNameError,
    IntegrityError,
    MalformedError,
    OutlastError,
    UnreachableError,
    one_line,
)
from outlast.core.events import Note
from outlast.core.manifest import MAX_JSON_CONTAINERS, load_json
from outlast.core.names import MAX_PATH, RepoId
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.sources.tuning import Tuning
from outlast.store.archive import Archive
from tests.campaign import rounds
from tests.hubsim import HubRepo, HubSim
from tests.hubsim import api as hub_api
from tests.hubsim import listing as hub_listing
from tests.hubsim.generate import HOSTILE_SIZES, UNSAFE_NAMES, many_files_repo
from tests.pull.kit import (
    FILES,
    Puller,
    check_archive,
    check_pulled,
    contents,
    file_requests,
    sent,
    tree,
)

SHA1 = "1" * 40
SHA256 = "2" * 64


@pytest.fixture
def sizeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub whose description of a model lists names alone."""
    real = hub_listing.info_doc

    def info_doc(*given: Any, files: bool, blobs: bool) -> hub_listing.Json:
        return real(*given, files=files, blobs=blobs and False)

    monkeypatch.setattr(hub_listing, "info_doc", info_doc)


@pytest.mark.parametrize("seconds", [900.0, 0.0])
def test_a_listing_whose_pages_do_not_end(
    root: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Each links to another; without a file, or with some but for longer than it may take."""
    pages, real = itertools.count(), hub_api.Call.next_link

    def next_link(call: hub_api.Call, **changes: str) -> dict[str, str]:
        return {"Link": real(call, **changes)["Link"].replace("?", f"?n={next(pages)}&")}

    monkeypatch.setattr(hub_api.Call, "next_link", next_link)
    with HubSim(root, mode="thread", page_limit=1) as hub:
        if seconds:
            hub.set_faults([{"action": "keep", "what": "tree", "rows": 0}])
        source = HubSource(HttpClient(HttpSettings()), hub.url, tuning=Tuning(listing_s=seconds))
        with pytest.raises((MalformedError, UnreachableError), match=r"does not end|too slowly"):
            source.describe(RepoId.parse("org/name"), "main")
        assert len(hub.requests(what="tree")) <= 2


@pytest.mark.usefixtures("sizeless")
@pytest.mark.parametrize("page_limit", [1, 2, 1000])
def test_the_tree_is_read_page_by_page(root: Path, pull: Puller, page_limit: int) -> None:
    with HubSim(root, mode="thread", page_limit=page_limit) as hub:
        pull("org/name", hub.url)
        rows = len(FILES) + 1  # a folder is a row too
        assert len(hub.requests(what="tree")) == -(-rows // page_limit)
    check_pulled(pull.home)


@pytest.mark.usefixtures("sizeless")
def test_a_tree_that_lacks_files_is_not_taken_for_complete(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "headers", "what": "tree", "drop": ["Link"]}])
    with HubSim(hub.root, mode="thread", page_limit=3) as short:
        short.set_faults([{"action": "headers", "what": "tree", "drop": ["Link"]}])
        with pytest.raises(MalformedError):
            pull("org/name", short.url)


@pytest.mark.parametrize("what", ["info", "tree"])
@pytest.mark.parametrize("rows", [0, 2])
def test_a_list_that_was_cut_short_is_made_whole_by_the_other(
    hub: HubSim, pull: Puller, what: str, rows: int
) -> None:
    hub.set_faults([{"action": "keep", "what": what, "rows": rows}])
    assert not pull("org/name", hub.url).partial
    check_pulled(pull.home)


def test_what_was_compared_once_is_not_compared_again(hub: HubSim) -> None:
    source, repo = HubSource(HttpClient(HttpSettings()), hub.url), RepoId.parse("org/name")
    first = {entry.path for entry in source.describe(repo, "main").entries}
    assert {entry.path for entry in source.describe(repo, "main").entries} == first
    assert len(hub.requests(what="tree")) == 1
    hub.set_faults([{"action": "keep", "what": "info", "rows": 2}])
    assert {entry.path for entry in source.describe(repo, "main").entries} == first


def test_a_list_that_nothing_confirms_may_lack_files(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "status", "what": "tree", "status": 404}])
    assert pull("org/name", hub.url).partial
    hub.set_faults([])
    assert not pull("org/name", hub.url).partial
    check_pulled(pull.home)


@pytest.mark.parametrize("other", ["http://hub.example", "https://hub.example:8443"])
def test_a_page_is_asked_of_the_hub_that_was_asked_first(
    root: Path, pull: Puller, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a mirror whose page links name the hub behind it."""
    real = hub_api.Call.next_link

    def next_link(call: hub_api.Call, **changes: str) -> dict[str, str]:
        return {"Link": real(call, **changes)["Link"].replace(call.base_url, other)}

    monkeypatch.setattr(hub_api.Call, "next_link", next_link)
    with HubSim(root, mode="thread", page_limit=2) as hub:
        pull("org/name", hub.url)
        assert len(hub.requests(what="tree")) == -(-(len(FILES) + 1) // 2)
    check_pulled(pull.home)


@pytest.mark.usefixtures("sizeless")
@pytest.mark.parametrize("to", ["loop", "http://localhost:9/api/next", "nonsense:", "/api/other"])
def test_links_that_lead_nowhere(hub: HubSim, pull: Puller, to: str) -> None:
    hub.set_faults([{"action": "link", "what": "tree", "to": to}])
    with pytest.raises(OutlastError) as caught:
        pull("org/name", hub.url)
    assert caught.value.exit_code in {3, 4, 7}
    assert len(hub.requests(what="tree")) < 30
    assert file_requests(hub) == []


@pytest.mark.parametrize(
    "kind", ["truncated", "garbage", "html", "empty", "wrong_type", "bad_utf8"]
)
@pytest.mark.parametrize("what", ["info", "tree"])
def test_json_that_is_none(
    hub: HubSim, pull: Puller, kind: str, what: str, request: pytest.FixtureRequest
) -> None:
    if what == "tree":
        request.getfixturevalue("sizeless")
    hub.set_faults([{"action": "malformed_json", "kind": kind, "what": what}])
    with pytest.raises(UnreachableError if kind == "html" else MalformedError):
        pull("org/name", hub.url)
    assert file_requests(hub) == []
    check_archive(pull.home)


@pytest.mark.parametrize("kind", ["truncated", "garbage", "wrong_type"])
def test_broken_refs_do_not_matter(hub: HubSim, pull: Puller, kind: str) -> None:
    hub.set_faults([{"action": "malformed_json", "kind": kind, "what": "refs"}])
    pull("org/name@v1.0", hub.url)
    check_pulled(pull.home, FILES, "org/name@v1.0")


def test_a_bottomless_json_bomb(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "huge_json", "depth": 2_000_000, "what": "info"}])
    with pytest.raises(MalformedError):
        pull("org/name", hub.url)


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"1,", b'"",'])
def test_json_of_too_many_values_is_not_parsed(unit: bytes) -> None:
    """Counted before it is parsed: a value takes up to 60 times its bytes in memory."""
    data = b"[" + unit * 10_000 + b"0]"
    assert len(load_json(data, len(data), containers=10_001)) == 10_001
    with pytest.raises(MalformedError, match="objects and arrays"):
        load_json(data, len(data), containers=3_200)


@pytest.mark.parametrize(
    ("sign", "count"), [(b"[", MAX_JSON_CONTAINERS), (b",", 3 * MAX_JSON_CONTAINERS)]
)
def test_the_bound_holds_by_itself(
    monkeypatch: pytest.MonkeyPatch, sign: bytes, count: int
) -> None:
    monkeypatch.setattr(json, "loads", lambda *_a, **_k: pytest.fail("it was parsed"))
    with pytest.raises(MalformedError, match="objects and arrays"):
        load_json(sign * (count + 1), 1 << 30)


def test_an_endless_json_bomb(hub: HubSim, pull: Puller) -> None:
    pull.sources = Tuning(hub_description=1 << 20)
    hub.set_faults([{"action": "huge_json", "bytes": 1 << 34, "what": "info"}])
    with pytest.raises(MalformedError, match="bytes of metadata"):
        pull("org/name", hub.url)
    assert all(entry.sent < 1 << 27 for entry in hub.requests(what="info"))


@pytest.mark.parametrize("name", [*UNSAFE_NAMES, "\ud800"], ids=lambda name: ascii(name)[:40])
def test_an_unsafe_name_is_left_out_and_the_rest_is_kept(
    hub: HubSim, pull: Puller, name: str
) -> None:
    entry = {"rfilename": name, "size": 3, "blobId": SHA1}
    hub.set_faults([{"action": "inject", "what": "info", "entries": [entry]}])
    before = tree(pull.home.parent.parent)
    pulled = pull("org/name", hub.url)
    assert pulled.partial
    assert pulled.plan.refused == (name[:MAX_PATH],)
    (said,) = [event.text for event in pull.events if isinstance(event, Note)]
    assert "1 file is left out of org/name, which stays partial" in said
    assert one_line(said).isprintable()
    check_pulled(pull.home)
    with Archive(pull.home) as archive:
        assert archive.revision(RepoId.parse("org/name")).unlisted
    outside = tree(pull.home.parent.parent).keys() - before.keys()
    assert {path.partition("/")[0] for path in outside} == {"home"}


def test_a_listing_of_unsafe_names_alone_is_refused(hub: HubSim, pull: Puller) -> None:
    HubRepo(hub.root, "org/bad").commit({"../escape.txt": b"x", "a/../b": b"y"})
    with pytest.raises(BadNameError, match="no file of org/bad can be kept"):
        pull("org/bad", hub.url)
    assert file_requests(hub) == []


def contents_or_nothing(pull: Puller) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in pull.home.glob("blobs/*/*")}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("file", "file/below.txt"),
        ("file/below.txt", "file"),
        ("a/b/c/d", "a/b"),
    ],
)
def test_of_a_file_and_its_folder_one_stays(hub: HubSim, pull: Puller, one: str, two: str) -> None:
    """No git has both."""
    files = {"config.json": b"{}", one: b"1", two: b"2"}
    HubRepo(hub.root, "org/both").commit(files)
    pulled = pull("org/both", hub.url)
    (refused,) = pulled.plan.refused
    assert refused in {one, two}
    assert pulled.partial
    kept = {path: data for path, data in files.items() if path != refused}
    check_pulled(pull.home, kept, "org/both")


def test_the_same_name_twice_is_refused(hub: HubSim, pull: Puller) -> None:
    twins = [{"rfilename": "same", "size": 3, "blobId": SHA1}] * 2
    hub.set_faults([{"action": "inject", "what": "info", "entries": twins}])
    with pytest.raises(MalformedError, match="twice"):
        pull("org/name", hub.url)
    assert file_requests(hub) == []


@pytest.mark.parametrize("size", HOSTILE_SIZES)
@pytest.mark.parametrize("place", ["size", "lfs"])
def test_an_impossible_size_is_refused(hub: HubSim, pull: Puller, size: object, place: str) -> None:
    entry: dict[str, Any] = {"rfilename": "x.bin", "size": size, "blobId": SHA1}
    if place == "lfs":
        entry |= {"size": 3, "lfs": {"sha256": SHA256, "size": size}}
    hub.set_faults([{"action": "inject", "what": "info", "entries": [entry]}])
    with pytest.raises(MalformedError):
        pull("org/name", hub.url)
    assert file_requests(hub) == []


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"rfilename": None},
        {"rfilename": ["a"], "size": 1, "blobId": SHA1},
        {"rfilename": "a", "size": 1, "blobId": "z" * 40},
        {"rfilename": "a", "size": 1, "blobId": None},
        {"rfilename": "a", "size": 1, "blobId": SHA1, "lfs": {}},
        {"rfilename": "a", "size": 1, "blobId": SHA1, "lfs": {"sha256": "../../x", "size": 1}},
        {"rfilename": "a", "size": True, "blobId": SHA1},
        "text",
        None,
        7,
    ],
    ids=str,
)
def test_an_entry_that_is_none(hub: HubSim, pull: Puller, entry: object) -> None:
    hub.set_faults([{"action": "inject", "what": "info", "entries": [entry]}])
    with pytest.raises((MalformedError, BadNameError)):
        pull("org/name", hub.url)
    assert file_requests(hub) == []


def test_one_content_with_two_sizes(hub: HubSim, pull: Puller) -> None:
    entries = [
        {"rfilename": f"{size}.bin", "size": size, "lfs": {"sha256": SHA256, "size": size}}
        for size in (10, 20_000_000)
    ]
    hub.set_faults([{"action": "inject", "what": "info", "entries": entries}])
    with pytest.raises(MalformedError, match="two sizes"):
        pull("org/name", hub.url)


def test_a_promise_that_no_source_can_keep(hub: HubSim, pull: Puller) -> None:
    """A digest that none of the bytes has, for a file that the hub does serve."""
    real = FILES["small.bin"]
    lie = {"sha256": hashlib.sha256(b"other").hexdigest(), "size": len(real)}
    entry = {"rfilename": "small.bin", "size": len(real), "lfs": lie}
    HubRepo(hub.root, "org/lie").commit({"small.bin": real, "config.json": b"{}"})
    hub.set_faults([{"action": "inject", "what": "info", "repo": "org/lie", "entries": [entry]}])
    with pytest.raises((IntegrityError, BadNameError)):
        pull("org/lie", hub.url)
    assert {path.read_bytes() for path in pull.home.glob("blobs/*/*")} <= {b"{}"}


@pytest.mark.torture
def test_thousands_of_files(tmp_path: Path, pull: Puller) -> None:
    count = rounds(1_300, 10_000)
    many_files_repo(tmp_path / "many", files=count)
    with HubSim(tmp_path / "many", mode="process") as hub:
        pull.connections = 8
        pull("org/many", hub.url)
        assert len(file_requests(hub)) == count
        held = contents(pull.home, "org/many")
        assert len(held) == count
        assert held["part-0012/file-001242.txt"] == b"file 1242\n"
        total = sent(hub)
        hub.clear_log()
        pull("org/many", hub.url)
        assert file_requests(hub) == []
        assert total == sum(map(len, held.values()))
