"""The election of one holder for each LAN and blob, and the holders' connections to the hub.

The rule is the product's (`outlast.swarm.election`): of the nodes that want a blob and reach the
origin, the one with the highest sha256 of node and blob begins after a time of collecting; a holder
that is not heard any more counts as dead after a while, and the next one follows.
"""

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
        self.elections = 0
        self._blobs = [state.payload.blob(number) for number in range(state.payload.blobs)]

    def wanted(self, site: int, blob: int, now: float) -> None:
        """Somebody in the site wants the blob."""
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
                self.holder[key] = max(able, key=lambda node: score(node, blob))
                self.elections += 1

    def _wants(self, node: int, blob: int) -> bool:
        state = self.state
        wanted = state.want[node] | state.flight[node]
        return state.here[node] and bool(wanted & self._blobs[blob])

    def lapsed(self, node: int, now: float) -> None:
        """A holder went away, or has the hub no more: noticed after a while."""
        for key in [key for key, holder in self.holder.items() if holder == node]:
            del self.holder[key]
            self.due[key] = now + self.state.policy.dead

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
            self.state.lanes[node].pop(blob, None)

    def new_lanes(self) -> list[Flow]:
        """Connections to the hub that holders open now."""
        state, opened = self.state, []
        for (_, blob), node in self.holder.items():
            lanes = state.lanes[node]
            if blob in lanes or len(lanes) >= state.policy.lanes or not state.reaches_hub(node):
                continue
            if not state.want[node] & self._blobs[blob]:
                continue
            flow = Flow(
                state.hub, node, state.links(state.hub, node), inside=False, lane=self._blobs[blob]
            )
            lanes[blob] = flow
            opened.append(flow)
        return opened
