"""What came with a pull, for a feature that keeps evidence of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from outlast.core.digest import Digest
from outlast.core.manifest import Revision


@dataclass(frozen=True, slots=True)
class Acquisition:
    """`revision` was pulled, and is complete under its `manifest`. `source`: who listed its files
    ("": not known); `told_by`: the node on the LAN whose word alone that is, if it is. `fetched`:
    the bytes that came over the network, by source.
    """

    manifest: Digest
    revision: Revision
    ref: str = ""
    source: str = ""
    told_by: str = ""
    fetched: Mapping[str, int] = field(default_factory=dict)


class Recorder(Protocol):
    """Keeps evidence of what was pulled. Thread-safe."""

    def record(self, acquired: Acquisition) -> str:
        """Keeps a record, where there is none that says the same; what a person should know of it,
        or "". What goes wrong undoes no pull: it is only said.
        """
