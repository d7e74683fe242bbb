"""What nodes tell each other that they have."""

from dataclasses import dataclass

from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId


@dataclass(frozen=True, slots=True)
class Offer:
    """A revision that a node offers: `files` of it are there, with `size` bytes. The manifest of a
    `partial` one may change with every file that comes. `restricted` says that it is private or
    gated where it comes from.
    """

    repo: RepoId
    commit: GitOid
    manifest: Digest
    refs: tuple[str, ...]
    files: int
    size: int
    partial: bool
    restricted: bool
