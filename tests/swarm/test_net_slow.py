"""On a LAN, one node is slow by its own limit: it does not hold the others, and they help it."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.hubsim import HubSim
from tests.net import Host, Net, needs_lab
from tests.net.node import Model, Node, make_model
from tests.net.program import Program, until
from tests.swarm.test_net_crowd import WEIGHTS, hub_on, pull_at_once, sent

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000
ASKED_FOR = 16 << 20
LIMITED = ("--limit-rate", "200k")


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@contextlib.contextmanager
def hub_of(host: Host, model: Model) -> Iterator[HubSim]:
    hub = hub_on(host, model)
    try:
        yield hub
    finally:
        hub.stop()


def fetches(node: Node, pull: Program) -> bool:
    """Whether a pull says that it fetches the weights."""
    status = node.status(pull)
    return status is not None and any(
        one.fetcher for one in status.transfers if one.path == WEIGHTS
    )


def gives(node: Node, pull: Program) -> int:
    """Bytes of the weights that others than the hub gave to a pull."""
    status = node.status(pull)
    rows = [one for one in status.transfers if one.path == WEIGHTS] if status else []
    given = [share for row in rows for share in row.sources]
    return sum(share.received for share in given if not share.source.startswith("http"))


def test_who_is_limited_and_came_first_does_not_hold_the_others(net: Net) -> None:
    """It would take two minutes; the others take seconds."""
    lan = net.lan()
    model = make_model(net.folder / "model", 24)
    origin = lan.host("origin", up=4 * MB)
    slow, *others = (Node(lan.host(name)) for name in ("slow", "one", "two"))
    with hub_of(origin, model) as hub:
        for node in (slow, *others):
            node.hub = hub.url
        limited = slow.pull(*LIMITED)
        until(lambda: fetches(slow, limited), "it fetches the weights")
        pulls = [node.pull("--linger", "300") for node in others]
        until(lambda: all(node.has_all(model) for node in others), "the others have them")
        assert not limited.ended
        assert not slow.has(model, WEIGHTS)
        # One copy, and what the limited one had asked for: its machine takes that at once.
        assert sum(sent(origin, hub)) <= 1.05 * model.size + ASKED_FOR
        until(lambda: gives(slow, limited) > MB, "it gets them from the others")
        assert not fetches(slow, limited)
        for pull in (limited, *pulls):
            pull.kill()


def test_nor_where_all_come_at_once(net: Net) -> None:
    """Also where the hash of its id puts the limited one first: its limit is for hubs, and what the
    others bring is none of theirs.
    """
    lan = net.lan()
    model = make_model(net.folder / "model", 24)
    origin = lan.host("origin", up=4 * MB)
    slow = Node(lan.host("slow"), settings='limit-rate = "200k"\n')
    others = [Node(lan.host(name)) for name in ("one", "two")]
    with hub_of(origin, model) as hub:
        for node in (slow, *others):
            node.hub = hub.url
        pulls = pull_at_once(lan.host("waits"), [slow, *others], model, "--linger", "300")
        until(lambda: all(node.has_all(model) for node in others), "the others have them")
        assert sum(sent(origin, hub)) <= 1.05 * model.size
        for pull in pulls.values():
            pull.kill()
