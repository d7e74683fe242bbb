"""What came with a pull, for a feature that keeps evidence of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from outlast.codec.git.proof import HubCommit
from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import Revision
from outlast.core.names import RepoId


class SignedPayload(Protocol):
    """What was signed, byte for byte, and the signature in base64. None of it is believed yet."""

    @property
    def payload(self) -> bytes: ...

    @property
    def signature(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Acquisition:
    """`revision` was pulled, and is complete under its `manifest`. `source`: who listed its files
    ("": not known); `told_by`: the node on the LAN whose word alone that is, if it is. `fetched`:
    the bytes that came over the network, by source. `hub_commit`: the text of the commit, where
    the hub gave it; `signatures`: what a registry has beside the image.
    """

    manifest: Digest
    revision: Revision
    ref: str = ""
    source: str = ""
    told_by: str = ""
    fetched: Mapping[str, int] = field(default_factory=dict)
    hub_commit: HubCommit | None = None
    signatures: tuple[SignedPayload, ...] = ()


class Recorder(Protocol):
    """Keeps evidence of what was pulled. Thread-safe."""

    def wants_commit(self, repo: RepoId, commit: GitOid) -> bool:
        """Whether the text of a commit is to be kept, and is not here yet."""

    def record(self, acquired: Acquisition) -> str:
        """Keeps a record, where there is none that says the same; what a person should know of it,
        or "". What goes wrong undoes no pull: it is only said.
        """
