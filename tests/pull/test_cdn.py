"""Redirects to a CDN with signed URLs: followed, kept while they hold, resolved anew after that."""

from pathlib import Path

import pytest

from outlast.core.errors import AccessDeniedError, UnreachableError
from outlast.core.events import Event, Progress
from tests.hubsim import HubRepo, HubSim
from tests.pull.kit import (
    BIG,
    FILES,
    MIB,
    TOTAL,
    Puller,
    check_pulled,
    file_requests,
    has_blob,
    sent,
)

LARGE = bytes(range(256)) * 4096 * 40


@pytest.mark.parametrize("resolve_cache", [False, True])
def test_redirects_are_followed(root: Path, pull: Puller, resolve_cache: bool) -> None:
    with HubSim(root, mode="thread", cdn=True, resolve_cache=resolve_cache) as hub:
        pull("org/name", hub.url)
        check_pulled(pull.home)
        assert sum(entry.sent for entry in hub.requests(listener="cdn")) == sum(
            len(data) for path, data in FILES.items() if path.endswith((".bin", ".safetensors"))
        )


def test_a_signed_url_is_used_while_it_holds(root: Path, pull: Puller) -> None:
    HubRepo(root, "org/large").commit({"large.bin": LARGE})
    pull.connections = 2
    with HubSim(root, mode="thread", cdn=True) as hub:
        pull("org/large", hub.url)
        assert len(hub.requests(listener="cdn")) == len(LARGE) // (4 * MIB)
        assert len(hub.requests(what="resolve")) <= 2
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")


def test_a_signed_url_that_expires_is_resolved_anew(root: Path, pull: Puller) -> None:
    HubRepo(root, "org/large").commit({"large.bin": LARGE})
    pull.connections = 2
    pieces = 0

    def age(event: Event) -> None:
        nonlocal pieces
        if isinstance(event, Progress):
            pieces += 1
            if pieces in {9, 21}:
                hub.advance_clock(7200)

    pull.listener = age
    with HubSim(root, mode="thread", cdn=True, cdn_ttl=3600) as hub:
        pull("org/large", hub.url)
        answers = [entry.status for entry in hub.requests(listener="cdn")]
        assert answers.count(403) >= 2
        assert len(hub.requests(what="resolve")) >= 3
        assert sent(hub) == len(LARGE)
    check_pulled(pull.home, {"large.bin": LARGE}, "org/large")
    assert pull.banned == set()


@pytest.mark.parametrize("file", [BIG, "small.bin"])
def test_a_url_that_has_already_expired_is_asked_for_again(
    hub: HubSim, pull: Puller, file: str
) -> None:
    fault = {"action": "redirect_cdn", "expires_in": -5, "file": file, "count": 2}
    hub.set_faults([fault])
    pull("org/name", hub.url)
    check_pulled(pull.home)
    assert 403 in {entry.status for entry in hub.requests(listener="cdn")}


def test_a_cdn_that_never_lets_in(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "redirect_cdn", "expires_in": -5, "file": BIG}])
    with pytest.raises((UnreachableError, AccessDeniedError)):
        pull("org/name", hub.url)
    assert not has_blob(pull.home, FILES[BIG])
    assert len(file_requests(hub)) < 60


def test_a_cdn_that_fails_for_a_while(root: Path, pull: Puller) -> None:
    with HubSim(root, mode="thread", cdn=True) as hub:
        faults = [("status", {"status": 503}), ("reset", {"at": 9}), ("truncate", {"at": 9})]
        hub.set_faults([{"action": a, "on": "cdn", "count": 2, **more} for a, more in faults])
        pull.tries = 9
        pull("org/name", hub.url)
    check_pulled(pull.home)


def test_a_cdn_that_lies_is_its_hubs_fault(root: Path, pull: Puller) -> None:
    with (
        HubSim(root, mode="thread", cdn=True) as liar,
        HubSim(root, mode="thread", cdn=True) as honest,
    ):
        liar.set_faults(
            [{"action": "flip", "on": "cdn", "file": BIG, "at": MIB // 2, "every": MIB}]
        )
        honest.set_faults([{"action": "hold", "file": BIG}])

        def release(event: Event) -> None:
            if isinstance(event, Progress) and (event.path, event.source) == (BIG, liar.url):
                honest.set_faults([])

        pull.listener = release
        pull("org/name", liar.url, honest.url)
        assert pull.banned == {liar.url}
    check_pulled(pull.home)


def test_resuming_through_a_cdn_costs_little(root: Path, pull: Puller) -> None:
    with HubSim(root, mode="thread", cdn=True) as hub:
        hub.set_faults([{"action": "status", "status": 503, "on": "cdn", "file": BIG, "skip": 1}])
        with pytest.raises(UnreachableError):
            pull("org/name", hub.url)
        hub.set_faults([])
        pull("org/name", hub.url)
        assert sent(hub) <= TOTAL + MIB  # small files that were under way come again
    check_pulled(pull.home)
