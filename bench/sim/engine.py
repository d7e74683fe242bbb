"""The simulation: `simulate(world)` gives what became of it.

Events are exact in time: a piece that is done, a node that comes or goes, an election, a round of
unchoking. Rates are shared out anew at every such change of the world and at least every
`Policy.step` seconds; in between, a connection that begins takes what its links have left.
"""

import heapq
from math import inf

from bench.sim import choking
from bench.sim.holders import Holders
from bench.sim.sharing import max_min
from bench.sim.state import IDLE, State
from bench.sim.transfer import Transfers
from bench.sim.world import Event, Mark, Outcome, World

_NEVER_RATE = 1e-6


def simulate(world: World) -> Outcome:
    """Runs `world` until everybody has everything, or nothing can happen any more."""
    return _Simulation(world).run()


class _Simulation:
    def __init__(self, world: World) -> None:
        self.world = world
        self.state = State(world)
        self.transfers = Transfers(self.state, self._completed)
        self.holders = Holders(self.state)
        self.now = 0.0
        self.round_at = world.policy.settle
        self.timed: list[tuple[float, int, Event]] = []
        self.waiting = [event for event in world.events if event.at == inf]
        self._count = 0
        for event in world.events:
            self._plan(event, 0.0)
        order = range(len(world.nodes))
        self.joining = sorted(order, key=lambda node: (-world.nodes[node].joins, -node))
        self.marks: list[Mark] = []
        self.left: set[int] = set()
        self.missing_of: list[int] = []
        self._blobs = [world.payload.blob(number) for number in range(world.payload.blobs)]
        self._files: list[list[int]] = [[] for _ in world.nodes]
        """Blobs that each node has not begun, the next one last."""
        self.held = self.present = 0
        self._known = 0
        self._rescan = False
        self.ended = False

    def _plan(self, event: Event, base: float) -> None:
        if event.at != inf:
            self._count += 1
            heapq.heappush(self.timed, (base + event.at, self._count, event))

    def run(self) -> Outcome:
        while not self.ended:
            self._happen()
            if self._all_done():
                break
            if self.now >= self.round_at:
                self._round()
            self._share()
            following = self._next_event()
            if not self._moving():
                if following == inf:
                    break
                self._advance(max(following, self.now))
                self.round_at = self.now
                continue
            until = min(self.now + self.world.policy.step, following, self.round_at)
            self._advance(max(until, self.now))
        return self._outcome()

    # What happens at a time

    def _happen(self) -> None:
        state, now = self.state, self.now
        while self.joining and self.world.nodes[self.joining[-1]].joins <= now:
            self._join(self.joining.pop())
        while self.timed and self.timed[0][0] <= now:
            self._apply(heapq.heappop(self.timed)[2])
        for event in [event for event in self.waiting if self._reached(event)]:
            self.waiting.remove(event)
            self._apply(event)
        self.holders.elect(now)
        if now >= state.policy.settle:
            for flow in self.holders.new_hub_flows():
                self.transfers.begin(flow, now)

    def _next_event(self) -> float:
        following = min(self.holders.next_due(), self.timed[0][0] if self.timed else inf)
        if self.transfers.news:
            following = min(following, self.transfers.news[0][0])
        if self.joining:
            following = min(following, self.world.nodes[self.joining[-1]].joins)
        if self.now < self.state.policy.settle:
            following = min(following, self.state.policy.settle)
        return following

    def _reached(self, event: Event) -> bool:
        if event.progress is not None:
            return self._progress() >= event.progress
        return event.union and self._known == self.state.everything

    def _progress(self) -> float:
        return self.held / (self.present * self.state.total) if self.present else 0.0

    def _apply(self, event: Event) -> None:
        state = self.state
        missing = (state.everything & ~state.union()).bit_count()
        self.marks.append(
            Mark(event.kind, self.now, self._progress(), missing, state.sent[state.hub])
        )
        if event.kind == "hub-down":
            state.hub_up = False
            self._drop_hub_flows()
        elif event.kind == "hub-up":
            state.hub_up = True
            self.holders.renew(self.now)
        elif event.kind == "leave":
            for node in event.nodes:
                self._leave(node)
        elif event.kind == "end":
            self.ended = True
        else:
            self._divide(event.kind == "split")
        for follower in event.then:
            self._plan(follower, self.now)

    def _join(self, node: int) -> None:
        state = self.state
        state.here[node] = True
        state.near_has[state.site[node]] |= state.have[node]
        if not self.world.nodes[node].seed:
            self.present += 1
            self._files[node] = list(range(self.world.payload.blobs))[::-1]
        for other in (*state.near[node], *state.far[node]):
            if state.here[other] and state.reaches(node, other):
                self._meet(node, other)
        flows = choking.open_inside(state, node)
        if state.policy.order == "spread":
            self._want(node, len(self._files[node]))
        else:
            self._want(node, state.policy.window)
        if state.have[node] == state.everything:
            state.done[node] = self.now
        if self.now >= state.policy.settle:
            for flow in flows:
                self.transfers.begin(flow, self.now)

    def _meet(self, one: int, other: int) -> None:
        state = self.state
        state.peers[one].append(other)
        state.peers[other].append(one)
        state.counts[one].add(state.told[other])
        state.counts[other].add(state.told[one])

    def _lose(self, one: int, other: int) -> None:
        state = self.state
        for source, target in ((one, other), (other, one)):
            if flow := state.out[source].get(target):
                choking.part(state, self.transfers, flow, self.now)
        state.peers[one].remove(other)
        state.peers[other].remove(one)
        state.counts[one].drop(state.told[other])
        state.counts[other].drop(state.told[one])

    def _want(self, node: int, blobs: int) -> None:
        """The node begins with its next files."""
        state, files = self.state, self._files[node]
        for _ in range(min(blobs, len(files))):
            blob = files.pop()
            wanted = self._blobs[blob] & ~state.have[node]
            state.want[node] |= wanted
            if wanted and state.world.hub is not None:
                self.holders.wanted(state.site[node], blob, self.now)

    def _leave(self, node: int) -> None:
        state = self.state
        if not state.here[node]:
            return
        for flow in list(state.hub_flows[node].values()):
            self.transfers.stop(flow, self.now)
        state.hub_flows[node].clear()
        for other in list(state.peers[node]):
            self._lose(node, other)
        state.here[node] = False
        self.left.add(node)
        if not self.world.nodes[node].seed:
            self.present -= 1
            self.held -= state.held[node]
        self.holders.lapsed(node, self.now)
        self._known = state.union()
        self.holders.bereaved(state.site[node], self.now)
        self._rescan = True

    def _drop_hub_flows(self) -> None:
        state = self.state
        for node in range(state.count):
            if state.hub_flows[node] and not state.reaches_hub(node):
                for flow in state.hub_flows[node].values():
                    self.transfers.stop(flow, self.now)
                state.hub_flows[node].clear()
                self.holders.lapsed(node, self.now)
        self._rescan = True

    def _divide(self, split: bool) -> None:
        state = self.state
        for node in range(state.count):
            for other in state.far[node]:
                apart = state.region[node] != state.region[other] and node < other
                if apart and state.here[node] and state.here[other]:
                    if split:
                        self._lose(node, other)
                    else:
                        self._meet(node, other)
        state.split = split
        if split:
            self._drop_hub_flows()
        elif state.hub_up:
            self.holders.renew(self.now)
        self.round_at = self.now

    # What goes on between

    def _completed(self, node: int, piece: int, now: float) -> None:
        state = self.state
        self._known |= 1 << piece
        if not self.world.nodes[node].seed:
            self.held += 1
        blob = piece // self.world.payload.pieces
        if self._blobs[blob] & ~state.have[node]:
            return
        self.holders.finished(node, blob)
        if not self._blobs[blob] & state.rooted:
            state.rooted |= self._blobs[blob]
            self._rescan = True
        if self._files[node]:
            self.now, before = now, self.now
            self._want(node, 1)
            self.now = before
            self.transfers.wake(node, now)
        if state.have[node] == state.everything:
            state.done[node] = now

    def _round(self) -> None:
        state, transfers = self.state, self.transfers
        if self.now < state.policy.settle:
            return
        for node in range(state.count):
            if state.here[node] and state.far[node]:
                choking.round_of(state, transfers, node, self.now)
        choking.forget(state)
        self._scan()
        self.round_at = self.now + state.policy.round

    def _scan(self) -> None:
        """Everybody who could begin does."""
        for node in range(self.state.count):
            if self.state.here[node] and (self.state.want[node] or self.state.flight[node]):
                self.transfers.wake(node, self.now)
        self._rescan = False

    def _share(self) -> None:
        state = self.state
        if self._rescan and self.now >= state.policy.settle:
            self._scan()
        flows = list(state.active)
        for flow in flows:
            self.transfers.settle(flow, self.now)
        rates, state.spare = max_min([flow.links for flow in flows], state.capacity)
        for flow, rate in zip(flows, rates, strict=True):
            flow.rate = rate

    def _moving(self) -> bool:
        return any(flow.rate > _NEVER_RATE for flow in self.state.active)

    def _advance(self, until: float) -> None:
        transfers = self.transfers
        transfers.until = until
        transfers.heap.clear()
        for flow in self.state.active:
            if flow.piece != IDLE:
                transfers.schedule(flow)
        transfers.advance(until)
        self.now = until

    def _all_done(self) -> bool:
        if self.joining or self.held < self.present * self.state.total:
            return False
        return not any(event.kind in {"leave", "merge"} for _, _, event in self.timed)

    def _outcome(self) -> Outcome:
        state, world = self.state, self.world
        for flow in list(state.active):
            self.transfers.stop(flow, self.now)
        source = state.hub
        origin = state.sent[source] if world.hub else 0.0
        if not world.hub:
            origin = sum(state.sent[i] for i, node in enumerate(world.nodes) if node.seed)
        return Outcome(
            done=tuple(state.done),
            joined=tuple(node.joins for node in world.nodes),
            weights=tuple(0 if node.seed else node.weight for node in world.nodes),
            left=frozenset(self.left),
            progress=tuple(held / state.total for held in state.held[: state.count]),
            missing=(state.everything & ~state.union()).bit_count(),
            origin=origin,
            entered=tuple(state.entered),
            sent=tuple(state.sent),
            received=tuple(state.received),
            wasted=state.wasted,
            marks=tuple(self.marks),
            ended=self.now,
        )
