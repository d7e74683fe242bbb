"""A LAN that falls into two parts and comes together again."""

import time
from random import Random

import pytest

from tests.campaign import SEED, rounds
from tests.net import Net, needs_lab
from tests.net.node import Node, all_end_well, make_model
from tests.net.program import until

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000
SECONDS = rounds(6, 60)
"""How long the LAN is split."""


@pytest.mark.timeout(300 + 3 * SECONDS)
@pytest.mark.torture
@pytest.mark.parametrize("turn", range(rounds(1, 20)))
def test_a_split_at_any_time(turn: int) -> None:
    """The half with the seed goes on and finishes. The other waits, and finishes once it can."""
    random = Random(SEED * 1000 + turn)
    with Net() as net:
        lan = net.lan()
        model = make_model(net.folder / "model", 16)
        seed, *nodes = [Node(lan.host(name)) for name in ("seed", "a", "b", "c", "d")]
        seed.host.cap(up=4 * MB)
        seed.add(model)
        seed.serve()
        pulls = {node: node.pull() for node in nodes}
        blob = model.digests["model-00001.bin"]
        share = random.uniform(0.02, 0.7)
        until(
            lambda: max(len(node.pieces(blob)) for node in nodes) >= share * 17,
            f"{share:.0%} are there",
        )
        near, far = nodes[:2], nodes[2:]
        lan.split([node.host for node in far])
        split = time.monotonic()
        all_end_well(*(pulls[node] for node in near), seconds=120)
        until(lambda: time.monotonic() - split >= SECONDS, "the split is over", SECONDS + 60)
        if len(set().union(*(node.pieces(blob) for node in far))) < 17:  # not all are on this side
            assert not any(node.has(model, "model-00001.bin") for node in far)
            assert not any(pulls[node].ended for node in far)
        lan.heal()
        all_end_well(*pulls.values(), seconds=120)
        for node in nodes:
            assert node.has_all(model)


def test_two_halves_finish_without_each_other() -> None:
    """Each half has a seed of its own; afterwards all is as before."""
    with Net() as net:
        lan = net.lan()
        model = make_model(net.folder / "model", 12)
        other = make_model(net.folder / "other", 4, name="org/another", seed=2)
        names = ("seed", "a", "mirror", "b")
        seed, a, mirror, b = [Node(lan.host(name, up=4 * MB)) for name in names]
        for node in (seed, mirror):
            node.add(model)
            node.serve()
        pulls = [a.pull(), b.pull()]
        blob = model.digests["model-00001.bin"]
        until(lambda: any(node.pieces(blob) for node in (a, b)), "it has begun")
        lan.split([mirror.host, b.host])
        all_end_well(*pulls, seconds=120)
        for node in (a, b):
            assert node.has_all(model)
        lan.heal()
        seed.add(other)
        b.pull(name=other.name).ok(120)
        assert b.has_all(other)
