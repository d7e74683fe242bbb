"""The scenarios, and what is reported of each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench.sim.engine import simulate
from bench.sim.swarms import COARSE, FINE, REGIONS, coarse, exact, one_lan
from bench.sim.world import Event, Node, Outcome, Policy, World

_DAY = 86_400.0
_WEEK = 7 * _DAY
_GONE = 0.3
_LEAVING = 6000.0
"""Seconds over which holders leave one by one."""
QUANTILES = (0.1, 0.5, 0.9, 0.99)

SMALL, MIDDLE, LARGE = "10 nodes", "1,000 nodes", "100,000 nodes"
MODELS = {
    SMALL: "exact, 1 LAN, 2,000 pieces",
    MIDDLE: "exact, 40 LANs, 600 pieces",
    LARGE: "coarse, 4,000 LANs, 200 pieces",
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """`build` makes the world; `key` names it in the results."""

    key: str
    title: str
    scale: str
    build: Callable[[], World]


@dataclass(frozen=True, slots=True)
class _Kind:
    key: str
    title: str
    scales: tuple[str, ...]
    events: Callable[[tuple[Node, ...], int], tuple[Event, ...]]
    policy: dict[str, Any]


def _none(_nodes: tuple[Node, ...], _sites: int) -> tuple[Event, ...]:
    return ()


def _hub_down(progress: float) -> Callable[[tuple[Node, ...], int], tuple[Event, ...]]:
    """The hub goes at so much mean progress, and comes back after a day."""
    returns = (Event("hub-up", at=_DAY),)

    def events(_nodes: tuple[Node, ...], _sites: int) -> tuple[Event, ...]:
        return (Event("hub-down", progress=progress, then=returns),)

    return events


def _regions(progress: float) -> Callable[[tuple[Node, ...], int], tuple[Event, ...]]:
    def events(_nodes: tuple[Node, ...], _sites: int) -> tuple[Event, ...]:
        return (Event("split", progress=progress, then=(Event("merge", at=_WEEK),)),)

    return events


def _leave_lans(nodes: tuple[Node, ...], sites: int) -> tuple[Event, ...]:
    """At half, the hub goes, and with it all machines of 3 LANs in 10 (or 3 machines in 10 where
    there is one LAN).
    """
    if sites == 1:
        gone = range(0, len(nodes), 3)
        chosen = tuple(gone)[: round(_GONE * len(nodes))]
    else:
        chosen = tuple(i for i, node in enumerate(nodes) if node.site % 10 in {1, 4, 7})
    return (Event("hub-down", progress=0.5), Event("leave", progress=0.5, nodes=chosen))


def _leave_slowly(nodes: tuple[Node, ...], _sites: int) -> tuple[Event, ...]:
    """From a tenth on, 3 machines in 10 leave one after another; at half the hub goes."""
    step = round(1 / _GONE * 10)
    gone = [i for i in range(len(nodes)) if i * 10 % step < 10][: round(_GONE * len(nodes))]
    leaving = tuple(
        Event("leave", at=_LEAVING * (place + 1) / len(gone), nodes=(node,))
        for place, node in enumerate(gone)
    )
    return (Event("leave", progress=0.1, then=leaving), Event("hub-down", progress=0.5))


_ALL, _TWO = (SMALL, MIDDLE, LARGE), (SMALL, MIDDLE)
_ASKED_LAST = {"origin": "last"}
_LISTED = {"order": "listed", "window": 12}
_KINDS = (
    _Kind("flash", "flash crowd", _ALL, _none, {}),
    _Kind("flash-last", "flash crowd, holders ask the hub last", _TWO, _none, _ASKED_LAST),
    _Kind("flash-listed", "flash crowd, files in order", _TWO, _none, _LISTED),
    _Kind("flash-sha256", "flash crowd, trees not known", _TWO, _none, {"known_root": False}),
    _Kind("hub-1", "hub down at 1 %", _ALL, _hub_down(0.01), {}),
    _Kind("hub-1-listed", "hub down at 1 %, files in order", _TWO, _hub_down(0.01), _LISTED),
    _Kind("hub-50", "hub down at 50 %", _ALL, _hub_down(0.5), {}),
    _Kind("hub-50-listed", "hub down at 50 %, files in order", _TWO, _hub_down(0.5), _LISTED),
    _Kind("hub-1-last", "hub down at 1 %, asked last", _TWO, _hub_down(0.01), _ASKED_LAST),
    _Kind("hub-50-last", "hub down at 50 %, asked last", _TWO, _hub_down(0.5), _ASKED_LAST),
    _Kind("regions", "three regions for a week, from 2 % on", (MIDDLE, LARGE), _regions(0.02), {}),
    _Kind("leave", "hub and 30 % leave at 50 %", _ALL, _leave_lans, {}),
    _Kind("leave-slowly", "30 % leave one by one, hub at 50 %", _TWO, _leave_slowly, {}),
)


def _world(scale: str, kind: _Kind) -> World:
    if scale == SMALL:
        world = one_lan(**kind.policy)
    elif scale == MIDDLE:
        world = exact(40, 3, policy=replace(FINE, **kind.policy))
    else:
        world = coarse(4000, 1, policy=replace(COARSE, **kind.policy))
    return replace(world, events=kind.events(world.nodes, len(world.sites)))


def scenarios() -> list[Scenario]:
    """All of them, those that take longest first."""
    return [
        Scenario(f"{kind.key}/{scale}", kind.title, scale, _Build(scale, kind))
        for scale in (LARGE, MIDDLE, SMALL)
        for kind in _KINDS
        if scale in kind.scales
    ]


class _Build:
    def __init__(self, scale: str, kind: _Kind) -> None:
        self._scale, self._kind = scale, kind

    def __call__(self) -> World:
        return _world(self._scale, self._kind)


def agreement() -> dict[str, Any]:
    """The flash crowd of 1,000 machines, by the exact and by the coarse model."""
    rows: dict[str, Any] = {}
    for name, world in (
        ("coarse, 200 pieces", coarse(40, 1)),
        ("coarse, 1,000 pieces", coarse(40, 5)),
        ("exact, 400 pieces", exact(40, 2)),
        ("exact, 1,000 pieces", exact(40, 5)),
    ):
        rows[name] = summary(world, simulate(world))
    return rows


def converge() -> dict[str, Any]:
    """How much the size of the pieces matters: 200 machines in 8 LANs."""
    rows: dict[str, Any] = {}
    for pieces in (1, 2, 5, 10):
        world = exact(8, pieces)
        rows[f"{pieces * 200:,} pieces"] = summary(world, simulate(world))
    slots: dict[str, Policy] = {
        f"{n} slots": replace(FINE, slots=n, hub_flows=n) for n in (1, 2, 4)
    }
    for name, policy in slots.items():
        world = exact(8, 5, policy)
        rows[f"1,000 pieces, {name}"] = summary(world, simulate(world))
    return rows


def run_named(key: str) -> dict[str, Any]:
    """The same by the scenario's key, for a process of its own."""
    return run(next(one for one in scenarios() if one.key == key))


def run(scenario: Scenario) -> dict[str, Any]:
    """Simulates one, and sums it up."""
    world = scenario.build()
    found = summary(world, simulate(world))
    model = MODELS[scenario.scale]
    return {"title": scenario.title, "scale": scenario.scale, "model": model, **found}


def summary(world: World, outcome: Outcome) -> dict[str, Any]:
    """Numbers of machines, seconds, copies of the payload."""
    size = world.payload.size
    stayed = _weighed(world, outcome)
    finished = sorted((done, weight) for done, weight in stayed if done is not None)
    whole = sum(weight for _, weight in stayed)
    after = [site / size for site in outcome.entered]
    return {
        "machines": sum(outcome.weights),
        "stayed": whole,
        "finished": sum(weight for _, weight in finished),
        "seconds": {f"{q:.0%}": _quantile(finished, whole, q) for q in QUANTILES},
        "regions": _regional(world, outcome),
        "origin_copies": round(outcome.origin / size, 3),
        "origin_copies_per_lan": round(outcome.origin / size / len(world.sites), 4),
        "entered_per_lan": round(sum(after) / len(after), 3),
        "missing": round(outcome.missing / world.payload.total, 4),
        "marks": [
            {
                "what": mark.kind,
                "at": round(mark.at),
                "progress": round(mark.progress, 4),
                "missing": round(mark.missing / world.payload.total, 4),
                "origin_copies": round(mark.origin / size, 3),
            }
            for mark in _telling(outcome)
        ],
        "curve": _curve(finished, whole),
        "ended": round(outcome.ended),
    }


def _telling(outcome: Outcome) -> list[Any]:
    """Of many that leave one by one, the first and the last."""
    leaves = [mark for mark in outcome.marks if mark.kind == "leave"]
    dull = set(map(id, leaves[1:-1]))
    return [mark for mark in outcome.marks if id(mark) not in dull]


def _weighed(world: World, outcome: Outcome) -> list[tuple[float | None, int]]:
    rows = zip(outcome.done, outcome.weights, strict=True)
    seeds = {i for i, node in enumerate(world.nodes) if node.seed}
    return [row for i, row in enumerate(rows) if i not in outcome.left and i not in seeds]


def _regional(world: World, outcome: Outcome) -> list[float | None]:
    """The median of each region."""
    found = []
    for region in range(REGIONS if len(world.sites) > 1 else 1):
        ours = [
            (at, node.weight)
            for i, (at, node) in enumerate(zip(outcome.done, world.nodes, strict=True))
            if world.sites[node.site].region == region and i not in outcome.left
        ]
        done = sorted((at, weight) for at, weight in ours if at is not None)
        found.append(_quantile(done, sum(weight for _, weight in ours), 0.5))
    return found


def _quantile(finished: list[tuple[float, int]], whole: int, part: float) -> float | None:
    """When so large a part of all had everything; None: never."""
    count = 0
    for done, weight in finished:
        count += weight
        if count >= part * whole:
            return round(done)
    return None


def _curve(finished: list[tuple[float, int]], whole: int) -> list[tuple[float, float]]:
    """At most 100 points: seconds, and the part of all that had everything."""
    points: list[tuple[float, float]] = []
    count, last = 0, 0.0
    for done, weight in finished:
        count += weight
        if count / whole - last >= 0.01 or count == whole:
            last = count / whole
            points.append((round(done), round(last, 4)))
    return points
