"""No hub answers, nothing is configured, and a neighbour has it."""

from collections.abc import Iterator

import pytest

from tests.campaign import in_torture
from tests.net import Net, needs_lab
from tests.net.node import MODEL, NO_HUB, Node, documents, make_model, of_type

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.mark.parametrize(
    "way", ["refuses", "is silent", pytest.param("has no address", marks=in_torture)]
)
def test_the_hub_is_dark(net: Net, way: str) -> None:
    lan = net.lan()
    hubs = {
        "refuses": NO_HUB,
        "is silent": "http://10.1.0.99",
        "has no address": "https://hub.invalid",
    }
    model = make_model(net.folder / "model", 20)
    seed, node = Node(lan.host("seed")), Node(lan.host("node"), hub=hubs[way])
    seed.add(model)
    seed.serve()
    plain = node.start("pull", MODEL)
    assert plain.wait() == 5, plain.tail()
    assert "--from lan" in plain.err.read_text()
    pulled = of_type(node.pull("--from", "lan", "--from", hubs[way]).ok(), "pulled")[0]
    assert pulled["unconfirmed"]
    node.check(model)
    assert sum(pulled["fetched"].values()) == model.size
    assert pulled["fetched"].get(hubs[way], 0) == 0
    # It is a model of this archive like any other: who serves it has it for others.
    seed.stop()
    node.serve()
    third = Node(lan.host("third"))
    third.pull().ok()
    third.check(model)


def test_no_node_has_it(net: Net) -> None:
    lan = net.lan()
    seed, node = Node(lan.host("seed")), Node(lan.host("node"))
    seed.add(make_model(net.folder / "model", 1, name="org/something-else"))
    seed.serve()
    pull = node.pull()
    assert pull.wait() not in {0, 1}
    assert "Traceback" not in pull.err.read_text()
    assert not of_type(pull, "pulled")


@pytest.mark.parametrize("family", [4, 6])
def test_one_family_of_addresses(net: Net, family: int) -> None:
    lan = net.lan()
    model = make_model(net.folder / "model", 20)
    seed, node = Node(lan.host("seed")), Node(lan.host("node"))
    for host in (seed.host, node.host):
        if family == 6:
            host.namespace.ip(f"address delete {host.address}/24 dev eth0")
        else:
            host.namespace.setting("ipv6/conf/all/disable_ipv6", "1")
    seed.add(model)
    seed.serve()
    node.pull().ok()
    node.check(model)


def test_search_finds_it_with_no_hub(net: Net) -> None:
    lan = net.lan()
    model = make_model(net.folder / "model", 1)
    seed, node = Node(lan.host("seed")), Node(lan.host("node"))
    seed.add(model)
    seed.serve()
    found = documents(node.start("search", "crowded").ok())
    assert any(hit.get("repo") == MODEL for hit in found), found


def test_another_site_by_static_peer(net: Net) -> None:
    """Two sites, a line with delay, jitter and loss between them, and no multicast across."""
    here, there = net.lan(), net.lan()
    net.relay(here, there, delay=0.02, jitter=0.005, loss=0.002)
    model = make_model(net.folder / "model", 20)
    seed = Node(there.host("seed"))
    seed.add(model)
    seed.serve()
    settings = f'[swarm]\npeers = ["{seed.host.address}:8091"]\n'
    node = Node(here.host("node"), settings=settings)
    node.pull().ok(120)
    node.check(model)
    stranger = Node(here.host("stranger"))
    assert stranger.pull("--no-swarm").wait() != 0
