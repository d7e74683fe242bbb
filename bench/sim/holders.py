"""The election of one holder for each LAN and blob, and the holders' connections to the hub.

The rule is the product's (`outlast.swarm.lan.election`): of the nodes that want a blob and reach
the origin, the one with the highest sha256 of node and blob begins after a time of collecting; a
holder that is not heard any more counts as dead after a while, and the next one follows.
"""

import bisect
import hashlib
from math import inf

from bench.sim.state import Flow, State


def score(node: int, blob: int) -> bytes:
    """What decides; node and blob stand for their digests."""
    return hashlib.sha256(b"%d node %d blob" % (node, blob)).digest()


class Holders:
    """Who fetches what from the hub."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._members: dict[int, list[int]] = {}
        for node, site in enumerate(state.site):
            self._members.setdefault(site, []).append(node)
        self.holder: dict[tuple[int, int], int] = {}
        """By site and blob."""
        self.due: dict[tuple[int, int], float] = {}
        """Elections under way, and when each ends."""
        self._turns: list[list[tuple[bytes, int]]] = [[] for _ in range(state.count)]
        """What each node holds or held, in the order in which it fetches that."""
        self._blobs = [state.payload.blob(number) for number in range(state.payload.blobs)]

    def wanted(self, site: int, blob: int, now: float) -> None:
        """A node of the site wants the blob."""
        key = (site, blob)
        if key not in self.holder and key not in self.due:
            self.due[key] = now + self.state.policy.collect

    def next_due(self) -> float:
        return min(self.due.values(), default=inf)

    def elect(self, now: float) -> None:
        """Ends the elections that are due."""
        for key in [key for key, at in self.due.items() if at <= now]:
            del self.due[key]
            site, blob = key
            able = [node for node in self._members[site] if self._wants(node, blob)]
            able = [node for node in able if self.state.reaches_hub(node)]
            if able:
                chosen = max(able, key=lambda node: score(node, blob))
                self.holder[key] = chosen
                bisect.insort(self._turns[chosen], (self._turn(chosen, blob), blob))

    def _wants(self, node: int, blob: int) -> bool:
        state = self.state
        wanted = state.want[node] | state.flight[node]
        return state.here[node] and bool(wanted & self._blobs[blob])

    def lapsed(self, node: int, now: float) -> None:
        """A holder went away, or has the hub no more: noticed after a while."""
        for key in [key for key, holder in self.holder.items() if holder == node]:
            del self.holder[key]
            self.due[key] = now + self.state.policy.dead

    def bereaved(self, site: int, now: float) -> None:
        """A node of the site went away, and with it what it alone had: that is wanted again."""
        state, members = self.state, self._members[site]
        there = wants = 0
        for node in members:
            if state.here[node]:
                there |= state.have[node]
                wants |= state.want[node] | state.flight[node]
        state.near_has[site] = there
        lacking = wants & ~there
        if not lacking or state.world.hub is None:
            return
        for blob, pieces in enumerate(self._blobs):
            if lacking & pieces:
                self.wanted(site, blob, now)

    def renew(self, now: float) -> None:
        """Elections for all that is wanted and has no holder (after the hub came back)."""
        for site, members in self._members.items():
            for blob in range(self.state.payload.blobs):
                if any(self._wants(node, blob) for node in members):
                    self.wanted(site, blob, now)

    def finished(self, node: int, blob: int) -> None:
        """A node has the whole blob."""
        key = (self.state.site[node], blob)
        if self.holder.get(key) == node:
            del self.holder[key]
            self.state.hub_flows[node].pop(blob, None)

    def _turn(self, node: int, blob: int) -> bytes:
        """In the order of the manifest, or each holder in an order of its own: holders of many LANs
        that all began with the same file would have nothing to give each other.
        """
        if self.state.policy.order == "listed":
            return b"%08d" % blob
        return score(blob, node)

    def new_hub_flows(self) -> list[Flow]:
        """Connections to the hub that holders open now."""
        state, opened = self.state, list[Flow]()
        free = state.policy.all_hub_flows - sum(flow.source == state.hub for flow in state.active)
        if free <= 0:
            return []
        asking = [node for node, turns in enumerate(self._turns) if turns]
        state.random.shuffle(asking)
        for node in asking:
            if len(opened) >= free:
                break
            if state.reaches_hub(node):
                opened += self._open(node, self._turns[node])
        return opened

    def _open(self, node: int, turns: list[tuple[bytes, int]]) -> list[Flow]:
        state, opened = self.state, list[Flow]()
        flows, site = state.hub_flows[node], state.site[node]
        turns[:] = [turn for turn in turns if self.holder.get((site, turn[1])) == node]
        for _, blob in turns:
            if len(flows) >= state.policy.hub_flows:
                break
            if blob in flows or not state.want[node] & self._blobs[blob]:
                continue
            links = state.links(state.hub, node)
            flow = Flow(state.hub, node, links, inside=False, hub_pieces=self._blobs[blob])
            flows[blob] = flow
            opened.append(flow)
        return opened
