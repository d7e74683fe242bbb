"""Nodes of one operator on a network of their own: copies that are lost are made again."""

import itertools
from collections.abc import Iterator, Sequence

import pytest

from outlast.core.names import RepoId
from outlast.core.status import CopiesStatus
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.swarm.tuning import TUNING
from tests.campaign import LONG, rounds
from tests.net import Lan, Net, needs_lab
from tests.net.node import Model, Node, make_model
from tests.net.program import until

pytestmark = [pytest.mark.net, needs_lab()]

SOON = "every = 0.02\ngone-after = 0.002\n"
"""A round each 1.2 s; a node is gone after 7.2 s. One that a busy machine lets wait for a few
rounds is still there: else its copies would be made again, and there would be four.
"""
ASKED_TWICE = TUNING.client.libtorrent.max_out_request_queue * 16 * 1024
"""Bytes of a file that are under way from a slow peer when a quick one has sent all of its own:
libtorrent asks the quick one for them too, so that the end does not wait.
"""
PATIENT = "every = 0.02\ngone-after = 1\n"
SECONDS = 120.0
SITES = ("lan", "site-b")


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


def operated(lan: Lan, count: int, goal: str, *, times: str = SOON) -> list[Node]:
    """Nodes that name each other, with one list."""
    nodes = [Node(lan.host(f"n{number}")) for number in range(count)]
    for number, node in enumerate(nodes):
        keep_list = node.host.folder / "models.txt"
        keep_list.write_text(f"{goal}\n")
        peers = [f'"{n.host.address}:8091"' for n in nodes if n is not node]
        node.configure(
            f"[swarm]\npeers = [{', '.join(peers)}]\n"
            f'[durability]\nsite = "{SITES[number % 2]}"\nlists = ["{keep_list}"]\n{times}'
        )
    return nodes


def shown(node: Node) -> CopiesStatus | None:
    """What a node says of the one goal."""
    status = node.status()
    return status.copies[0] if status is not None and status.copies else None


def knows(node: Node, others: int) -> bool:
    status = node.status()
    return status is not None and len(status.neighbours) == others and bool(status.copies)


def is_met(node: Node) -> bool:
    row = shown(node)
    return row is not None and row.met and not row.absent


def having(nodes: Sequence[Node], model: Model) -> list[Node]:
    return [node for node in nodes if node.has_all(model)]


def without(nodes: Sequence[Node], holders: Sequence[Node], lost: int) -> list[Node]:
    """Those that are left where so many holders are lost; each site, whose nodes come in turn, has
    one.
    """
    for gone in itertools.combinations(holders, lost):
        left = [node for node in nodes if node not in gone]
        if len({int(node.host.name[1:]) % 2 for node in left}) == len(SITES):
            return left
    raise AssertionError("all nodes of a site hold it")


def received(nodes: Sequence[Node]) -> int:
    """Bytes of files that came from other nodes, by HTTP and by BitTorrent."""
    found = [node.status() for node in nodes]
    return sum(status.received for status in found if status is not None)


def test_holders_are_lost_one_of_three_and_then_two(net: Net) -> None:
    nodes = operated(net.lan(), 6, "org/crowded-model copies=3 where=lan,site-b")
    model = make_model(net.folder / "model", rounds(8, 96), rounds(4, 32))
    for node in nodes:
        node.serve()
    until(lambda: all(knows(node, 5) for node in nodes), "they know each other", SECONDS)
    nodes[0].add(model)
    until(lambda: all(map(is_met, nodes)), "there are three copies", SECONDS)
    left = nodes
    for lost in (1, 2):
        holders = having(left, model)
        assert len(holders) == 3
        after = without(left, holders, lost)
        for node in left:
            if node not in after:
                node.kill()
        left = after
        before = received(left)
        until(lambda: len(having(left, model)) >= 3, "there are three", SECONDS)  # noqa: B023
        until(lambda: all(map(is_met, left)), "all know", SECONDS)  # noqa: B023
        missing = lost * model.size
        ends = 0 if LONG else lost * 2 * ASKED_TWICE
        assert missing <= received(left) - before <= 1.05 * missing + ends
    for node in left:
        assert node.has_all(model)
        node.run("verify")


def test_a_private_model_stays_among_static_peers(net: Net) -> None:
    lan = net.lan()
    nodes = operated(lan, 2, "org/crowded-model copies=2")
    model = make_model(net.folder / "model", 1)
    nodes[0].add(model)
    with Archive(nodes[0].home) as archive, archive.writer() as writer:
        archive.refs.put_about(writer, RepoId.parse(model.name), About(private=True))
    for node in nodes:
        node.serve()
    until(lambda: all(map(is_met, nodes)), "there are two copies", SECONDS)
    stranger = Node(lan.host("stranger"))
    pull = stranger.start("pull", model.name, "--from", "lan")
    assert pull.wait() == 3, pull.tail()
