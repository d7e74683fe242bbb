"""The protocol of all sources: a listing of a commit, and ranges of its files."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self, runtime_checkable

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId

_log = logging.getLogger(__name__)

NEIGHBOUR: Final = "neighbour"
"""What the hub API of a server calls a node on the LAN that listed what no hub has confirmed."""


@dataclass(frozen=True, slots=True)
class RepoClaims:
    """A source's claims about a repository, beside its files."""

    private: bool
    gated: str | bool
    tags: tuple[str, ...]
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one commit, as a source declares them. Paths are not checked yet."""

    repo: RepoId
    commit: GitOid
    entries: Sequence[FileEntry]
    facts: RepoClaims
    unlisted: bool = False
    """Whether there may be more files: the source has no complete listing itself."""
    held: frozenset[str] | None = None
    """The paths of the files whose bytes the source has itself, where it says so: a mirror and a
    node do, which also list what they would fetch or lack. None: a hub, which has what it lists."""
    told_by: str = ""
    """Who told it, if it is the word of a node on the LAN alone; empty if a hub, a static peer or a
    manifest that was named by its digest says so. A mirror may say that it is such a word."""

    @property
    def is_hubs_own(self) -> bool:
        """Whether it is the word of a hub about what it holds itself, and whole: not that of a
        mirror or a node, which repeat what they heard.
        """
        return self.held is None and not self.unlisted and not self.told_by


def listing_id(entries: Iterable[FileEntry]) -> GitOid:
    """What stands for the commit of files that a source keeps without one: 40 hex digits that
    follow from their names, sizes and digests, in whatever order they are listed.

    The start of the sha256 of one line for each file, in the order of the lines:
    ``KEY SIZE "PATH"``, the path as JSON in ASCII (docs/adr/0025-other-sources.md).
    """
    lines = sorted(f"{entry.key} {entry.size} {json.dumps(entry.path)}\n" for entry in entries)
    return GitOid(hashlib.sha256("".join(lines).encode()).hexdigest()[:40])


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """A branch or tag, as a source lists it."""

    name: str
    commit: GitOid
    kind: str
    """``branches``, ``tags``, ``converts`` or ``pullRequests``."""


class RangeReader(Protocol):
    """Bytes of a file from `start` on."""

    start: int

    def readinto(self, buffer: memoryview) -> int:
        """Fills the start of `buffer`; how many bytes came, 0 at the end of what was asked for."""

    def close(self) -> None: ...


class Source(Protocol):
    """Where bytes come from. Thread-safe; never writes to the store, and is not believed."""

    @property
    def name(self) -> str:
        """What users know it by, e.g. its URL."""

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        """Resolves `ref` (branch, tag or commit) and lists the commit's files."""

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        """The branches, tags and other refs of a repository."""

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        """Opens the bytes `start` to `stop` (exclusive) of `entry`. A source that cannot serve
        ranges opens the whole file: its reader starts at 0.
        """


@runtime_checkable
class AccessSource(Source, Protocol):
    """A source that decides who may read what: a hub. It is asked with one token, or without."""

    @property
    def has_token(self) -> bool:
        """Whether it is asked with a token."""

    @property
    def takes_clients(self) -> bool:
        """Whether a token that a client of ours sends may be one for it: the protocol that we
        serve is its own.
        """

    def with_token(self, token: str | None) -> Self:
        """The same hub, asked with another token, or (None) without."""

    def check_access(self, repo: RepoId, timeout: float | None = None) -> None:
        """Returns if the hub itself says that it serves the files of `repo` to this token.

        Raises :class:`AccessDeniedError` if the model is gated and :class:`RepoNotFoundError` if it
        is private or missing; other errors of sources if the hub gave no answer of its own.
        `timeout` bounds each wait, in seconds.
        """


def without_token(source: Source) -> Source:
    """`source` as it answers everybody."""
    return source.with_token(None) if isinstance(source, AccessSource) else source


def as_everybody_sees(
    source: AccessSource, repo: RepoId, claims: RepoClaims, timeout: float | None
) -> RepoClaims:
    """What a source says to a token may be for that token alone, whatever the source calls it: open
    is what it serves without one. Without an answer the model counts as private.
    """
    if not source.has_token or claims.private or claims.gated:
        return claims
    try:
        source.with_token(None).check_access(repo, timeout)
    except OutlastError as error:
        _log.info("%s counts as private: without a token, %s", repo, error)
        return replace(claims, private=True)
    return claims


@runtime_checkable
class OwnSource(Protocol):
    """A source that is the operator's own: it may learn of any model here."""

    @property
    def is_own(self) -> bool: ...


def may_learn(source: Source, tellers: Collection[str]) -> bool:
    """Whether a source may be asked for files of a model that `tellers` told of."""
    return source.name in tellers or (isinstance(source, OwnSource) and source.is_own)


@runtime_checkable
class PayloadSource(Protocol):
    """A source that also serves capsules as they are stored: another node."""

    def open_capsule(self, blob: Digest, size: int, start: int, stop: int) -> RangeReader:
        """Opens the bytes `start` to `stop` (exclusive) of the blob's capsule, which has `size`."""
