"""The tables of ``outlast status``, as text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outlast.cli.screen.job_rate import duration
from outlast.cli.screen.render import percent, plural, rate
from outlast.core.errors import one_line
from outlast.core.sizes import human_size
from outlast.core.status import (
    CopiesStatus,
    NeighbourStatus,
    NodeStatus,
    ParityStatus,
    PeerStatus,
    QuotaStatus,
    RulesStatus,
    TransferStatus,
)

if TYPE_CHECKING:
    from outlast.cli.documents.document import Document

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A line of text, a table, or both. The first of `rows` has the headings; columns numbered in
    `right` are right-aligned.
    """

    title: str = ""
    rows: tuple[Row, ...] = ()
    right: tuple[int, ...] = ()


class Reported(NamedTuple):
    """What runs of a feature on an archive: for a person, and as lines of JSON."""

    sections: Sequence[Section]
    documents: "Sequence[Document]"


def sections(nodes: Iterable[NodeStatus]) -> list[Section]:
    """For each node two lines of text, more of damage, of a mirror with a quota and of parity, and
    the tables that have rows; before them the models that have fewer copies than their goals want.
    """
    nodes = list(nodes)
    found = _goals(nodes)
    for node in nodes:
        found.append(Section(_headline(node)))
        found.append(Section(_figures(node)))
        found += [Section(f"  damaged: {one_line(name)}") for name in node.damaged_files]
        if node.quota.limit:
            found.append(Section(_quota(node.quota)))
        if node.rules.asked:
            found.append(Section(_rules(node.rules)))
        if node.parity.files or node.parity.lacking:
            found.append(Section(_parity(node.parity)))
        tables = (_transfers(node), _peers(node), _neighbours(node), _trackers(node))
        found += [table for table in tables if len(table.rows) > 1]
    return found


def _goals(nodes: Iterable[NodeStatus]) -> list[Section]:
    """What the node says that knows of most goals: several nodes of one archive know the same."""
    rows = max((node.copies for node in nodes), key=len, default=())
    if not rows:
        return []
    under = [row for row in rows if not row.met]
    text = f"copies: {len(rows) - len(under):,} of {plural(len(rows), 'goal')} met"
    if not under:
        return [Section(text)]
    head = ("UNDER ITS GOAL", "COPIES", "SIZE", "HERE", "LACKING AT", "NOTE")
    return [Section(text, (head, *map(_under, under)), right=(2,))]


def _under(row: CopiesStatus) -> Row:
    notes = [
        f"{row.absent} absent" if row.absent else "",
        f"{row.failed} failed a challenge" if row.failed else "",
        row.note,
    ]
    return (
        f"{row.repo}@{row.commit[:12]}" if row.commit else row.repo,
        f"{row.copies} of {row.goal}",
        human_size(row.size) if row.commit else "-",
        "yes" if row.here else "no",
        row.sites or "-",
        ", ".join(filter(None, notes)) or "-",
    )


def _headline(node: NodeStatus) -> str:
    mode = ", private" if node.private else ""
    return one_line(
        f"outlast {node.command} (process {node.pid}, node {node.node[:12]}{mode}), "
        f"up {duration(node.uptime)}"
    )


def _figures(node: NodeStatus) -> str:
    ratio = "-" if node.ratio is None else f"{node.ratio:.2f}"
    damage = f"{plural(node.damaged, 'blob')} DAMAGED, " if node.damaged else ""
    dht = plural(node.dht.nodes, "node") if node.dht.enabled else "off"
    return one_line(
        f"  down {rate(node.down_rate)}, up {rate(node.up_rate)}, "
        f"got {human_size(node.received)}, gave {human_size(node.sent)}, ratio {ratio}, "
        f"seeding {plural(node.seeding, 'payload')}, {damage}DHT {dht}, "
        f"ports {node.peer_port} and {node.swarm_port}"
    )


def _rules(rules: RulesStatus) -> str:
    only = f", {rules.reported:,} only reported" if rules.reported else ""
    return f"  rules: {rules.allowed:,} allowed, {rules.refused:,} refused{only}"


def _quota(quota: QuotaStatus) -> str:
    return (
        f"  mirror: keeps {human_size(quota.taken)} of at most {human_size(quota.limit)}, dropped "
        f"{plural(quota.dropped, 'revision')} ({human_size(quota.freed)})"
    )


def _parity(parity: ParityStatus) -> str:
    lacking = f", {plural(parity.lacking, 'blob')} without" if parity.lacking else ""
    return f"  parity: of {plural(parity.files, 'blob')}, {human_size(parity.size)}{lacking}"


def _transfers(node: NodeStatus) -> Section:
    head = ("FILE", "FORM", "STATE", "DONE", "SIZE", "DOWN", "UP", "LACKING", "FROM", "WAITS FOR")
    return Section(rows=(head, *map(_transfer, node.transfers)), right=(3, 4, 5, 6, 7))


def _transfer(transfer: TransferStatus) -> Row:
    return (
        f"{transfer.repo}: {transfer.path}" if transfer.repo else transfer.path,
        transfer.form,
        transfer.state + (", elected" if transfer.fetcher else ""),
        percent(transfer.have, transfer.size),
        human_size(transfer.size),
        rate(transfer.down_rate),
        rate(transfer.up_rate),
        f"{transfer.lacking} of {transfer.pieces}" if transfer.lacking else "-",
        _shares(transfer),
        transfer.waits_for,
    )


def _shares(transfer: TransferStatus) -> str:
    """The share of each source in the received bytes, the largest first."""
    total = sum(share.received for share in transfer.sources)
    ordered = sorted(transfer.sources, key=lambda share: (-share.received, share.source))
    return ", ".join(f"{percent(s.received, total)} {s.source}" for s in ordered if s.received)


def _peers(node: NodeStatus) -> Section:
    head = ("PEER", "CLIENT", "OVER", "FORM", "DOWN", "UP", "GOT", "GAVE", "")
    rows = map(_peer, sorted(node.peers, key=_activity))
    return Section(rows=(head, *rows), right=(4, 5, 6, 7))


def _peer(peer: PeerStatus) -> Row:
    return (
        peer.address,
        peer.client or "-",
        peer.transport,
        peer.form or "-",
        rate(peer.down_rate),
        rate(peer.up_rate),
        human_size(peer.received),
        human_size(peer.sent),
        "BANNED" if peer.banned else "",
    )


def _activity(peer: PeerStatus) -> tuple[bool, float, str]:
    return not peer.banned, -(peer.down_rate + peer.up_rate), peer.address


def _neighbours(node: NodeStatus) -> Section:
    ordered = sorted(node.neighbours, key=lambda n: (not n.static, n.address, n.node))
    head = ("NEIGHBOUR", "ADDRESS", "PORTS", "HEARD")
    return Section(rows=(head, *map(_neighbour, ordered)))


def _neighbour(other: NeighbourStatus) -> Row:
    heard = f"{duration(other.heard)} ago" + (", static" if other.static else "")
    ports = f"{other.peer_port}, {other.swarm_port}"
    return other.node[:12] or "-", other.address, ports, heard


def _trackers(node: NodeStatus) -> Section:
    rows = [(t.url, f"{t.peers:,}", t.problem or "works") for t in node.trackers]
    return Section(rows=(("TRACKER", "PEERS", "STATE"), *rows), right=(1,))
