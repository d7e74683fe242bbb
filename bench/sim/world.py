"""What is simulated: nodes on LANs, a payload, a hub, the policies, and what happens when.

Bytes, seconds, and bytes per second throughout. A LAN is a site with one link to the outside; in
the coarse model a whole LAN is one node of its own site.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

GIGA = 1_000_000_000
GIGABIT = GIGA / 8


@dataclass(frozen=True, slots=True)
class Payload:
    """`blobs` files of `pieces` pieces each, of `piece` bytes each."""

    blobs: int
    pieces: int
    piece: float

    @property
    def total(self) -> int:
        return self.blobs * self.pieces

    @property
    def size(self) -> float:
        return self.total * self.piece

    def blob(self, number: int) -> int:
        """The pieces of a blob, as a set of bits."""
        return ((1 << self.pieces) - 1) << (number * self.pieces)


@dataclass(frozen=True, slots=True)
class Site:
    """A LAN: its link to the outside, and the part of the world that it is in."""

    up: float = inf
    down: float = inf
    region: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """`weight` is how many machines it stands for (a whole LAN in the coarse model)."""

    site: int
    up: float
    down: float
    joins: float = 0.0
    seed: bool = False
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Hub:
    up: float
    region: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """The policies of the product, and what the model adds to them."""

    slots: int = 8
    """Peers outside the LAN that a node sends to at once. Those inside always may ask."""
    round: float = 10.0
    connections: int = 50
    near: int = 30
    """Connections inside the LAN, at most."""
    collect: float = 1.2
    dead: float = 3.5
    known_root: bool = True
    """The trees are known beforehand: pieces count one by one. Without, a blob counts when the
    first node has the whole of it.
    """
    order: Literal["spread", "listed"] = "spread"
    """Which files first: all at once, or in the order of the manifest."""
    window: int = 3
    """Files at a time, where in order."""
    origin: Literal["share", "last"] = "share"
    """What holders ask the hub for: any piece, or only what no peer of theirs has."""
    hub_flows: int = 8
    """HTTP connections to the hub of one node, at most."""
    all_hub_flows: int = 100
    """And of all nodes: where pieces are large, the hub serves some after others and not all at
    once, as thousands of trickles of large pieces would keep each from being passed on for hours.
    """
    queue: float = 3.0
    """Seconds of requests under way on each connection."""
    first_random: int = 4
    endgame: bool = False
    """A connection takes over what another one was asked for only when nothing else is left, as
    clients do with real pieces. Else always: a large piece stands for many.
    """
    buffered: float = 3.0
    """Seconds of sending that lie in buffers: they cannot be called off, and where a node's way out
    is full, its news of a piece waits behind them. The one constant that was fitted (to the third
    calibration run; libtorrent's own buffer is half a second, the kernel's comes on top).
    """
    efficiency: float = 0.955
    """Payload in a byte on the wire (headers of Ethernet, IP, TCP and of the messages)."""
    settle: float = 0.0
    """Seconds from the start until connections carry payload."""
    quiet: bool = True
    """No node fetches from outside what a neighbour has or is fetching. Nothing forbids it, but
    with pieces of 1 MiB, which cross a LAN in milliseconds, the chance is small; with the large
    ones of a model it is not.
    """
    stripes: bool = False
    """On a LAN each node asks those who had all from the start for every n-th piece, and then for
    what the others are behind with; the rest comes from the others.
    """
    step: float = 5.0
    """Rates are shared out anew so often, at least."""


Kind = Literal["hub-down", "hub-up", "leave", "split", "merge", "end"]


@dataclass(frozen=True, slots=True)
class Event:
    """Happens at the time `at`, or when nodes have the fraction `progress` of the payload in the
    mean, or when they have all pieces between them (`union`).
    """

    kind: Kind
    at: float = inf
    progress: float | None = None
    union: bool = False
    nodes: tuple[int, ...] = ()
    then: tuple["Event", ...] = ()
    """What follows; their `at` counts from this event."""


@dataclass(frozen=True, slots=True)
class World:
    nodes: tuple[Node, ...]
    sites: tuple[Site, ...]
    payload: Payload
    hub: Hub | None = None
    policy: Policy = field(default_factory=Policy)
    events: tuple[Event, ...] = ()
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """How things stood at an event: the mean progress, and pieces that no node had."""

    kind: str
    at: float
    progress: float
    missing: int
    origin: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """`done`: seconds until each node had everything (None: never), `left`: who went away."""

    done: tuple[float | None, ...]
    joined: tuple[float, ...]
    weights: tuple[int, ...]
    left: frozenset[int]
    progress: tuple[float, ...]
    """The fraction that each node had at the end."""
    missing: int
    """Pieces that no node had at the end."""
    origin: float
    """Bytes that came from the hub, or from the seeds where there is no hub."""
    entered: tuple[float, ...]
    """Bytes that came into each site from outside."""
    sent: tuple[float, ...]
    received: tuple[float, ...]
    wasted: float
    """Bytes that came a second time."""
    marks: tuple[Mark, ...]
    ended: float
