"""The state of a simulated swarm, and who could fetch what from whom."""

from random import Random
from typing import Final

from bench.sim.bits import Counts, draw, full, lowest
from bench.sim.sharing import Links
from bench.sim.world import World

IDLE: Final = -1
"""The piece of a flow that has none."""


class Flow:
    """A connection on which `source` sends to `target`: while `piece` is IDLE nothing goes.

    `left` bytes of the current part are to come as of the time `at`, at `rate`. `hub_pieces` is not
    0 for connections to the hub: the pieces of the one blob that it fetches.
    """

    __slots__ = (
        *(
            "at",
            "closing",
            "hub_pieces",
            "inside",
            "late",
            "left",
            "links",
            "moved",
            "part",
            "piece",
            "queue",
        ),
        *("rate", "rival", "source", "target"),
    )

    def __init__(
        self, source: int, target: int, links: Links, *, inside: bool, hub_pieces: int
    ) -> None:
        self.source, self.target, self.links = source, target, links
        self.inside, self.hub_pieces = inside, hub_pieces
        self.piece = IDLE
        self.left = self.part = self.rate = self.at = self.moved = 0.0
        self.queue: list[int] = []
        self.rival: Flow | None = None
        """Another connection that brings the same part."""
        self.closing = False
        """Another connection gets its slot after this piece."""
        self.late = False
        """The part has come by another connection; what still comes is lost."""


class State:
    """Nodes are numbered; the hub, where there is one, is the number after the last."""

    def __init__(self, world: World) -> None:
        self.world, self.policy, self.payload = world, world.policy, world.payload
        self.random = Random(world.seed)
        self.total = world.payload.total
        self.size = world.payload.piece
        count = self.count = len(world.nodes)
        self.hub = count
        self.hub_up = world.hub is not None
        self.split = False
        self.site = [node.site for node in world.nodes]
        self.region = [world.sites[site].region for site in self.site]
        self.everything = full(self.total)
        self.have = [self.everything if node.seed else 0 for node in world.nodes]
        self.have.append(self.everything)
        self.told = list(self.have)
        """What the others know that each node has."""
        self.held = [self.total if node.seed else 0 for node in world.nodes]
        self.rooted = self.everything if world.policy.known_root else 0
        self.want = [0] * count
        self.flight = [0] * count
        self.begun = [0] * count
        """Pieces of which a part is here."""
        self.rest: list[dict[int, float]] = [{} for _ in range(count)]
        self.parts: list[dict[int, int]] = [{} for _ in range(count)]
        self.counts = [Counts() for _ in range(count)]
        self.here = [False] * count
        self.near: list[list[int]] = [[] for _ in range(count)]
        self.far: list[list[int]] = [[] for _ in range(count)]
        self.peers: list[list[int]] = [[] for _ in range(count)]
        """With whom each is connected now."""
        self.out: list[dict[int, Flow]] = [{} for _ in range(count)]
        self.inn: list[dict[int, Flow]] = [{} for _ in range(count)]
        self.hub_flows: list[dict[int, Flow]] = [{} for _ in range(count)]
        """Connections to the hub, by blob."""
        self.entering = [0] * len(world.sites)
        self.near_has = [0] * len(world.sites)
        """Pieces that are somewhere in each site."""
        self.bringing = [0] * count
        """Pieces that come into a site from outside, and the node that brings them."""
        self.active: dict[Flow, None] = {}
        self.done: list[float | None] = [None] * count
        self.sent = [0.0] * (count + 1)
        self.received = [0.0] * count
        self.wasted = 0.0
        self.entered = [0.0] * len(world.sites)
        self.capacity = self._capacities()
        self.spare = list(self.capacity)
        self.stripe = [0] * count
        """The pieces that each node asks those for who had all from the start."""
        self._connect()

    def _capacities(self) -> list[float]:
        """Links: up and down of nodes, up and down of sites, the hub's."""
        nodes, sites, hub = self.world.nodes, self.world.sites, self.world.hub
        wire = [node.up for node in nodes] + [node.down for node in nodes]
        wire += [site.up for site in sites] + [site.down for site in sites]
        wire.append(hub.up if hub else 0.0)
        return [rate * self.policy.efficiency for rate in wire]

    def _connect(self) -> None:
        """Who knows whom: LAN neighbours first, then strangers, so many in all."""
        by_site: dict[int, list[int]] = {}
        for node, site in enumerate(self.site):
            by_site.setdefault(site, []).append(node)
        for members in by_site.values():
            self._part([node for node in members if not self.world.nodes[node].seed])
            for place, node in enumerate(members):
                # The next ones in a ring, so that every LAN hangs together.
                reach = min(self.policy.near // 2, (len(members) - 1) // 2)
                if len(members) - 1 <= self.policy.near:
                    around = [other for other in members if other != node]
                else:
                    steps = [*range(-reach, 0), *range(1, reach + 1)]
                    around = [members[(place + step) % len(members)] for step in steps]
                self.near[node] = around
        if len(by_site) > 1:
            self._connect_far()

    def _part(self, crowd: list[int]) -> None:
        for place, node in enumerate(crowd):
            self.stripe[node] = sum(1 << n for n in range(place, self.total, len(crowd)))

    def _connect_far(self) -> None:
        far: list[dict[int, None]] = [{} for _ in range(self.count)]
        for node in range(self.count):
            room = self.policy.connections - len(self.near[node])
            tries = 0
            while len(far[node]) < room and tries < 4 * room:
                tries += 1
                other = int(self.random.random() * self.count)
                full_up = self.policy.connections - len(self.near[other]) <= len(far[other])
                if self.site[other] != self.site[node] and not full_up:
                    far[node][other] = None
                    far[other][node] = None
        self.far = [list(known) for known in far]

    def links(self, source: int, target: int) -> Links:
        count, sites = self.count, len(self.world.sites)
        down = count + target
        inbound = 2 * count + sites + self.site[target]
        if source == self.hub:
            return (2 * count + 2 * sites, inbound, down)
        if self.site[source] == self.site[target]:
            return (source, down)
        return (source, 2 * count + self.site[source], inbound, down)

    def reaches(self, one: int, other: int) -> bool:
        """Whether two nodes that are here can talk."""
        return not self.split or self.region[one] == self.region[other]

    def reaches_hub(self, node: int) -> bool:
        hub = self.world.hub
        return (
            self.hub_up and hub is not None and not (self.split and self.region[node] != hub.region)
        )

    def offered(self, source: int) -> int:
        return self.told[source] & self.rooted

    def candidates(self, flow: Flow) -> int:
        """What this connection could bring that is not under way."""
        target = flow.target
        wanted = self.want[target]
        if flow.hub_pieces:
            wanted &= flow.hub_pieces
            if wanted and self.policy.origin == "last":
                wanted &= ~self.counts[target].somewhere()
        else:
            wanted &= self.told[flow.source] & self.rooted
            if wanted and self.is_spared(flow):
                wanted = wanted & self.stripe[target] or wanted & ~self._others_task(flow)
        if wanted and not flow.inside and self.policy.quiet:
            site = self.site[target]
            wanted &= ~(self.entering[site] | self.near_has[site])
        return wanted

    def is_spared(self, flow: Flow) -> bool:
        """Whether the source is asked for each piece once by the whole crowd."""
        seeds = flow.source != self.hub and self.world.nodes[flow.source].seed
        return self.policy.stripes and flow.inside and seeds

    def _others_task(self, flow: Flow) -> int:
        """What others of the LAN have, or fetch."""
        task = 0
        for other in self.near[flow.target]:
            if not self.world.nodes[other].seed:
                task |= self.have[other] | self.flight[other]
        return task

    def choose(self, flow: Flow, among: int) -> int:
        """One of `among`: what was begun, then random ones, then the rarest."""
        target = flow.target
        if begun := among & self.begun[target]:
            return lowest(begun)
        if flow.hub_pieces and self.policy.order == "listed":
            return lowest(among)
        if self.held[target] >= self.policy.first_random:
            among = self.counts[target].rarest(among)
        return draw(among, self.total, self.random)

    def union(self) -> int:
        together = 0
        for node in range(self.count):
            if self.here[node]:
                together |= self.have[node]
        return together
