"""Pieces on their way: begun, parted among connections, done, broken off."""

import heapq
from collections.abc import Callable
from math import inf

from bench.sim.state import IDLE, Flow, State

_HALF = 2
_LEAST_PART = 16 * 1024
_FINEST = 64
_TRICKLE = 0.02
_SCARCE = 0.05


_News = tuple[int, int]
"""A node, and a piece that it has."""


class Transfers:
    """Moves pieces in `state`. Between two sharings of the links, a connection that begins gets
    what its links have left, and one that ends gives it back: no link ever carries too much.
    """

    def __init__(self, state: State, completed: Callable[[int, int, float], None]) -> None:
        """`completed` is called with a node, a piece that it now has, and the time."""
        self.state = state
        self.completed = completed
        self.until = 0.0
        self.heap: list[tuple[float, int, Flow | _News]] = []
        self.news: list[tuple[float, int, _News]] = []
        self._order = 0
        self._least = max(_LEAST_PART, state.size / _FINEST)

    def begin(self, flow: Flow, now: float) -> bool:
        """Gives an idle connection something to do, where there is anything."""
        state = self.state
        if flow.closing or (flow.inside and not state.policy.endgame and self._busy(flow)):
            return False
        if among := state.candidates(flow):
            self._take(flow, state.choose(flow, among))
        elif not self._share_work(flow, self._spare(flow), now):
            return False
        self._start(flow, now)
        return True

    def _busy(self, flow: Flow) -> bool:
        """Inside a LAN large pieces go one after another: many at a time would send the same large
        piece many times from its first owner, where real, small ones go on from everybody.
        """
        state = self.state
        return any(state.spare[link] < state.capacity[link] * _SCARCE for link in flow.links)

    def _spare(self, flow: Flow) -> float:
        return min(self.state.spare[link] for link in flow.links)

    def _start(self, flow: Flow, now: float) -> None:
        state = self.state
        flow.at = now
        state.active[flow] = None
        flow.rate = self._spare(flow)
        for link in flow.links:
            state.spare[link] -= flow.rate
        self._fill(flow)
        self.schedule(flow)

    def schedule(self, flow: Flow) -> None:
        """Notes when the current part ends, if that is before rates change."""
        if flow.rate > 0 and (end := flow.at + flow.left / flow.rate) <= self.until:
            self._order += 1
            heapq.heappush(self.heap, (end, self._order, flow))

    def _take(self, flow: Flow, piece: int) -> None:
        """Makes `piece` the current one of `flow`."""
        state, target = self.state, flow.target
        self._reserve(flow, piece)
        flow.piece = piece
        flow.left = flow.part = state.rest[target].pop(piece, state.size)
        state.begun[target] &= ~(1 << piece)
        parts = state.parts[target]
        parts[piece] = parts.get(piece, 0) + 1

    def _reserve(self, flow: Flow, piece: int) -> None:
        state, target, bit = self.state, flow.target, 1 << piece
        state.want[target] &= ~bit
        state.flight[target] |= bit
        if not flow.inside:
            state.entering[state.site[target]] |= bit
            state.bringing[target] |= bit

    def _fill(self, flow: Flow) -> None:
        """Asks ahead, so that the connection does not run dry."""
        state = self.state
        ahead = flow.rate * state.policy.queue - flow.left - len(flow.queue) * state.size
        while ahead > 0:
            among = state.candidates(flow)
            if not among:
                return
            piece = state.choose(flow, among)
            self._reserve(flow, piece)
            flow.queue.append(piece)
            ahead -= state.size

    def _share_work(self, flow: Flow, rate: float, now: float) -> bool:
        """Takes over a part of what a slower connection of the target is fetching (the last blocks
        are asked of everybody; a large piece of the model stands for many small ones).
        """
        state, target = self.state, flow.target
        if (
            flow.hub_pieces
            or (state.policy.endgame and state.want[target])
            or state.is_spared(flow)
        ):
            return False
        common = state.flight[target] & state.told[flow.source] & state.rooted
        if not state.policy.endgame:
            common &= state.bringing[target]
        if not common:
            return False
        for other in (*state.inn[target].values(), *state.hub_flows[target].values()):
            if other.queue and (piece := self._from_queue(other, common)) is not None:
                self._take(flow, piece)
                return True
        slow = self._slowest(flow, common, rate, now)
        if slow is None:
            return False
        if state.policy.endgame:
            self._copy(flow, slow, now)
        else:
            self._part(flow, slow, rate, now)
        return True

    def _slowest(self, flow: Flow, common: int, rate: float, now: float) -> Flow | None:
        """The connection that would take longest for a part of what `flow` could bring too."""
        slowest, longest = None, 0.0
        for other in (
            *self.state.inn[flow.target].values(),
            *self.state.hub_flows[flow.target].values(),
        ):
            if other.piece == IDLE or not common >> other.piece & 1 or other.late or other.rival:
                continue
            left = other.left - other.rate * (now - other.at)
            if left <= self._least * _HALF or rate < other.rate * _TRICKLE:
                continue
            takes = left / other.rate if other.rate else inf
            if takes > longest:
                slowest, longest = other, takes
        return slowest

    def _copy(self, flow: Flow, slow: Flow, now: float) -> None:
        """Asks for the same bytes twice, as clients do at the end; the first to come counts."""
        self.settle(slow, now)
        self._account(slow, slow.part - slow.left)
        flow.piece = slow.piece
        flow.left = flow.part = slow.part = slow.left
        flow.rival, slow.rival = slow, flow

    def _outrun(self, flow: Flow, now: float) -> None:
        """The rival of `flow` was first: what is in buffers still comes, for nothing."""
        self.settle(flow, now)
        state = self.state
        kept = min(flow.left, flow.rate * state.policy.buffered)
        self._account(flow, flow.part - flow.left + kept)
        state.wasted += flow.part - flow.left + kept
        flow.left, flow.part = kept, 0.0
        flow.rival, flow.late = None, True
        self.schedule(flow)

    def _from_queue(self, other: Flow, common: int) -> int | None:
        for piece in reversed(other.queue):
            if common >> piece & 1:
                other.queue.remove(piece)
                return piece
        return None

    def _part(self, flow: Flow, slow: Flow, rate: float, now: float) -> None:
        self.settle(slow, now)
        both = rate + slow.rate
        share = slow.left * (rate / both if both > 0 else 1 / _HALF)
        share = min(max(share, self._least), slow.left - self._least)
        slow.left -= share
        slow.part -= share
        flow.piece = slow.piece
        flow.left = flow.part = share
        self.state.parts[flow.target][flow.piece] += 1
        self.schedule(slow)

    def settle(self, flow: Flow, now: float) -> None:
        """Counts what has come since the last time."""
        if now > flow.at:
            came = min(flow.rate * (now - flow.at), flow.left)
            flow.left -= came
            flow.moved += came
            flow.at = now

    def advance(self, until: float) -> None:
        """Carries everything on to the time `until`, in the order in which parts end."""
        heap = self.heap
        while self.news and self.news[0][0] <= until:
            heapq.heappush(heap, heapq.heappop(self.news))
        while heap and heap[0][0] <= until:
            end, _, flow = heapq.heappop(heap)
            if isinstance(flow, tuple):
                node, piece = flow
                if self.state.here[node]:
                    self._announce(node, 1 << piece, end)
                continue
            if flow.piece == IDLE or flow.rate <= 0:
                continue
            due = flow.at + flow.left / flow.rate
            if due > end + 1e-9 * (1 + end):  # it was parted or broken off since
                continue
            self._finish(flow, end)

    def _finish(self, flow: Flow, now: float) -> None:
        target, piece = flow.target, flow.piece
        flow.moved += flow.left
        flow.left = 0.0
        flow.at = now
        self._account(flow, flow.part)
        flow.piece = IDLE
        whole = not flow.late and self._done(target, piece)
        flow.late = False
        if rival := flow.rival:
            # The part counts once: where it was parted before, as that of the first to come.
            flow.rival = None
            self._outrun(rival, now)
        # The connection goes on before its neighbours hear of the piece: its place is its own.
        self._go_on(flow, now)
        if whole:
            self._complete(target, piece, now)

    def _go_on(self, flow: Flow, now: float) -> None:
        """The next piece of a connection that is done with one."""
        if flow.queue:
            self._next_queued(flow)
        elif flow.closing:
            self._rest(flow)
        elif among := self.state.candidates(flow):
            self._take(flow, self.state.choose(flow, among))
        elif not self._share_work(flow, flow.rate + self._spare(flow), now):
            self._rest(flow)
            if flow.inside and not self.state.policy.endgame:
                self._pass_on(flow, now)
        if flow.piece != IDLE:
            self._fill(flow)
            self.schedule(flow)

    def _pass_on(self, flow: Flow, now: float) -> None:
        """What a connection inside a LAN leaves free goes to another one of either end."""
        for flows in (self.state.out[flow.source], self.state.inn[flow.target]):
            for other in flows.values():
                if other.inside and other.piece == IDLE and self.begin(other, now):
                    break

    def _done(self, node: int, piece: int) -> bool:
        """A part has come; whether the piece is whole now."""
        parts = self.state.parts[node]
        parts[piece] -= 1
        if parts[piece]:
            return False
        del parts[piece]
        self._landed(node, 1 << piece)
        return piece not in self.state.rest[node]

    def _next_queued(self, flow: Flow) -> None:
        piece = flow.queue.pop(0)
        flow.piece = piece
        flow.left = flow.part = self.state.rest[flow.target].pop(piece, self.state.size)
        self.state.begun[flow.target] &= ~(1 << piece)
        parts = self.state.parts[flow.target]
        parts[piece] = parts.get(piece, 0) + 1

    def _rest(self, flow: Flow) -> None:
        state = self.state
        for link in flow.links:
            state.spare[link] += flow.rate
        flow.rate = 0.0
        flow.piece = IDLE
        state.active.pop(flow, None)

    def _account(self, flow: Flow, amount: float) -> None:
        state = self.state
        state.sent[flow.source] += amount
        state.received[flow.target] += amount
        if not flow.inside:
            state.entered[state.site[flow.target]] += amount

    def _complete(self, node: int, piece: int, now: float) -> None:
        """A node has a piece. Where its way out is full, the news waits behind other bytes."""
        state, bit = self.state, 1 << piece
        state.have[node] |= bit
        state.held[node] += 1
        state.near_has[state.site[node]] |= bit
        state.want[node] &= ~bit
        if state.policy.endgame and state.spare[node] < state.capacity[node] * _SCARCE:
            self._order += 1
            heard = now + state.policy.buffered
            news: tuple[float, int, _News] = (heard, self._order, (node, piece))
            if heard <= self.until:
                heapq.heappush(self.heap, news)
            else:
                heapq.heappush(self.news, news)
        else:
            self._announce(node, bit, now)
        self.completed(node, piece, now)

    def _announce(self, node: int, bit: int, now: float) -> None:
        """The neighbours hear of a piece, and who waited for it begins."""
        state = self.state
        state.told[node] |= bit
        for other in state.peers[node]:
            state.counts[other].add(bit)
        if not bit & state.rooted:
            return
        slow = state.flight if state.policy.endgame else state.bringing
        for flow in state.out[node].values():
            if flow.piece == IDLE:
                target = flow.target
                if (state.want[target] | slow[target]) & bit:
                    self.begin(flow, now)

    def _landed(self, node: int, bit: int) -> None:
        """A piece is no longer under way to `node`."""
        state = self.state
        state.flight[node] &= ~bit
        if state.bringing[node] & bit:
            state.bringing[node] &= ~bit
            state.entering[state.site[node]] &= ~bit

    def stop(self, flow: Flow, now: float) -> None:
        """Breaks off: what has come of the piece is kept, the rest is wanted again."""
        if flow.piece == IDLE:
            return
        state, target = self.state, flow.target
        self.settle(flow, now)
        self._account(flow, flow.part - flow.left)
        for piece in flow.queue:
            self._landed(target, 1 << piece)
            state.want[target] |= 1 << piece
        flow.queue.clear()
        piece, bit = flow.piece, 1 << flow.piece
        if flow.late or flow.rival:  # the other copy goes on; what came of this one is lost
            if flow.rival:
                state.wasted += flow.part - flow.left
                flow.rival.rival = None
            flow.rival, flow.late = None, False
            self._rest(flow)
            return
        parts = state.parts[target]
        parts[piece] -= 1
        if not parts[piece]:
            del parts[piece]
            self._landed(target, bit)
        state.rest[target][piece] = state.rest[target].get(piece, 0.0) + flow.left
        state.begun[target] |= bit
        state.want[target] |= bit
        self._rest(flow)

    def wake(self, node: int, now: float) -> None:
        """Tries every idle connection that sends to `node`."""
        state = self.state
        for flow in (*state.inn[node].values(), *state.hub_flows[node].values()):
            if flow.piece == IDLE:
                self.begin(flow, now)
