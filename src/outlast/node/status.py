"""What a node says of itself, for ``outlast status``."""

import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from outlast import __version__
from outlast.core.status import (
    DhtStatus,
    NeighbourStatus,
    NodeStatus,
    PeerStatus,
    QuotaStatus,
    TrackerStatus,
)
from outlast.node.node import Node
from outlast.store.uses import file_name

_MOST_NAMED = 10
"""Damaged files that are named: each costs a look into the manifests."""

if TYPE_CHECKING:
    from outlast.swarm.client.torrent import PeerView, Torrent


class Report:
    """The status of a node, whenever it is asked for."""

    def __init__(
        self,
        node: Node,
        command: str,
        sent: Callable[[], int],
        quota: Callable[[], QuotaStatus] = QuotaStatus,
    ) -> None:
        """`command`: what the process was started for; `sent`: bytes that went out by HTTP;
        `quota`: that of the mirror in this process.
        """
        self._quota = quota
        self._node = node
        self._command = command
        self._sent = sent
        self._began = time.monotonic()
        self._last = (self._began, 0, 0)

    def status(self) -> NodeStatus:
        """As it is now. Takes a moment: libtorrent is asked."""
        node = self._node
        node.session.refresh()
        counters = node.session.counters
        transfers = [
            status for coordinator in list(node.coordinators) for status in coordinator.statuses()
        ]
        sent = counters.get("net.sent_payload_bytes", 0) + self._sent()
        received = counters.get("net.recv_payload_bytes", 0) + node.incoming.received
        down, up = self._rates(received, sent)
        return NodeStatus(
            pid=os.getpid(),
            command=self._command,
            version=__version__,
            node=node.id.hex(),
            uptime=time.monotonic() - self._began,
            peer_port=node.peer_port,
            swarm_port=node.session.port,
            private=node.private,
            down_rate=down,
            up_rate=up,
            received=received,
            sent=sent,
            seeding=node.seeding,
            damaged=len(damaged := node.archive.damage.all()),
            damaged_files=tuple(
                file_name(node.archive, blob) for blob in sorted(damaged)[:_MOST_NAMED]
            ),
            rules=node.archive.rules.status(),
            dht=_dht(node.session.dht_nodes),
            quota=self._quota(),
            trackers=_trackers(node),
            transfers=tuple(transfers),
            peers=tuple(_peers(node)),
            neighbours=_neighbours(node),
            copies=node.copies.status,
            parity=node.parity,
        )

    def _rates(self, received: int, sent: int) -> tuple[float, float]:
        """Since the last question; the first answers for the whole time so far."""
        now = time.monotonic()
        before, old_received, old_sent = self._last
        took = max(0.001, now - before)
        self._last = now, received, sent
        return max(0, received - old_received) / took, max(0, sent - old_sent) / took


def _dht(nodes: int | None) -> DhtStatus:
    return DhtStatus(nodes is not None, nodes or 0)


def _trackers(node: Node) -> tuple[TrackerStatus, ...]:
    return tuple(
        TrackerStatus(url, peers, problem) for url, (peers, problem) in node.trackers.items()
    )


def _neighbours(node: Node) -> tuple[NeighbourStatus, ...]:
    return tuple(
        NeighbourStatus(
            node=n.node.hex(),
            address=n.host,
            peer_port=n.peer_port,
            swarm_port=n.swarm_port,
            static=n.static,
            heard=max(0.0, node.contacts.silent_for(n)),
        )
        for n in node.contacts.neighbours()
    )


def _peers(node: Node) -> Iterable[PeerStatus]:
    """The peers that the swarm is connected to, each once, over all torrents."""
    found: dict[str, list[tuple[Torrent, PeerView]]] = {}
    for torrent in node.session.torrents():
        for peer in torrent.peers():
            if not peer.connecting:
                found.setdefault(peer.address, []).append((torrent, peer))
    for address, rows in sorted(found.items()):
        views = [view for _, view in rows]
        yield PeerStatus(
            address=address,
            client=views[0].client,
            transport="utp" if views[0].utp else "tcp",
            form=", ".join(sorted({node.form_of(torrent.tree.root) for torrent, _ in rows})),
            down_rate=sum(view.down_rate for view in views),
            up_rate=sum(view.up_rate for view in views),
            received=sum(view.down for view in views),
            sent=sum(view.up for view in views),
        )
    for address in node.banned:
        if address not in found:
            yield PeerStatus(
                address=address,
                client="",
                transport="",
                form="",
                down_rate=0.0,
                up_rate=0.0,
                received=0,
                sent=0,
                banned=True,
            )
