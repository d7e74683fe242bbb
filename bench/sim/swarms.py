"""The worlds of the scenarios: a model of 1 TB, LANs with machines, a hub.

`exact` has every machine; `coarse` has one node for each LAN, which stands for its machines: inside
a LAN bytes move ten times as fast as they come in, so what takes time is the way in.
"""

from dataclasses import replace

from bench.sim.world import GIGABIT, Event, Hub, Node, Payload, Policy, Site, World

SIZE = 1e12
BLOBS = 200
LANS = (10, 15, 20, 20, 25, 30, 30, 50)
"""Machines of a LAN, in turn: 200 in 8 LANs."""
REGIONS = 3
HUB = Hub(10 * GIGABIT)
_OUTSIDE, _DATACENTRE = GIGABIT, 10 * GIGABIT
_INSIDE, _SLOW = 10 * GIGABIT, GIGABIT

FINE = Policy(slots=1, hub_flows=1, round=60, queue=0, step=10, settle=2)
"""For machines: 8 slots of a thousand pieces each are one slot of one piece a thousand times as
large; more of them would only keep large pieces unfinished for long.
"""
COARSE = Policy(slots=4, hub_flows=2, connections=20, round=120, queue=0, step=20, settle=2)
"""For LANs: the slots of its machines, as far as large pieces allow."""


def payload(pieces: int) -> Payload:
    """The model in 200 files of so many pieces each."""
    return Payload(BLOBS, pieces, SIZE / BLOBS / pieces)


def sites(count: int) -> tuple[Site, ...]:
    """LANs: nine in ten with 1 Gb/s to the outside, one with 10; dealt out to three regions."""
    rates = [_DATACENTRE if number % 10 == 9 else _OUTSIDE for number in range(count)]
    return tuple(Site(rate, rate, number % REGIONS) for number, rate in enumerate(rates))


def machines(lans: int) -> tuple[Node, ...]:
    """All machines: three in four with 10 Gb/s, one with 1."""
    rows = []
    for site in range(lans):
        for place in range(LANS[site % len(LANS)]):
            rate = _SLOW if place % 4 == 3 else _INSIDE
            rows.append(Node(site, rate, rate))
    return tuple(rows)


def exact(
    lans: int, pieces: int = 5, policy: Policy = FINE, events: tuple[Event, ...] = ()
) -> World:
    return World(machines(lans), sites(lans), payload(pieces), HUB, policy, events)


def coarse(
    lans: int, pieces: int = 2, policy: Policy = COARSE, events: tuple[Event, ...] = ()
) -> World:
    places = sites(lans)
    nodes = tuple(
        Node(number, site.up, site.down, weight=LANS[number % len(LANS)])
        for number, site in enumerate(places)
    )
    return World(nodes, places, payload(pieces), HUB, policy, events)


def one_lan(pieces: int = 10, events: tuple[Event, ...] = (), **policy: object) -> World:
    """Ten machines."""
    chosen = replace(FINE, slots=8, hub_flows=8, step=2, **policy)  # type: ignore[arg-type]
    return World(machines(1), sites(1), payload(pieces), HUB, chosen, events)
