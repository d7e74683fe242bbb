"""Nodes that say they fetch a file, or have it, and send nothing: the pull does not wait for them
for long, and says whom it passed over.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from outlast.core.events import PeerPassedOver
from outlast.node.node import Node
from outlast.p2p.tuning import TUNING, Tuning
from outlast.swarm.lan.datagrams import want_key
from outlast.swarm.schedule import Rates
from outlast.swarm.settings import SwarmSettings
from tests.noise import noise
from tests.pull.kit import check_archive
from tests.swarm.claimant import Claimant, Does
from tests.swarm.sites import Origin, Running, Site, site, until

MIB = 1 << 20
LARGE = noise(11, 9 * MIB + 7)
SMALL = noise(12, MIB + 3)
QUICK = Tuning(
    patience=1.0,
    courtesy=0.3,
    proof_after=0.3,
    proof_again=0.2,
    proof_holds=0.5,
    proof_holds_longest=1.0,
    base_patience=1.0,
    first_look=0.5,
)
FETCHES = Does(says="fetches")


@pytest.fixture(autouse=True)
def _elects(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a LAN: the sites of these tests hear no datagrams but the claimant's."""
    monkeypatch.setattr(Node, "elects", property(lambda _: True))


@contextmanager
def beside(home: Path, claimant: Claimant) -> Iterator[Site]:
    """A node that hears the claims."""
    with site(home, (claimant.address, claimant.port), read_timeout=60.0) as node:

        def hear(want: object) -> None:
            node.node.election.hear(want, time.monotonic())  # type: ignore[arg-type]
            node.node.speak()

        claimant.tell(hear)
        with claimant:
            if claimant.does.answers:
                until(node.node.contacts.neighbours, "it knows the claimant")
            until(
                lambda: node.node.election.claims(want_key(claimant.blob), time.monotonic()),
                "it heard the claim",
            )
            yield node


def passed_over(node: Site) -> set[tuple[str, str]]:
    """Who was passed over, and what each had claimed."""
    events = [event for event in node.events if isinstance(event, PeerPassedOver)]
    return {(event.peer, event.claim) for event in events}


def check(node: Site, data: bytes) -> None:
    check_archive(node.home)
    assert node.files() == {"file": data}


@pytest.mark.parametrize("data", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize(
    ("does", "claim"),
    [
        pytest.param(Does(), "has", id="a-haver-whose-api-does-not-list-it"),
        pytest.param(Does(lists="plain"), "has", id="a-holder-that-sends-nothing"),
        pytest.param(Does(lists="plain", gives="drip"), "has", id="a-holder-that-drips"),
        pytest.param(Does(lists="capsule"), "has", id="a-capsule-that-does-not-come"),
        pytest.param(FETCHES, "fetches", id="a-fetcher-that-fetches-nothing"),
        pytest.param(
            Does(says="fetches", shows="wrong"), "fetches", id="a-fetcher-that-invents-progress"
        ),
        pytest.param(
            Does(says="fetches", lists="plain", gives="drip"), "fetches", id="a-fetcher-that-drips"
        ),
    ],
)
def test_it_comes_from_the_origin(tmp_path: Path, does: Does, claim: str, data: bytes) -> None:
    with beside(tmp_path / "b", Claimant(data, does)) as node:
        origin = Origin({"file": data})
        Running(lambda: node.pull("org/model", origin, tuning=QUICK)).result()
        check(node, data)
        assert origin.sent >= len(data)
        assert ("127.0.0.1", claim) in passed_over(node)


@pytest.mark.parametrize("says", ["has", "fetches"])
@pytest.mark.parametrize(("crowd", "fresh"), [(1, False), (100, False), (20, True)])
def test_nodes_that_no_node_can_ask(tmp_path: Path, says: str, crowd: int, fresh: bool) -> None:
    """However many they are: they count for no longer than one, and are forgotten."""
    does = Does(says=says, answers=False)
    with beside(tmp_path / "b", Claimant(LARGE, does, crowd=crowd, fresh=fresh)) as node:
        origin = Origin({"file": LARGE})
        Running(lambda: node.pull("org/model", origin, tuning=QUICK)).result()
        check(node, LARGE)
        assert origin.sent == len(LARGE)
        told = [event for event in node.events if isinstance(event, PeerPassedOver)]
        assert len(told) <= TUNING.most_told
        assert ("127.0.0.1", says) in passed_over(node)


def test_a_fetcher_that_gets_on_is_waited_for(tmp_path: Path) -> None:
    """Though nothing comes of it for long: the origin sends no more than what proves it. When it
    has gone, this node fetches.
    """
    claimant = Claimant(LARGE * 3, Does(says="fetches", shows="right"))
    with beside(tmp_path / "b", claimant) as node:
        origin = Origin({"file": claimant.data})
        claimant.began = time.monotonic()
        pulling = Running(lambda: node.pull("org/model", origin, tuning=QUICK))
        until(lambda: sum("arriving" in path for path in claimant.asked) >= 4, "it shows it often")
        asked = sum("arriving" in path for path in claimant.asked)
        assert 0 < origin.sent <= 4096 * (asked + 1)
        assert not passed_over(node)
        claimant.rest()
        pulling.result()
        check(node, claimant.data)


def test_a_fetcher_that_stops_showing_it_is_passed_over(tmp_path: Path) -> None:
    """It had proved itself, and says that it fetches for ever."""
    claimant = Claimant(LARGE, Does(says="fetches", shows="right"))
    with beside(tmp_path / "b", claimant) as node:
        origin = Origin({"file": LARGE})
        claimant.began = time.monotonic()
        Running(lambda: node.pull("org/model", origin, tuning=QUICK)).result()
        check(node, LARGE)
        assert any("arriving" in path for path in claimant.asked)
        assert ("127.0.0.1", "fetches") in passed_over(node)


@pytest.mark.parametrize("size", [MIB, 5 * MIB], ids=["small", "large"])
def test_files_that_wait_for_their_turn_are_no_reason(tmp_path: Path, size: int) -> None:
    """A neighbour sends one file after the other, each in its time: the origin sends nothing. The
    last one waits for twice the patience, which is long enough for a machine that is busy.
    """
    random = Random(13)
    files = {f"file-{number}": random.randbytes(size) for number in range(8 * MIB // size + 2)}
    slow = SwarmSettings(rates=Rates(lan_up=2 * MIB))
    tuning = replace(QUICK, patience=2.5)
    with site(tmp_path / "a", files=files, settings=slow) as a, site(tmp_path / "b", a) as b:
        origin = Origin(files)
        b.pull("org/model", origin, tuning=tuning)
        check_archive(b.home)
        assert b.files() == files
        assert origin.sent == 0
        assert not passed_over(b)


def test_a_holder_that_drips_gets_no_other_work(tmp_path: Path) -> None:
    """Of many files: its connections are taken, and none is free for the others."""
    files = {f"file-{number}": Random(number).randbytes(MIB) for number in range(12)}
    claimant = Claimant(files["file-0"], Does(lists="plain", gives="drip"))
    claimant.also = [data for name, data in files.items() if name != "file-0"]
    with beside(tmp_path / "b", claimant) as node:
        Running(lambda: node.pull("org/model", Origin(files), tuning=QUICK)).result()
        check_archive(node.home)
        assert node.files() == files
