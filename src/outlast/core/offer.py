"""What a node tells other nodes that it has."""

from dataclasses import dataclass

from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@dataclass(frozen=True, slots=True)
class Offer:
    """A revision that a node offers: the node holds `files` of its files, `size` bytes in all. The
    manifest of a `partial` revision changes with every file that arrives. `restricted`: the model
    is private or gated at its hub. `unconfirmed`: the node has it from another one that no operator
    named, and no hub has confirmed that. `made_from`: the manifests that it says it was made from,
    where that was asked for.
    """

    repo: RepoId
    commit: GitOid
    manifest: Digest
    refs: tuple[str, ...]
    files: int
    size: int
    partial: bool
    restricted: bool
    unconfirmed: bool = False
    made_from: tuple[Digest, ...] = ()
