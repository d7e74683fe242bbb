"""`outlast keep`, and challenges, between nodes on a network of their own."""

from collections.abc import Iterator

import pytest

from tests.features.durability.copies.test_net_goals import (
    PATIENT,
    SECONDS,
    having,
    is_met,
    knows,
    operated,
    shown,
)
from tests.net import Net, needs_lab
from tests.net.node import Node, make_model, of_type
from tests.net.program import Program, until

pytestmark = [pytest.mark.net, needs_lab()]


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


def test_copies_are_challenged_and_shrink_when_told(net: Net) -> None:
    nodes = operated(
        net.lan(), 3, "org/crowded-model copies=2", times=f"{PATIENT}challenges = 500000\n"
    )
    model = make_model(net.folder / "model", 5)
    for node in nodes:
        node.serve()
    until(lambda: all(knows(node, 2) for node in nodes), "they know each other", SECONDS)
    nodes[0].add(model)
    until(lambda: len(having(nodes, model)) == 2, "there are two copies", SECONDS)
    [holder] = [node for node in nodes[1:] if node.has_all(model)]
    [third] = [node for node in nodes[1:] if node is not holder]
    digest = model.digests["model-00001.bin"]
    blob = holder.home / "blobs" / digest[:2] / digest
    data, mode = blob.read_bytes(), blob.stat().st_mode
    blob.chmod(0o644)
    blob.write_bytes(bytes(len(data) // 2) + data[len(data) // 2 :])
    until(lambda: third.has_all(model), "the damaged copy is made anew elsewhere", SECONDS)
    row = shown(nodes[0])
    assert row is not None
    assert row.failed == 1
    blob.write_bytes(data)
    blob.chmod(mode)
    until(lambda: all(map(is_met, nodes)) and not _failed(nodes), "it proves it again", SECONDS)

    [would] = of_type(_surplus(nodes[1:], "--dry-run"), "copy")
    assert (would["change"], would["dry_run"]) == ("dropped", True), would["why"]
    assert all(node.has_all(model) for node in nodes)
    [dropped] = of_type(_surplus(nodes[1:]), "copy")
    assert dropped["change"] == "dropped", dropped["why"]
    left = [node for node in nodes if node.run("ls")]
    assert len(left) == 2
    assert nodes[0] in left  # it was added there by hand


def _failed(nodes: list[Node]) -> bool:
    rows = [shown(node) for node in nodes]
    return any(row is None or row.failed for row in rows)


def _surplus(nodes: list[Node], *arguments: str) -> Program:
    """`keep --shrink` on all of them; the one that drops something."""
    programs = [node.start("keep", "--shrink", *arguments) for node in nodes]
    for program in programs:
        assert program.wait() == 0, program.tail()
    return next(program for program in programs if of_type(program, "copy"))


def test_a_volunteer_takes_what_fits_its_budget(net: Net) -> None:
    lan = net.lan()
    seed, volunteer = Node(lan.host("seed")), Node(lan.host("volunteer"))
    for one, other in ((seed, volunteer), (volunteer, seed)):
        one.configure(f'[swarm]\npeers = ["{other.host.address}:8091"]\n')
    small = make_model(net.folder / "small", 1, name="org/small")
    large = make_model(net.folder / "large", 6, name="org/large")
    for model in (small, large):
        seed.add(model)
    seed.serve()
    until((seed.home / "durability" / "copies.json").exists, "it made a round", SECONDS)
    kept = volunteer.start("keep", "--budget", "3MB", "--once")
    assert kept.wait() == 0, kept.tail()
    [copy] = of_type(kept, "copy")
    assert (copy["repo"], copy["change"]) == ("org/small", "fetched")
    assert volunteer.has_all(small)
    assert not volunteer.has(large, "model-00001.bin")
    [summary] = of_type(kept, "summary")
    assert summary["fetched_bytes"] == small.size
    assert volunteer.start("keep").wait() == 2  # neither a budget nor a list
