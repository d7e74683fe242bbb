"""Unchoking: to whom outside its LAN a node sends. Inside, everybody may ask (as in libtorrent,
whose peers of the local network count against no slots).
"""

from bench.sim.state import IDLE, Flow, State
from bench.sim.transfer import Transfers


def open_inside(state: State, node: int) -> list[Flow]:
    """The connections between a node that comes and its LAN neighbours that are here."""
    opened = []
    for other in state.near[node]:
        if not state.here[other]:
            continue
        for source, target in ((node, other), (other, node)):
            if target not in state.out[source]:
                opened.append(join(state, source, target, inside=True))
    return opened


def join(state: State, source: int, target: int, *, inside: bool) -> Flow:
    flow = Flow(source, target, state.links(source, target), inside=inside, hub_pieces=0)
    state.out[source][target] = flow
    state.inn[target][source] = flow
    return flow


def part(state: State, transfers: Transfers, flow: Flow, now: float) -> None:
    """Closes a connection."""
    transfers.stop(flow, now)
    state.out[flow.source].pop(flow.target, None)
    state.inn[flow.target].pop(flow.source, None)


def round_of(state: State, transfers: Transfers, node: int, now: float) -> None:
    """One round of a node: the best senders to it keep their slots, one goes by chance; who has
    everything gives its slots in turn. A slot that is taken away is free once its piece is done:
    a large piece that is broken off would cost what many small ones do not.
    """
    flows = state.out[node]
    chosen = _chosen(state, node, _eager(state, node))
    taken = 0
    for flow in [flow for flow in flows.values() if not flow.inside]:
        flow.closing = flow.target not in chosen
        if flow.closing and flow.piece == IDLE:
            part(state, transfers, flow, now)
        else:
            taken += 1
    for other in chosen:
        if taken < state.policy.slots and other not in flows:
            join(state, node, other, inside=False)
            taken += 1
    for flow in flows.values():
        if flow.piece == IDLE and not flow.inside:
            transfers.begin(flow, now)


def _eager(state: State, node: int) -> list[int]:
    """Who outside wants something of what a node has."""
    offered, flows = state.offered(node), state.out[node]
    if not offered:
        return []
    there = [other for other in state.far[node] if state.here[other] and state.reaches(node, other)]
    return [
        other
        for other in there
        if state.want[other] & offered
        or ((held := flows.get(other)) is not None and held.piece != IDLE)
    ]


def _chosen(state: State, node: int, eager: list[int]) -> dict[int, None]:
    slots = state.policy.slots
    if len(eager) <= slots:
        return dict.fromkeys(eager)
    if state.have[node] == state.everything:
        kept = [other for other in state.out[node] if other in set(eager)]
        kept = kept[1:slots] if len(kept) >= slots else kept  # the oldest one gives way
    else:
        came = {other: _came(state, other, node) for other in eager}
        best = sorted(eager, key=lambda other: came[other], reverse=True)
        kept = [other for other in best[: slots - 1] if came[other] > 0]
        kept += [other for other in state.out[node] if other in came and other not in kept]
        kept = kept[: slots - 1]
    rest = [other for other in eager if other not in set(kept)]
    state.random.shuffle(rest)
    return dict.fromkeys([*kept, *rest[: slots - len(kept)]])


def _came(state: State, source: int, target: int) -> float:
    flow = state.out[source].get(target)
    return flow.moved if flow is not None else 0.0


def forget(state: State) -> None:
    """After a round: what was sent before counts half."""
    for flows in state.out:
        for flow in flows.values():
            flow.moved /= 2
