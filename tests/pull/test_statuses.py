"""A hub that answers with any status, for its description of a model and for a file."""

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import (
    AccessDeniedError,
    OutlastError,
    TransientError,
    UnreachableError,
    WithdrawnError,
)
from outlast.core.events import SourceWithdrew
from outlast.core.names import RepoId
from outlast.fetch.concurrency import Concurrency, Request
from outlast.fetch.scheduler import _next_task
from outlast.fetch.source_state import SourceState
from outlast.fetch.transfer import Work
from outlast.sources.base import RangeReader
from outlast.sources.hub import HubSource
from outlast.sources.statuses import Answer, meaning
from outlast.store.archive import Archive
from tests.campaign import crossed
from tests.clients.envs import HUB_CLIENTS
from tests.clients.run import Call, run_hub
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import BIG, FILES, Puller, check_pulled, file_requests
from tests.serve.node import Node, until
from tests.serve.wire import once
from tests.warm.calls import outlast

GIT = "config.json"
STATUSES = [
    *(400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417),
    *(418, 421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499),
    *(500, 501, 502, 503, 504, 505, 507, 508, 509, 511, 520, 529, 530, 599),
    *(300, 304, 305),
]
WITHDRAWN = [410, 451]
CALL: Call = ("info", {"repo_id": "org/name"})


def expected(status: int, path: str) -> OutlastError:
    return meaning(Answer(status, {}, "http://hub", "hub", "org/name", "main", path))


@pytest.mark.parametrize(("status", "what"), crossed(STATUSES, [], ["info", "resolve"]))
def test_what_it_ends_with(hub: HubSim, pull: Puller, status: int, what: str) -> None:
    """Asked again if that makes sense, else just once; then the next source is asked."""
    hub.set_faults([{"action": "status", "status": status, "what": what, "message": "No."}])
    wanted = expected(status, GIT if what == "resolve" else "")
    with pytest.raises(OutlastError) as caught:
        pull("org/name", hub.url, include=[GIT])
    assert caught.value.exit_code == wanted.exit_code
    asked = len(hub.requests(what=what))
    retried = wanted.exit_code in {4, 5} and getattr(wanted, "again", True)
    assert (asked > 1) == retried
    with HubSim(hub.root, mode="thread", token="hf_right") as other:
        pull("org/name", hub.url, other.url, include=[GIT])
        assert other.requests(what=what)
    assert pull.done == {GIT}


@pytest.mark.parametrize("path", [GIT, BIG])
def test_a_source_is_asked_for_nothing_while_a_failure_is_not_known(
    hub: HubSim, pull: Puller, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Another connection looks for work after a request failed, and before what follows."""
    hub.set_faults([{"action": "status", "status": 428, "what": "resolve"}])
    found: list[object] = []
    end, fail = Concurrency.end, Work.record_failure
    failing: list[tuple[Work, SourceState]] = []

    def failed(work: Work, source: SourceState, *args: Any, **named: Any) -> None:
        failing.append((work, source))
        fail(work, source, *args, **named)

    def ended(concurrency: Concurrency, request: Request, error: Any = None) -> bool:
        limited = end(concurrency, request, error)
        if error is not None:
            work, source = failing[-1]
            with work.state:
                found.append(_next_task(work, source))
        return limited

    monkeypatch.setattr(Work, "record_failure", failed)
    monkeypatch.setattr(Concurrency, "end", ended)
    with pytest.raises(OutlastError):
        pull("org/name", hub.url, include=[path])
    assert found == [None]


@pytest.mark.parametrize("status", WITHDRAWN)
@pytest.mark.parametrize("what", ["info", "resolve"])
def test_what_is_withdrawn_says_so(hub: HubSim, pull: Puller, status: int, what: str) -> None:
    hub.set_faults([{"action": "status", "status": status, "what": what, "message": "By order."}])
    with pytest.raises(WithdrawnError, match=rf"withdrawn .*at {hub.url} \(HTTP {status}\)"):
        pull("org/name", hub.url, include=[BIG])
    assert len(hub.requests(what=what)) == 1
    for way in ("lan", "peer:HOST:PORT", "mirror", "bundle"):
        assert way in WithdrawnError.default_hint
    told = [event for event in pull.events if isinstance(event, SourceWithdrew)]
    assert [(event.source, event.path) for event in told] == [
        (hub.url, BIG if what == "resolve" else "")
    ]


def noted(home: Path) -> dict[str, str]:
    with Archive(home) as archive:
        return archive.refs.about(RepoId.parse("org/name")).withdrawn


def test_since_when_is_kept_until_it_is_back(hub: HubSim, pull: Puller) -> None:
    pull("org/name", hub.url, include=[GIT])
    hub.set_faults([{"action": "status", "status": 451, "what": "info"}])
    with pytest.raises(WithdrawnError, match="known here since 20"):
        pull("org/name", hub.url)
    first = noted(pull.home)
    assert first.keys() == {hub.url}
    dt.datetime.fromisoformat(first[hub.url])
    with HubSim(hub.root, mode="thread") as mirror:
        pull("org/name", hub.url, mirror.url)  # the next source has it
    check_pulled(pull.home)
    assert noted(pull.home) == first
    hub.set_faults([])
    pull("org/name", hub.url)
    assert noted(pull.home) == {}


def test_a_file_that_is_withdrawn_is_noted(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "status", "status": 451, "what": "resolve", "file": BIG}])
    with pytest.raises(WithdrawnError, match="known here since 20"):
        pull("org/name", hub.url)
    assert pull.done == FILES.keys() - {BIG}
    assert noted(pull.home).keys() == {f"{hub.url} {BIG}"}


def test_nothing_is_noted_of_models_that_are_not_here(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "status", "status": 451, "what": "info"}])
    with pytest.raises(WithdrawnError):
        pull("org/name", hub.url)
    assert noted(pull.home) == {}


def test_for_people_and_programs(hub: HubSim, tmp_path: Path) -> None:
    outlast("pull", "org/name", "--from", hub.url, "--include", GIT, home=tmp_path).ok()
    hub.set_faults([{"action": "status", "status": 451, "what": "info", "message": "By order."}])
    call = outlast("pull", "org/name", "--from", hub.url, home=tmp_path)
    assert call.code == 3
    assert "By order." in call.failed("withdrawn")
    shown = outlast("show", "org/name", home=tmp_path).ok().out
    assert re.search(
        rf"^withdrawn at {hub.url} on 20\S+ or earlier \(.*By order\.\)$", shown, re.MULTILINE
    )


@pytest.mark.parametrize("archived", [False, True])
def test_a_mirror_passes_it_on(hub: HubSim, tmp_path: Path, archived: bool) -> None:
    """What is archived is served all the same; the notes of the archive are not shown."""
    home = tmp_path / "archive"
    if archived:
        outlast("pull", "org/name", "--from", hub.url, home=tmp_path).ok()
    hub.set_faults([{"action": "status", "status": 451, "what": "info", "message": "By order."}])
    with Node(home, "--upstream", hub.url, "--ttl", "0") as node:
        reply = once(node.url, "/api/models/org/name/revision/main")
        if archived:
            assert reply.status == 200
            assert "withdrawn" not in json.dumps(json.loads(reply.body))
        else:
            assert reply.status == 451
            assert "By order." in reply.headers["x-error-message"]
            assert "withdrawn" in reply.headers["x-error-message"]
            (told,) = run_hub(HUB_CLIENTS[-1], node.url, tmp_path, [CALL])
            assert told["status"] == 451
            assert "By order." in told["message"]


def test_a_file_through_a_mirror(hub: HubSim, tmp_path: Path) -> None:
    hub.set_faults([{"action": "status", "status": 451, "what": "resolve", "message": "No."}])
    with Node(tmp_path / "archive", "--upstream", hub.url) as node:
        reply = once(node.url, f"/org/name/resolve/main/{BIG}")
        assert reply.status == 451
        assert "withdrawn" in reply.headers["x-error-message"]


def test_two_mirrors_in_a_row(hub: HubSim, pull: Puller, tmp_path: Path) -> None:
    """The last of them says what the hub said."""
    hub.set_faults([{"action": "status", "status": 451, "what": "info", "message": "By order."}])
    with (
        Node(tmp_path / "one", "--upstream", hub.url) as one,
        pytest.raises(WithdrawnError, match=r"By order\."),
    ):
        pull("org/name", one.url)


def test_only_that_file_of_that_source(
    hub: HubSim, pull: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.set_faults([{"action": "status", "status": 451, "what": "resolve", "file": BIG}])
    give = HubSource.open

    def asked() -> int:
        return len([one for one in file_requests(hub) if one.file == BIG])

    def give_later(source: HubSource, *what: Any) -> RangeReader:
        if source.name == other.url:
            until(asked, "the first hub is asked")
        return give(source, *what)

    monkeypatch.setattr(HubSource, "open", give_later)
    with HubSim(hub.root, mode="thread") as other:
        result = pull("org/name", hub.url, other.url)
        assert asked() == 1
        assert result.fetched[other.url] >= len(FILES[BIG])
    check_pulled(pull.home)


def test_one_clients_limit_is_not_every_ones(root: Path, tmp_path: Path) -> None:
    """A file for which the hub answers 429 does not make the hub dark for another model."""
    HubRepo(root, "org/other").commit({"a.txt": b"other"})
    with HubSim(root, mode="thread") as hub:
        hub.set_faults([{"action": "status", "status": 429, "what": "resolve", "file": BIG}])
        tuned = {"outlast.fetch.tuning.TUNING.first_wait": 0.01}
        with Node(tmp_path / "archive", "--upstream", hub.url, tuned=tuned) as node:
            assert once(node.url, f"/org/name/resolve/main/{BIG}").status == 503
            assert once(node.url, "/org/other/resolve/main/a.txt").body == b"other"


def test_errors_of_other_kinds_are_what_they_were() -> None:
    assert not issubclass(WithdrawnError, AccessDeniedError | TransientError | UnreachableError)
