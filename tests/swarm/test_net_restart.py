"""A node that ends, in whatever way, and begins again: nothing is read anew."""

import time
from collections.abc import Iterator

import pytest

from tests.net import Net, needs_lab
from tests.net.node import MIB, Model, Node, make_model
from tests.net.program import Program, until

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000
_FILES = 24
_READ_BY_STARTING = 2 * MIB
"""What two runs of the same program may read more or less of their own code and libraries."""


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def model(net: Net) -> Model:
    return make_model(net.folder / "model", *[0.5] * _FILES)


def seeds(node: Node, count: int) -> bool:
    status = node.status()
    return status is not None and status.seeding == count


def start_over(node: Node, count: int) -> tuple[Program, float]:
    """Serves; the process, and the seconds from its first answer to its seeding of `count`."""
    server = node.serve()
    began = time.monotonic()
    until(lambda: seeds(node, count), f"it seeds {count}")
    return server, time.monotonic() - began


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_node_goes_on_seeding_without_reading(net: Net, model: Model, how: str) -> None:
    lan = net.lan()
    node, empty = Node(lan.host("node")), Node(lan.host("empty"))
    node.add(model)
    start_over(node, _FILES + 1)
    getattr(node, how)()
    server, seconds = start_over(node, _FILES + 1)
    bare, _ = start_over(empty, 0)
    read = server.read_bytes() - bare.read_bytes()
    assert read < _READ_BY_STARTING, f"{read} bytes for {model.size} that it seeds"
    assert seconds < 2.0
    other = Node(lan.host("other"))
    other.pull().ok()
    assert other.has_all(model)


def test_a_killed_pull_goes_on_where_it_was(net: Net) -> None:
    lan = net.lan()
    model = make_model(net.folder / "model", 20)
    blob = model.digests["model-00001.bin"]
    seed, node = Node(lan.host("seed", up=5 * MB)), Node(lan.host("node"))
    seed.add(model)
    seed.serve()
    first = node.pull()
    until(lambda: len(node.pieces(blob)) >= 12, "60 % are there")
    first.kill()
    had = len(node.pieces(blob)) * MIB
    before = node.host.counters().received
    node.pull().ok()
    node.check(model)
    received = node.host.counters().received - before
    # Nothing that was noted as here comes again; frames have headers, and nodes talk.
    assert received < (model.size - had) * 1.06 + MIB


def test_a_restarted_seed_is_found_by_those_who_wait(net: Net) -> None:
    """It has another id and perhaps other ports; a pull under way goes on with it."""
    lan = net.lan()
    model = make_model(net.folder / "model", 20)
    blob = model.digests["model-00001.bin"]
    seed, *nodes = [Node(lan.host(name)) for name in ("seed", "a", "b")]
    seed.host.cap(up=4 * MB)
    seed.add(model)
    seed.serve()
    pulls = [node.pull() for node in nodes]
    until(lambda: any(len(node.pieces(blob)) >= 4 for node in nodes), "it has begun")
    seed.stop()
    seed.serve()
    for node, pull in zip(nodes, pulls, strict=True):
        pull.ok(120)
        assert node.has_all(model)
