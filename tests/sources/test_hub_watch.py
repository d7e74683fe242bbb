"""What a hub says of models, when it lies, breaks off or answers something else: never believed,
never a withdrawal, and bounded.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.digest import GitOid
from outlast.core.errors import (
    MalformedError,
    OutlastError,
    RateLimitedError,
    UnreachableError,
)
from outlast.core.names import RepoId, RepoKind
from outlast.sources.http import HttpClient
from outlast.sources.hub_watch import HubWatch
from outlast.sources.settings import HttpSettings
from outlast.sources.tuning import Tuning
from tests.hubsim import HubRepo, HubSim, put_collection

REPO = RepoId.parse("org/name")
TOKEN = "hf_right"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    repo = HubRepo(tmp_path, "org/name")
    for number in range(5):
        repo.commit({"README.md": b"%d" % number, "w.bin": b"w" * number})
    HubRepo(tmp_path, "org/other").commit({"a": b"a"})
    put_collection(tmp_path, "org/best-1", ["org/name", "datasets/org/data"])
    with HubSim(tmp_path, mode="thread", token=TOKEN) as sim:
        yield sim


@pytest.fixture
def watch(hub: HubSim) -> Iterator[HubWatch]:
    with HttpClient(HttpSettings(read_timeout=5)) as http:
        yield HubWatch(http, hub.url, TOKEN, Tuning(page=1 << 20, history_pages=2, model_pages=2))


def head(hub: HubSim) -> GitOid:
    return GitOid(HubRepo(hub.root, "org/name").head.sha)


def test_an_answer_that_is_known_already(watch: HubWatch) -> None:
    first = watch.info(REPO)
    assert first.status == 200
    assert first.document["id"] == "org/name"
    assert "siblings" not in first.document
    again = watch.info(REPO, first.etag)
    assert (again.status, again.document) == (304, None)
    assert watch.requests == 2


def test_a_history(hub: HubSim, watch: HubWatch) -> None:
    repo = HubRepo(hub.root, "org/name")
    parent = GitOid(repo.head.parent or "")
    assert watch.descends(REPO, head(hub), parent) is True
    assert watch.descends(REPO, head(hub), GitOid("1" * 40)) is False
    assert watch.descends(REPO, GitOid("2" * 40), parent) is None
    hub.set_faults([{"action": "link", "what": "commits"}])
    assert watch.descends(REPO, head(hub), GitOid("1" * 40)) is None


def test_files_and_texts_of_a_commit(hub: HubSim, watch: HubWatch) -> None:
    files = watch.files(REPO, head(hub))
    assert files is not None
    assert {path: file.size for path, file in files.items()} == {"README.md": 1, "w.bin": 4}
    assert watch.text(REPO, head(hub), "README.md") == "4"
    assert watch.text(REPO, head(hub), "absent.md") is None
    assert watch.files(REPO, GitOid("1" * 40)) is None


def test_lists(hub: HubSim, watch: HubWatch) -> None:
    rows = watch.listed(RepoKind.MODEL, [("author", "org")])
    assert [row["id"] for row in rows] == ["org/name", "org/other"]
    assert watch.collection("org/best-1") == [("model", "org/name"), ("dataset", "org/data")]
    assert watch.collection("org/absent") is None
    hub.set_faults([{"action": "link", "what": "list"}])
    with pytest.raises(MalformedError, match="too many"):
        [*watch.listed(RepoKind.MODEL, [("author", "org")])]


@pytest.mark.parametrize("kind", ["truncated", "garbage", "html", "empty", "bad_utf8"])
def test_what_is_no_document_is_no_answer(hub: HubSim, watch: HubWatch, kind: str) -> None:
    hub.set_faults([{"action": "malformed_json", "kind": kind}])
    for ask in (
        lambda: watch.info(REPO),
        lambda: watch.refs(REPO),
        lambda: [*watch.listed(RepoKind.MODEL, [])],
    ):
        with pytest.raises(OutlastError):
            ask()
    assert not watch.answers()


@pytest.mark.parametrize("bomb", [{"bytes": 1 << 28}, {"depth": 100_000}])
def test_a_bomb_is_refused(hub: HubSim, watch: HubWatch, bomb: dict[str, int]) -> None:
    hub.set_faults([{"action": "huge_json", **bomb}])
    with pytest.raises(OutlastError):
        watch.info(REPO)


@pytest.mark.parametrize(
    ("status", "code"), [(401, None), (403, "GatedRepo"), (404, "RepoNotFound"), (410, None)]
)
def test_a_refusal_is_an_answer(
    hub: HubSim, watch: HubWatch, status: int, code: str | None
) -> None:
    fault = {"action": "status", "status": status, "message": "so it is"}
    hub.set_faults([fault if code is None else fault | {"code": code}])
    asked = watch.info(REPO)
    assert (asked.status, asked.reason, asked.disabled) == (status, "so it is", False)


def test_what_is_turned_off(hub: HubSim, watch: HubWatch) -> None:
    text = "Access to this resource is disabled"
    hub.set_faults([{"action": "status", "status": 403, "message": text}])
    assert watch.info(REPO).disabled


@pytest.mark.parametrize("status", [500, 502, 503, 511])
def test_a_failure_is_none(hub: HubSim, watch: HubWatch, status: int) -> None:
    hub.set_faults([{"action": "status", "status": status}])
    with pytest.raises(UnreachableError):
        watch.info(REPO)


def test_a_page_is_none(hub: HubSim, watch: HubWatch) -> None:
    hub.set_faults([{"action": "page"}])
    with pytest.raises(UnreachableError):
        watch.info(REPO)


def test_limits_are_told(hub: HubSim, watch: HubWatch) -> None:
    hub.set_faults([{"action": "status", "status": 429, "retry_after": 7}])
    with pytest.raises(RateLimitedError) as limit:
        watch.info(REPO)
    assert limit.value.retry_after == 7
    hub.set_faults([{"action": "headers", "set": {"RateLimit": '"api";r=0;t=55'}}])
    watch.info(REPO)
    assert watch.wait == 55


def test_a_token_stays_at_its_hub(hub: HubSim, watch: HubWatch, tmp_path: Path) -> None:
    with HubSim(tmp_path / "else", mode="thread") as other:
        hub.set_faults([{"action": "redirect", "to": f"{other.url}/api/models/org/name"}])
        with pytest.raises(OutlastError):
            watch.info(REPO)
        assert not any(entry.has_auth for entry in other.requests())


def test_lists_that_take_too_long(hub: HubSim) -> None:
    with HttpClient(HttpSettings(read_timeout=5)) as http:
        watch = HubWatch(http, hub.url, TOKEN, Tuning(listing_s=-1.0))
        with pytest.raises(UnreachableError, match="too slowly"):
            [*watch.listed(RepoKind.MODEL, [("author", "org")])]
        with pytest.raises(UnreachableError, match="too slowly"):
            watch.descends(REPO, head(hub), head(hub))
