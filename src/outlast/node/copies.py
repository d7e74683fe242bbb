"""What a node says of the copies of models, to its static peers and to ``status``."""

from dataclasses import dataclass

from outlast.core.status import CopiesStatus
from outlast.sources.peer_documents import CopiesSaid


@dataclass(slots=True)
class CopiesBoard:
    """Holds the last word of what looks after copies; nothing does where `said` is None. Each of
    the two is replaced as a whole, so that any thread may read it.
    """

    said: CopiesSaid | None = None
    status: tuple[CopiesStatus, ...] = ()
