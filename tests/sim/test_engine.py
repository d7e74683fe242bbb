from dataclasses import replace
from functools import cache
from math import inf

import pytest

from bench.sim.calibrate import REAL
from bench.sim.engine import simulate
from bench.sim.swarms import FINE, coarse, exact
from bench.sim.world import Event, Hub, Node, Outcome, Payload, Policy, Site, World
from tests.campaign import rounds

_PIECE = 1024.0 * 1024
_UP = 10e6
_LAN = 1e8


def _flash(peers: int, *, pieces: int = 60, up: float = _UP, policy: Policy = REAL) -> World:
    nodes = (Node(0, up, inf, seed=True), *[Node(0, _LAN, _LAN)] * peers)
    return World(nodes, (Site(),), Payload(1, pieces, _PIECE), policy=policy)


def _last(outcome: Outcome) -> float:
    return max(inf if at is None else at for at in outcome.done)


def _worlds() -> list[World]:
    lans = exact(rounds(2, 3), 1)
    gone = tuple(range(5, 12))
    return [
        _flash(6),
        _flash(6, policy=replace(REAL, stripes=True)),
        lans,
        replace(lans, policy=replace(FINE, known_root=False)),
        replace(lans, policy=replace(FINE, origin="last")),
        replace(lans, policy=replace(FINE, order="listed", window=5)),
        replace(lans, events=(Event("leave", progress=0.4, nodes=gone),)),
        replace(lans, events=(Event("split", progress=0.1, then=(Event("merge", at=40_000.0),)),)),
        coarse(6, 1),
    ]


@cache
def _ran(number: int) -> tuple[World, Outcome]:
    world = _worlds()[number]
    return world, simulate(world)


@pytest.mark.torture
@pytest.mark.parametrize("number", range(rounds(3, 30)))
def test_bytes_are_neither_made_nor_lost(number: int) -> None:
    world, outcome = _ran(number)
    assert sum(outcome.sent) == pytest.approx(sum(outcome.received))
    needed = sum(
        part * world.payload.size
        for part, node in zip(outcome.progress, world.nodes, strict=True)
        if not node.seed
    )
    # What came is what is there, what came twice, and the pieces of those who left half way.
    unfinished = len(outcome.left) * world.payload.piece * world.policy.connections
    came = sum(outcome.received) - outcome.wasted
    assert needed - 1 <= came <= needed + unfinished + 1
    stayed = [i for i in range(len(world.nodes)) if i not in outcome.left]
    assert all(outcome.progress[i] == 1 for i in stayed)


@pytest.mark.torture
@pytest.mark.parametrize("number", range(rounds(3, 30)))
def test_no_node_gets_or_gives_more_than_its_link_carries(number: int) -> None:
    world, outcome = _ran(number)
    seconds, share = outcome.ended, world.policy.efficiency * (1 + 1e-6)
    for node, sent, got in zip(world.nodes, outcome.sent, outcome.received, strict=False):
        assert sent <= node.up * share * seconds
        assert got <= node.down * share * seconds
    for site, entered in zip(world.sites, outcome.entered, strict=True):
        assert entered <= site.down * share * seconds
    if world.hub is not None:
        assert outcome.origin <= world.hub.up * share * seconds


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    world = exact(1, 1)
    assert simulate(world) == simulate(world)
    assert simulate(world) != simulate(replace(world, seed=2))


def test_no_swarm_is_faster_than_its_seed() -> None:
    world = _flash(6)
    ideal = world.payload.size / (_UP * REAL.efficiency)
    assert ideal < _last(simulate(world)) < 6 * ideal


def test_faster_links_and_smaller_payloads_never_take_longer() -> None:
    times = [_last(simulate(_flash(5, up=rate))) for rate in (5e6, 10e6, 20e6, 40e6)]
    assert times == sorted(times, reverse=True)
    sizes = [_last(simulate(_flash(5, pieces=count))) for count in (20, 40, 80, 160)]
    assert sizes == sorted(sizes)


def test_with_stripes_a_seed_gives_one_copy() -> None:
    blind = simulate(_flash(8))
    parted = simulate(_flash(8, policy=replace(REAL, stripes=True)))
    copy = 60 * _PIECE
    assert blind.origin > 1.2 * copy
    assert copy <= parted.origin <= 1.1 * copy
    assert _last(parted) < _last(blind)


def test_one_lan_takes_one_copy_from_the_hub() -> None:
    nodes = (Node(0, _LAN, _LAN),) * 8
    world = World(nodes, (Site(),), Payload(4, 10, _PIECE), Hub(_UP), replace(REAL, quiet=True))
    outcome = simulate(world)
    assert _last(outcome) < inf
    assert outcome.origin == pytest.approx(world.payload.size)


def test_a_crowd_without_trees_waits_for_whole_blobs() -> None:
    world = exact(2, 2)
    blind = replace(world, policy=replace(FINE, known_root=False))
    assert _last(simulate(world)) < _last(simulate(blind)) < inf


def test_what_no_node_has_is_missing_until_the_hub_is_back() -> None:
    world = exact(1, 1)
    dark = simulate(replace(world, events=(Event("hub-down", progress=0.05),)))
    assert dark.missing > 0
    assert all(at is None for at in dark.done)
    union = 1 - dark.missing / world.payload.total
    assert list(dark.progress) == pytest.approx([union] * len(world.nodes))  # what any node had
    later = Event("hub-down", progress=0.05, then=(Event("hub-up", at=50_000.0),))
    back = simulate(replace(world, events=(later,)))
    assert back.missing == 0
    assert 50_000 < _last(back) < inf


def test_a_holder_that_dies_is_followed_by_another() -> None:
    world = exact(1, 1)
    gone = (Event("leave", progress=0.3, nodes=(0, 1, 2)),)
    outcome = simulate(replace(world, events=gone))
    assert all(at is not None for i, at in enumerate(outcome.done) if i not in outcome.left)
    assert outcome.origin <= 1.4 * world.payload.size


def test_parts_of_the_world_that_lack_pieces_finish_after_they_are_merged() -> None:
    world = exact(3, 1)
    events = (Event("split", progress=0.02, then=(Event("merge", at=100_000.0),)),)
    done = simulate(replace(world, events=events)).done
    regions = [world.sites[node.site].region for node in world.nodes]
    assert all(at is not None for at in done)
    with_hub = [at or inf for at, region in zip(done, regions, strict=True) if region == 0]
    without = [at or 0 for at, region in zip(done, regions, strict=True) if region]
    assert max(with_hub) < 100_000 < min(without)


@pytest.mark.torture
def test_the_coarse_model_agrees_with_the_exact_one() -> None:
    lans, pieces = rounds(3, 5), rounds(2, 5)
    fine, rough = simulate(exact(lans, pieces)), simulate(coarse(lans, pieces))
    middle = [
        sorted(at or inf for at in outcome.done)[len(outcome.done) // 2]
        for outcome in (fine, rough)
    ]
    assert middle[1] == pytest.approx(middle[0], rel=0.15)
    assert _last(rough) == pytest.approx(_last(fine), rel=0.2)
