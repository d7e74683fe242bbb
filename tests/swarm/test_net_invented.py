"""On a LAN, one machine invents nodes by the hundred, while one node is really there."""

from collections.abc import Iterator

import pytest

from tests.campaign import LONG, in_torture
from tests.net import Net, needs_lab
from tests.net.forger import Forger
from tests.net.node import MODEL, NO_HUB, Node, documents, make_model, of_type
from tests.net.program import until

pytestmark = [pytest.mark.net, needs_lab()]
FROM = ("--from", "lan", "--from", NO_HUB)


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.mark.parametrize("count", [256, pytest.param(10_000, marks=in_torture)])
def test_it_is_found(net: Net, count: int) -> None:
    """`locate` asks as `search` does, so campaigns alone wait for it too."""
    lan = net.lan()
    model = make_model(net.folder / "model", 1)
    seed, node = Node(lan.host("seed")), Node(lan.host("node"))
    seed.add(model)
    seed.serve()
    with Forger(lan.host("forger"), count) as forger:
        until(lambda: forger.sent > min(2 * count, 3000), "all nodes have heard of them")
        search, pull = node.start("search", "crowded"), node.pull()
        found = documents(search.ok())
        assert any(one.get("repo") == MODEL for one in found), found
        pull.ok()
        node.check(model)
        if LONG:
            located = of_type(node.start("locate", MODEL, *FROM).ok(), "holder")
            assert any(one["kind"] == "neighbour" for one in located), located


@pytest.mark.parametrize("count", [pytest.param(10_000, marks=in_torture)])
def test_a_pull_ends_where_none_has_it(net: Net, count: int) -> None:
    """There is always another one that has just been heard of."""
    lan = net.lan()
    node = Node(lan.host("node"))
    with Forger(lan.host("forger"), count, rate=1500) as forger:
        until(lambda: forger.sent > 3000, "they are heard of")
        pull = node.start("pull", MODEL, *FROM)
        assert pull.wait() == 5, pull.tail()
