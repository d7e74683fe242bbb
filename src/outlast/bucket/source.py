"""A second home as a source of models: what an archive put there comes back, and is checked."""

import logging
from collections.abc import Iterable, Sequence
from typing import Final, Self

from outlast.bucket.home import SecondHome
from outlast.bucket.ranges import ProvenRange, StoredRange
from outlast.codec.merkle import Tree
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    DamagedThereError,
    EntryNotFoundError,
    IntegrityError,
    NotArchivedError,
    RepoNotFoundError,
    RevisionNotFoundError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, plain_ref
from outlast.sources.base import Listing, RangeReader, RemoteRef, RepoClaims
from outlast.sources.kinds import STORE
from outlast.store.archive import MIN_PREFIX

_log = logging.getLogger(__name__)
_KINDS: Final = {"tag": "tags"}


class BucketSource:
    """The models of a second home, as `outlast copy` put them there. Who may read them is what
    their hub said: those that were private or gated are for the operator alone.
    """

    def __init__(self, home: SecondHome, *, everybody: bool = False) -> None:
        self._home = home
        self._everybody = everybody

    @property
    def name(self) -> str:
        return f"{STORE}+{self._home.name}"

    @property
    def is_own(self) -> bool:
        return not self._everybody

    @property
    def has_token(self) -> bool:
        """The platform's credentials open all of the home."""
        return not self._everybody

    @property
    def takes_clients(self) -> bool:
        return False

    def with_token(self, token: str | None) -> Self:
        """With or without the operator's credentials: without, what is public is there alone."""
        return type(self)(self._home, everybody=token is None)

    def check_access(self, repo: RepoId, timeout: float | None = None) -> None:
        del timeout  # that of the store's client counts
        about = self._home.about(repo)
        if not self._home.commits(repo) or about.private:
            raise RepoNotFoundError(f"{self.name} has no {repo}, or it is private")
        if about.gated:
            raise AccessDeniedError(f"{repo} is gated at the hub that it came from")

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        self._admit(repo, timeout)
        commit, is_told = self._commit(repo, plain_ref(ref))
        revision = self._home.load(repo, commit)
        if revision is None:
            raise RevisionNotFoundError(f"{self.name} has no revision {ref[:60]!r} of {repo}")
        about = self._home.about(repo)
        claims = RepoClaims(about.private, about.gated, about.tags, dict(about.facts))
        entries = (*revision.files, *revision.missing)
        held = frozenset(entry.path for entry in revision.files)
        told_by = self.name if is_told else ""
        return Listing(repo, commit, entries, claims, revision.unlisted, held, told_by)

    def _admit(self, repo: RepoId, timeout: float | None) -> None:
        self._home.require()
        if self._everybody:
            self.check_access(repo, timeout)

    def _commit(self, repo: RepoId, ref: str) -> tuple[GitOid, bool]:
        """The commit that a ref, or its own start, names; and whether a node on the LAN alone said
        so, as older versions copied such refs too.
        """
        found = self._home.ref(repo, ref)
        if found is not None:
            return found.commit, found.unconfirmed
        commits = self._home.commits(repo)
        if not commits:
            raise RepoNotFoundError(f"{self.name} has no {repo}")
        named = [commit for commit in commits if commit.hex.startswith(ref)]
        if len(ref) < MIN_PREFIX or len(named) != 1:
            raise RevisionNotFoundError(f"{self.name} has no revision {ref[:60]!r} of {repo}")
        return named[0], False

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        self._admit(repo, timeout)
        return [
            RemoteRef(ref.name, ref.commit, _KINDS.get(ref.kind, "branches"))
            for ref in self._home.refs(repo)
        ]

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        """A file by its sha256; a capsule is decoded on the way."""
        if self._everybody:
            self.check_access(repo)
        digest = entry.sha256
        if digest is None:
            revision = self._home.load(repo, commit)
            digest = None if revision is None else _digest_of(revision, entry)
        if digest is None:
            raise EntryNotFoundError(f"{self.name} has no {entry.path!r}")
        what = f"{entry.path!r} in {self.name}"
        try:
            blob = self._home.open(digest, stop=stop)
        except NotArchivedError as error:
            raise EntryNotFoundError(f"{self.name} has no {entry.path!r}: {error}") from None
        except IntegrityError as error:
            raise DamagedThereError(f"{what} is damaged: {error}") from None
        if blob.size != entry.size:
            raise DamagedThereError(f"{what} has {blob.size:,} bytes, not {entry.size:,}")
        stop = min(stop, blob.size)
        tree = self._tree(digest, entry)
        if tree is None:
            return StoredRange(blob, start, stop)
        return ProvenRange(blob, start, stop, tree, what)

    def statements(self, manifest: Digest, timeout: float | None = None) -> Iterable[bytes]:
        """The signed statements that lie there about a manifest, unchecked."""
        del timeout  # that of the store's client counts
        return self._home.statements(manifest)

    def _tree(self, digest: Digest, entry: FileEntry) -> Tree | None:
        """What proves pieces of a file, if there is such a thing: an older home has none."""
        try:
            tree = self._home.tree(digest, entry.size)
        except IntegrityError as error:
            _log.info("%s: pieces of %s are not proven: %s", self.name, entry.path, error)
            return None
        if tree is None or entry.merkle_root in {None, tree.root}:
            return tree
        _log.info("%s: the tree of %s is not that of its manifest", self.name, entry.path)
        return None


def _digest_of(revision: Revision, entry: FileEntry) -> Digest | None:
    return next((one.sha256 for one in revision.files if one.path == entry.path), None)
