"""Several sources for one model: they share the work, and the honest ones finish it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.core.errors import (
    EntryNotFoundError,
    IntegrityError,
    NotArchivedError,
    RepoNotFoundError,
    UnreachableError,
)
from outlast.core.events import Event, Progress, SourceBanned
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.pull.kit import (
    BIG,
    FILES,
    MIB,
    TOTAL,
    Puller,
    check_archive,
    check_pulled,
    file_requests,
    has_blob,
    sent,
)

DEAD = "http://127.0.0.1:9"
LARGE = noise(3, 24 * MIB + 5)


@pytest.fixture
def two(root: Path) -> Iterator[tuple[HubSim, HubSim]]:
    HubRepo(root, "org/large").commit({"large.bin": LARGE})
    with HubSim(root, mode="thread") as one, HubSim(root, mode="thread") as other:
        yield one, other


def test_two_honest_sources_share_the_work(two: tuple[HubSim, HubSim], pull: Puller) -> None:
    one, other = two
    for hub in two:
        hub.set_faults([{"action": "slow", "rate": 6 * MIB, "what": "resolve"}])
    result = pull("org/large", one.url, other.url)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    assert min(result.fetched.values()) >= 4 * MIB
    assert result.fetched.keys() == {one.url, other.url}
    hedged = 4 * MIB
    assert sent(one) + sent(other) <= len(LARGE) + hedged
    assert pull.banned == set()


def test_in_proportion_to_their_speed(two: tuple[HubSim, HubSim], pull: Puller) -> None:
    slow, fast = two
    slow.set_faults([{"action": "slow", "rate": MIB, "what": "resolve"}])
    fast.set_faults([{"action": "slow", "rate": 8 * MIB, "what": "resolve"}])
    result = pull("org/large", slow.url, fast.url)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    assert result.fetched[fast.url] > 2 * result.fetched[slow.url]
    assert sent(slow) > 0


@pytest.mark.parametrize("first", ["liar", "honest"])
@pytest.mark.parametrize(
    "lie",
    [
        {"action": "changed"},
        {"action": "changed", "etag": "other"},
        {"action": "changed", "skip": 1},
        {"action": "length", "delta": 1},
        {"action": "changed", "size_delta": 9},
    ],
    ids=lambda lie: " ".join(map(str, lie.values())),
)
def test_a_liar_is_named_and_the_other_finishes(
    two: tuple[HubSim, HubSim], pull: Puller, lie: dict[str, Any], first: str
) -> None:
    liar, honest = two
    liar.set_faults([{**lie, "what": "resolve"}])
    honest.set_faults([{"action": "slow", "rate": 16 * MIB, "what": "resolve"}])
    urls = [liar.url, honest.url] if first == "liar" else [honest.url, liar.url]
    pull("org/large", *urls)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    ((_, hits),) = liar.fault_hits()
    assert hits > 0
    assert pull.banned == {liar.url}


@pytest.mark.parametrize("first", ["liar", "honest"])
@pytest.mark.parametrize(
    "lie",
    [{}, {"at": 5}, {"at": len(LARGE) - 1}],
    ids=lambda lie: " ".join(map(str, lie.values())) or "middle",
)
def test_one_wrong_byte_is_enough(
    two: tuple[HubSim, HubSim], pull: Puller, lie: dict[str, Any], first: str
) -> None:
    """The other source fails until the liar is found out: the wrong byte is the liar's."""
    liar, honest = two
    liar.set_faults([{"action": "flip", "what": "resolve", **lie}])
    busy = {"action": "status", "status": 503, "retry_after": 0, "what": "resolve"}
    honest.set_faults([busy])

    def recover(event: Event) -> None:
        if isinstance(event, SourceBanned):
            honest.set_faults([])

    pull.listener, pull.tries = recover, 1000
    urls = [liar.url, honest.url] if first == "liar" else [honest.url, liar.url]
    pull("org/large", *urls)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    assert pull.banned == {liar.url}


def test_a_liar_with_the_largest_share_is_traced(two: tuple[HubSim, HubSim], pull: Puller) -> None:
    """It is put on probation and sends the rest too: the hash of the whole shows that it lied."""
    liar, honest = two
    liar.set_faults([{"action": "changed", "file": "large.bin"}])
    honest.set_faults([{"action": "slow", "rate": 2 * MIB, "what": "resolve"}])
    result = pull("org/large", honest.url, liar.url)
    assert pull.banned == {liar.url}
    assert result.fetched[liar.url] > len(LARGE) // 2
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")


def test_a_liar_with_a_small_share_is_traced(two: tuple[HubSim, HubSim], pull: Puller) -> None:
    """The honest one is put on probation and sends the rest too: its bytes match, so the other
    lied.
    """
    liar, honest = two
    once = {"action": "changed", "file": "large.bin", "what": "resolve", "count": 1}
    liar.set_faults([once, {"action": "slow", "rate": MIB, "what": "resolve"}])
    result = pull("org/large", liar.url, honest.url)
    assert pull.banned == {liar.url}
    assert result.fetched[honest.url] > len(LARGE) // 2
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")


def test_a_liar_about_a_small_file(two: tuple[HubSim, HubSim], pull: Puller) -> None:
    liar, honest = two
    liar.set_faults([{"action": "flip", "what": "resolve", "file": "*.json"}])
    busy = {"action": "status", "status": 503, "retry_after": 0, "what": "resolve"}
    honest.set_faults([{**busy, "file": "*.json"}])

    def recover(event: Event) -> None:
        if isinstance(event, SourceBanned):
            honest.set_faults([])

    pull.listener, pull.tries = recover, 1000
    pull("org/name", honest.url, liar.url)
    check_pulled(pull.home)
    assert pull.banned == {liar.url}


def test_a_banned_source_is_asked_for_nothing_more(
    two: tuple[HubSim, HubSim], pull: Puller
) -> None:
    liar, honest = two
    liar.set_faults([{"action": "flip", "what": "resolve"}])
    pull.connections = 2
    files = {f"{number}.txt": b"text %d\n" % number for number in range(200)}
    HubRepo(liar.root, "org/many").commit(files)
    pull("org/many", honest.url, liar.url)
    check_pulled(pull.home, files, "org/many")
    assert len(file_requests(liar)) <= 2  # its two connections


def test_both_lie(two: tuple[HubSim, HubSim], pull: Puller) -> None:
    for hub in two:
        hub.set_faults([{"action": "flip", "file": BIG}, {"action": "flip", "file": "small.bin"}])
    with pytest.raises(IntegrityError):
        pull("org/name", *(hub.url for hub in two))
    assert pull.banned == {hub.url for hub in two}
    assert not pull.done & {BIG, "small.bin"}
    for path in (BIG, "small.bin"):
        assert not has_blob(pull.home, FILES[path])
    check_archive(pull.home)
    for hub in two:
        hub.set_faults([])
    pull("org/name", two[0].url)
    check_pulled(pull.home)


def test_one_that_stalls_for_ever_is_not_waited_for(
    two: tuple[HubSim, HubSim], pull: Puller
) -> None:
    stalling, honest = two
    stalling.set_faults([{"action": "stall", "what": "resolve", "at": MIB + 9}])
    pull.read_timeout = 600
    pull("org/large", stalling.url, honest.url)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    assert sent(honest) > len(LARGE) - 12 * MIB


@pytest.mark.parametrize("file", [BIG, "config.json"])
def test_one_lacks_a_file(two: tuple[HubSim, HubSim], pull: Puller, file: str) -> None:
    lacking, whole = two
    missing = {"action": "status", "status": 404, "code": "EntryNotFound", "what": "resolve"}
    lacking.set_faults([{**missing, "file": file}])
    pull("org/name", lacking.url, whole.url)
    check_pulled(pull.home)
    assert pull.banned == set()


def test_no_source_has_a_file(two: tuple[HubSim, HubSim], pull: Puller) -> None:
    missing = {"action": "status", "status": 404, "code": "EntryNotFound", "what": "resolve"}
    for hub in two:
        hub.set_faults([{**missing, "file": "config.json"}])
    with pytest.raises((NotArchivedError, EntryNotFoundError)):
        pull("org/name", *(hub.url for hub in two))
    assert pull.done == FILES.keys() - {"config.json"}
    check_archive(pull.home)


@pytest.mark.parametrize("lack", ["repo", "revision"])
@pytest.mark.parametrize("first", [True, False])
def test_one_does_not_know_the_model(hub: HubSim, pull: Puller, lack: str, first: bool) -> None:
    root = hub.root
    other = root.with_name("other")
    HubRepo(other, "org/another" if lack == "repo" else "org/name").commit({"x.txt": b"x"})
    sha = HubRepo(root, "org/name").head.sha
    with HubSim(other, mode="thread", token="hf_right") as empty:
        pull.tokens = {empty.url: "hf_right"}
        urls = [empty.url, hub.url] if first else [hub.url, empty.url]
        pull(f"org/name@{sha}", *urls)
    check_pulled(pull.home, FILES, f"org/name@{sha}")


def test_no_source_knows_the_model(pull: Puller, hub: HubSim) -> None:
    pull.tokens = {hub.url: "hf_right"}
    with pytest.raises(RepoNotFoundError):
        pull("org/absent", hub.url, DEAD)


@pytest.mark.parametrize("urls", ["dead first", "dead last"])
def test_one_is_down(hub: HubSim, pull: Puller, urls: str) -> None:
    pull("org/name", *([DEAD, hub.url] if urls == "dead first" else [hub.url, DEAD]))
    check_pulled(pull.home)
    assert sent(hub) == TOTAL


def test_all_are_down(pull: Puller) -> None:
    with pytest.raises(UnreachableError, match="connection refused"):
        pull("org/name", DEAD, DEAD)


def test_one_dies_on_the_way(root: Path, pull: Puller) -> None:
    HubRepo(root, "org/large").commit({"large.bin": LARGE})
    dying = HubSim(root, mode="process")
    dying.start()
    slow = {"action": "slow", "rate": 8 * MIB, "what": "resolve"}
    pieces = 0

    def kill(event: Event) -> None:
        nonlocal pieces
        if isinstance(event, Progress) and event.source == dying.url:
            pieces += 1
            if pieces == 3:
                dying.kill()

    pull.listener = kill
    with HubSim(root, mode="thread") as living:
        living.set_faults([slow])
        dying.set_faults([slow])
        result = pull("org/large", dying.url, living.url)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    assert result.fetched[dying.url] < 16 * MIB
    assert pull.banned == set()


def test_the_same_source_twice_is_harmless(hub: HubSim, pull: Puller) -> None:
    pull("org/name", hub.url, hub.url)
    check_pulled(pull.home)
    assert sent(hub) == TOTAL
