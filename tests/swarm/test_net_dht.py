"""A distributed hash table of our own nodes, closed to the world: announce, and find."""

from collections.abc import Iterator

import pytest

from tests.net import Net, needs_lab
from tests.net.node import Node, make_model
from tests.net.program import until

pytestmark = [pytest.mark.net, needs_lab()]
_NODES = 12
_PORT = 6881


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


def test_a_closed_dht_of_twelve(net: Net) -> None:
    """On a network that carries no multicast, each knows but the first as its way in. What one of
    them announces, another finds by a bare link.
    """
    lan = net.lan()
    hosts = [lan.host(f"node{number:02}") for number in range(1, _NODES + 1)]
    for host in hosts:
        lan.mute(host)
    router = f"{hosts[0].address}:{_PORT}"
    settings = f'[swarm]\ndht = true\ndht-port = {_PORT}\ndht-routers = ["{router}"]\n'
    nodes = [Node(host, settings=settings) for host in hosts]
    model = make_model(net.folder / "model", 4)
    nodes[7].add(model)
    said = nodes[7].run("share", model.name, "--out", net.folder / "torrents", "--blobs")
    (shared,) = (d for d in said if d["type"] == "shared")
    (infohash,) = (f["infohash"] for f in shared["files"] if f["path"] == "model-00001.bin")
    for node in nodes[:-1]:
        node.serve()

    def known(node: Node) -> int:
        status = node.status()
        return status.dht.nodes if status else 0

    until(lambda: min(map(known, nodes[:-1])) >= 4, "they know each other", 90)
    assert all(not status.neighbours for node in nodes[:-1] if (status := node.status()))
    link = f"magnet:?xt=urn:btmh:1220{infohash}"
    nodes[-1].start("pull", link, "--patience", "90").ok(120)
    assert nodes[-1].has(model, "model-00001.bin")
