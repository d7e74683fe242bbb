"""On a LAN, nodes that say they fetch the weights, or have them, and give nothing: a pull asks its
hub, and says whom it passed over. None of the claims ends while it runs.
"""

import contextlib
from collections.abc import Iterator

import pytest

from tests.net import Host, Net, needs_lab
from tests.net.node import Model, Node, documents, make_model, of_type
from tests.net.program import Program, until
from tests.swarm.claimant import Claimant, Does
from tests.swarm.test_net_crowd import WEIGHTS, hub_on

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@contextlib.contextmanager
def claims(host: Host, model: Model, does: Does, *, crowd: int, fresh: bool) -> Iterator[Claimant]:
    """A node on `host` that claims the weights."""
    with contextlib.ExitStack() as stack:
        with host.inside():
            claimant = Claimant(
                model.files[WEIGHTS], does, host.address, 8091, crowd=crowd, fresh=fresh
            )
            claimant.broadcast()
            stack.enter_context(claimant)
        yield claimant


def passed_over(pull: Program) -> set[tuple[str, str]]:
    return {(one["peer"], one["claim"]) for one in of_type(pull, "peer-passed-over")}


@pytest.mark.parametrize(
    ("does", "crowd", "fresh"),
    [
        pytest.param(Does(answers=False), 1, False, id="a-silent-holder"),
        pytest.param(Does(), 1, False, id="a-lying-haver"),
        pytest.param(Does(lists="plain", gives="drip"), 1, False, id="a-holder-that-drips"),
        pytest.param(Does(says="fetches", shows="wrong"), 1, False, id="invented-progress"),
        pytest.param(Does(says="fetches"), 100, False, id="a-hundred-invented-fetchers"),
        pytest.param(Does(), 20, True, id="new-invented-holders-all-the-time"),
    ],
)
def test_the_hub_is_asked(net: Net, does: Does, crowd: int, fresh: bool) -> None:
    lan = net.lan()
    model = make_model(net.folder / "model", 6)
    node, host, origin = Node(lan.host("node")), lan.host("claimant"), lan.host("origin")
    hub = hub_on(origin, model)
    try:
        node.hub = hub.url
        with claims(host, model, does, crowd=crowd, fresh=fresh):
            pull = node.pull("--linger", "0").ok()
            assert (host.address, does.says) in passed_over(pull), documents(pull)
        node.check(model)
    finally:
        hub.stop()


@pytest.mark.parametrize("way", ["one way", "both ways"])
def test_a_fetcher_that_is_heard_and_cannot_be_reached(net: Net, way: str) -> None:
    """Its datagrams arrive, and its firewall lets no connection in, or none out as well. Its hub is
    slow, and this node, which hears of it before it knows what it wants, is done long before.
    """
    lan = net.lan()
    model = make_model(net.folder / "model", 6)
    slow, node = Node(lan.host("slow")), Node(lan.host("node"))
    hub, slow_hub = hub_on(lan.host("origin"), model), hub_on(lan.host("slow-origin"), model)
    with lan.gateway.inside():
        slow_hub.set_faults([{"action": "slow", "rate": 20_000, "file": WEIGHTS}])
        hub.set_faults([{"action": "delay", "seconds": 2, "what": "info"}])
    there, here = slow.host, node.host
    there.namespace.setting("ipv6/conf/eth0/disable_ipv6", "1")
    what = {
        "one way": f"rule add to {here.address} ipproto tcp sport 8091 blackhole",
        "both ways": f"route add blackhole {here.address}",
    }
    there.namespace.ip(what[way])
    try:
        slow.hub, node.hub = slow_hub.url, hub.url
        pulls = slow.pull()

        def fetches() -> bool:
            status = slow.status(pulls)
            rows = status.transfers if status else ()
            return any(row.fetcher for row in rows if row.path == WEIGHTS)

        until(fetches, "it fetches the weights")
        pull = node.pull("--linger", "0").ok()
        assert not pulls.ended
        assert {claim for _, claim in passed_over(pull)} == {"fetches"}, documents(pull)
        node.check(model)
        pulls.kill()
    finally:
        hub.stop()
        slow_hub.stop()
