"""Servers that take only so many requests at once: the limit is found, and nothing is lost to it.

No test looks at the time: how quick it is, `tests/fetch/test_concurrency.py` says on a simulated
clock.
"""

from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import AccessDeniedError, UnreachableError
from outlast.core.events import Event, Progress, SourceWaiting
from tests.campaign import crossed
from tests.hubsim import HubRepo, HubSim
from tests.hubsim.log import LogEntry
from tests.noise import noise
from tests.pull.kit import FILES, MIB, Puller, check_pulled, file_requests

LARGE = noise(11, 40 * MIB + 9)
MANY = {f"{number}.bin": noise(number, 6 * MIB) for number in range(4)}
REFUSALS = [403, 429, 503]
UNLIMITED = 100


@pytest.fixture
def large(root: Path, hub: HubSim) -> HubSim:
    HubRepo(root, "org/large").commit({"large.bin": LARGE})
    return hub


@pytest.fixture
def many(root: Path, hub: HubSim) -> HubSim:
    HubRepo(root, "org/many").commit(MANY)
    return hub


def limit(most: int, status: int = 429, over: str = "file", **more: Any) -> list[Any]:
    rule = {"action": "limit", "most": most, "status": status, "over": over, "rate": 24 * MIB}
    return [rule | more]


def refused(hub: HubSim, file: str) -> list[LogEntry]:
    return [one for one in file_requests(hub) if one.file == file and one.status in REFUSALS]


@pytest.mark.parametrize(("most", "status"), crossed([1, 2, 4, UNLIMITED], [], REFUSALS))
def test_the_limit_of_a_file_is_found(large: HubSim, pull: Puller, most: int, status: int) -> None:
    """A refusal beside a request that is served is neither a refused model nor a failure."""
    large.set_faults(limit(most, status))
    pull.connections, pull.tries = 8, 2
    pull("org/large", large.url)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    assert len(refused(large, "large.bin")) <= 3
    served = [one for one in file_requests(large) if one.status in {200, 206}]
    assert max(one.beside for one in served) >= min(most, 4) - 1
    assert not [event for event in pull.events if isinstance(event, SourceWaiting)]


@pytest.mark.parametrize(("most", "status"), crossed([1, 2], [], REFUSALS))
def test_a_limit_over_all_files(many: HubSim, pull: Puller, most: int, status: int) -> None:
    many.set_faults(limit(most, status, "all"))
    pull.connections, pull.tries = 8, 2
    pull("org/many", many.url)
    check_pulled(pull.home, MANY, "org/many")
    assert max(len(refused(many, file)) for file in MANY) <= 3


@pytest.mark.parametrize(("before", "after"), [(UNLIMITED, 1), (4, 1), (1, 4)])
def test_a_limit_that_changes_midway(large: HubSim, pull: Puller, before: int, after: int) -> None:
    pieces = 0

    def change(event: Event) -> None:
        nonlocal pieces
        if isinstance(event, Progress):
            pieces += 1
            if pieces == 14:
                large.set_faults(limit(after))

    large.set_faults(limit(before))
    pull.connections, pull.tries, pull.listener = 8, 2, change
    pull("org/large", large.url)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    assert len(refused(large, "large.bin")) <= 3


def test_what_was_learned_from_one_file_holds_for_the_next(many: HubSim, pull: Puller) -> None:
    """Two refusals of four files: one over the limit, and one to see whether it has risen."""
    many.set_faults(limit(1, 403))
    pull.connections = 2
    pull("org/many", many.url)
    check_pulled(pull.home, MANY, "org/many")
    assert sum(len(refused(many, file)) for file in MANY) <= 4


def test_the_wait_that_a_limit_asks_for_is_kept(large: HubSim, pull: Puller) -> None:
    large.set_faults(limit(1, retry_after=1))
    pull.connections = 2
    pull("org/large", large.url)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    waits = [event.seconds for event in pull.events if isinstance(event, SourceWaiting)]
    assert waits
    assert min(waits) >= 1


@pytest.mark.parametrize("status", [403, 503])
def test_one_file_that_always_fails_keeps_no_other_back(
    many: HubSim, pull: Puller, status: int
) -> None:
    many.set_faults(
        [
            {"action": "status", "status": status, "file": "1.bin", "what": "resolve"},
            {"action": "slow", "rate": 24 * MIB, "what": "resolve"},
        ]
    )
    pull.connections = 4
    with pytest.raises((AccessDeniedError, UnreachableError), match=r"refuses|HTTP 503"):
        pull("org/many", many.url)
    assert pull.done == MANY.keys() - {"1.bin"}
    if status == 403:
        assert len(refused(many, "1.bin")) <= 3


@pytest.mark.parametrize(("code", "most"), [("GatedRepo", 1), (None, 3)])
def test_a_refusal_of_everything_is_soon_believed(
    hub: HubSim, pull: Puller, code: str | None, most: int
) -> None:
    """At once where the hub names the reason; else the first file's refusal says nothing yet of
    the others.
    """
    why = {"code": code} if code else {}
    hub.set_faults([{"action": "status", "status": 403, "what": "resolve", **why}])
    pull.connections = 8
    with pytest.raises(AccessDeniedError):
        pull("org/name", hub.url)
    assert len(file_requests(hub)) <= most


@pytest.mark.parametrize("connections", [1, 2, 3])
def test_the_setting_is_obeyed_to_the_letter(many: HubSim, pull: Puller, connections: int) -> None:
    many.set_faults([{"action": "slow", "rate": 32 * MIB, "what": "resolve"}])
    pull.connections = connections
    pull("org/many", many.url)
    check_pulled(pull.home, MANY, "org/many")
    assert max(one.beside for one in many.requests()) == connections - 1


@pytest.mark.parametrize("connections", [1, 2])
def test_over_all_sources_together(root: Path, many: HubSim, connections: int) -> None:
    """One hub under two names: what it sees is all that there is."""
    other = many.url.replace("127.0.0.1", "localhost")
    many.set_faults([{"action": "slow", "rate": 32 * MIB, "what": "resolve"}])
    pull = Puller(root.parent / "archive", connections=connections)
    pull("org/many", many.url, other)
    check_pulled(pull.home, MANY, "org/many")
    assert max(one.beside for one in many.requests()) == connections - 1


def test_small_files_too(root: Path, hub: HubSim, pull: Puller) -> None:
    files = {f"{number}.txt": b"text %d\n" % number for number in range(30)}
    HubRepo(root, "org/small").commit(files)
    hub.set_faults(limit(2, 429, "all", rate=1 << 20))
    pull.connections, pull.tries = 8, 2
    pull("org/small", hub.url)
    check_pulled(pull.home, files, "org/small")
    assert max(len(refused(hub, file)) for file in files) <= 3


def test_all_of_a_model_comes_from_a_server_of_one_request(hub: HubSim, pull: Puller) -> None:
    hub.set_faults(limit(1, 403, "all"))
    pull.connections, pull.tries = 8, 2
    pull("org/name", hub.url)
    check_pulled(pull.home, FILES)
