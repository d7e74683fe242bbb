"""A LAN of nodes that elect, simulated: a clock of our own, and datagrams that are late or lost as
the beacon's are. Deterministic for a seed.
"""

import random
from dataclasses import dataclass, field

from outlast.swarm.lan.datagrams import ANNOUNCE_S, WANT_S, Announcement, Heard, Want, Wish
from outlast.swarm.lan.election import Election, Role
from outlast.swarm.tuning import LanTuning

TICK = 0.05
KEY = b"k" * 20
SIZE = 1 << 30
LOST_IN_A_ROW = 2
_FIRST = (0.0, 0.3, 1.0)


@dataclass(slots=True)
class Node:
    """A process with a beacon and an election, that wants the one blob."""

    id: bytes
    born: float
    able: bool
    limit: int | None = None
    election: Election = field(init=False)
    said: dict[bytes, Wish] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    fetched: float = 0.0
    announce: list[float] = field(init=False)
    repeat: float = field(init=False)
    answered: float = float("-inf")

    def __post_init__(self) -> None:
        self.election = Election(self.id, self.born, LanTuning(resign_s=5.0))
        self.want(self.born)
        self.announce = [self.born + after for after in _FIRST]
        self.repeat = self.born

    def want(self, now: float) -> None:
        self.election.want(KEY, now, able=self.able, limit=self.limit, size=SIZE)

    def fetches(self, now: float) -> bool:
        return self.election.state(KEY, now).role is Role.FETCH


class Electorate:
    """`delay`: the longest that a datagram takes; `loss`: the share that is lost, never more than
    two in a row between the same two nodes; `rate`: bytes/s that a fetcher fetches.
    """

    def __init__(self, seed: int, *, delay: float = 0.0, loss: float = 0.0, rate: int = 0) -> None:
        self.now = 0.0
        self.nodes: dict[bytes, Node] = {}
        self.loss = loss
        self.overlap: dict[int, float] = {}
        """Seconds in which each partition had more than one fetcher."""
        self._delay = delay
        self._rate = rate
        self._random = random.Random(seed)
        self._lost: dict[tuple[bytes, bytes], int] = {}
        self._mail: list[tuple[float, int, bytes, Heard]] = []
        self._sent = 0
        self._side: dict[bytes, int] = {}

    def add(self, name: int, *, able: bool = True, limit: int | None = None) -> Node:
        node = Node(bytes([name]) * 20, self.now, able, limit)
        self.nodes[node.id] = node
        return node

    def crash(self, node: bytes) -> None:
        self.nodes.pop(node, None)

    def part(self, sides: dict[bytes, int]) -> None:
        """Nodes on different sides do not hear each other; who is not named is on side 0."""
        self._side = sides

    def side(self, node: bytes) -> int:
        return self._side.get(node, 0)

    def fetchers(self, side: int = 0) -> list[Node]:
        found = (node for node in self.nodes.values() if self.side(node.id) == side)
        return [node for node in found if node.fetches(self.now)]

    def sides(self) -> set[int]:
        return {self.side(node) for node in self.nodes}

    def send(self, sender: Node, value: Heard) -> None:
        for other in self.nodes.values():
            pair = sender.id, other.id
            if other is sender or self.side(sender.id) != self.side(other.id):
                continue
            lost = self._lost.get(pair, 0)
            if lost < LOST_IN_A_ROW and self._random.random() < self.loss:
                self._lost[pair] = lost + 1
                continue
            self._lost[pair] = 0
            self._sent += 1
            at = self.now + self._random.uniform(0, self._delay)
            self._mail.append((at, self._sent, other.id, value))

    def step(self) -> None:
        """One tick of the clock."""
        self.now += TICK
        due = sorted(mail for mail in self._mail if mail[0] <= self.now)
        self._mail = [mail for mail in self._mail if mail[0] > self.now]
        for _, _, receiver, value in due:
            if receiver in self.nodes and self.side(receiver) == self.side(value.node):
                self._hear(self.nodes[receiver], value)
        for node in list(self.nodes.values()):
            self._speak(node)
            if node.fetches(self.now):
                node.fetched += min(self._rate, node.limit or self._rate) * TICK
                node.election.progress(KEY, int(node.fetched))
        for side in self.sides():
            if len(self.fetchers(side)) > 1:
                self.overlap[side] = self.overlap.get(side, 0.0) + TICK

    def _hear(self, node: Node, value: Heard) -> None:
        node.election.hear(value, self.now)
        if value.node not in node.known or (isinstance(value, Announcement) and value.asks):
            node.known.add(value.node)
            if node.answered + 1.0 <= self.now:
                node.answered = self.now
                self.send(node, Announcement(node.id, "a", 1))
                node.repeat = self.now

    def _speak(self, node: Node) -> None:
        while node.announce and node.announce[0] <= self.now:
            asks = node.announce[0] < node.born + ANNOUNCE_S
            self.send(node, Announcement(node.id, "a", 1, asks))
            node.announce.pop(0)
        changed = {wish.key: wish for wish in node.election.tick(self.now)}
        node.said = {k: w for k, w in {**node.said, **changed}.items() if not w.gone}
        said = {**node.said, **changed} if node.repeat <= self.now else changed
        if node.repeat <= self.now:
            node.repeat = self.now + WANT_S
        if said:
            self.send(node, Want(node.id, "a", 1, tuple(said.values())))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.step()
