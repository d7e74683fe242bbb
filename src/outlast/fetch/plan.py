"""Ways: how a file comes just now, as which payload and from whom."""

from dataclasses import dataclass

from outlast.codec.merkle import Tree
from outlast.codec.payload import Payload
from outlast.fetch.source_state import SourceState


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """How a file comes.

    `payload` is what is fetched; None: its plain bytes, of which no root is known yet. `tree`
    checks each piece of it. `origin`: hubs and mirrors may be asked; `peers`: these lanes of nodes
    that hold it whole; `swarm`: pieces are exchanged with others that want it too.
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
        """Whether `lane` may be asked for a piece."""
        if source.is_peer:
            return source.name in self.peers
        return self.origin and self.is_plain

    @property
    def is_open(self) -> bool:
        """Whether anybody may be asked at all."""
        return self.origin or self.swarm or bool(self.peers)


DIRECT = FetchPlan()
"""From the sources that were named, as everybody has it."""
CLOSED = FetchPlan(origin=False)
"""From nobody, for now."""


class TurnedError(Exception):
    """Ends an arrival whose file comes another way from now on; never leaves a transfer."""
