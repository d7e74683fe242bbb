"""The fetch plan of a file: as which payload it comes just now, and from where."""

from dataclasses import dataclass

from outlast.codec.merkle import Tree
from outlast.codec.payload import Payload
from outlast.fetch.source_state import SourceState


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """How a file comes.

    `payload` is what is fetched; None: the plain bytes, of which no root is known yet. `tree`
    checks each piece of it. `origin`: hubs and mirrors may be asked; `peers`: the names of nodes
    that have it whole and may be asked; `swarm`: pieces are exchanged with other nodes.
    """

    payload: Payload | None = None
    tree: Tree | None = None
    origin: bool = True
    peers: frozenset[str] = frozenset()
    swarm: bool = False

    @property
    def is_plain(self) -> bool:
        return self.payload is None or self.payload.is_plain

    def admits(self, source: SourceState) -> bool:
        """Whether `source` may be asked for a piece."""
        if source.is_peer:
            return source.name in self.peers
        return self.origin and self.is_plain

    @property
    def is_open(self) -> bool:
        """Whether any source may be asked."""
        return self.origin or self.swarm or bool(self.peers)

    @property
    def summary(self) -> str:
        """For the log: ``capsule from 2 peers and the swarm``."""
        peers = "1 peer" if len(self.peers) == 1 else f"{len(self.peers)} peers"
        places = ((self.origin, "the origin"), (self.peers, peers), (self.swarm, "the swarm"))
        found = [name for is_asked, name in places if is_asked]
        form = "plain" if self.payload is None else self.payload.form.value
        return f"{form} from {' and '.join(found)}" if found else "from no source yet"


DIRECT = FetchPlan()
"""The plain bytes, from the sources that were named."""
CLOSED = FetchPlan(origin=False)
"""From no source, for now."""


class PlanChangedError(Exception):
    """Ends a download whose file starts again with another plan; never leaves a transfer."""
