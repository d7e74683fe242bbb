"""Whose the blobs of an archive are: who may have a file because its bytes are here."""

from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.names import RepoId
from outlast.store.index import Index
from outlast.store.records.drafts import Drafts
from outlast.store.records.refs import Refs


class Ownership:
    """The owners of blobs. Drafts are read once, when the first question needs them: for a list of
    files make one of these, and for the next list another. Not thread-safe.
    """

    def __init__(self, index: Index, drafts: Drafts, refs: Refs) -> None:
        self._index = index
        self._drafts = drafts
        self._refs = refs
        self._drafted: dict[Digest, set[RepoId]] | None = None
        self._unread = False
        self._all_open: bool | None = None

    def is_free_for(self, repo: RepoId, blob: Digest) -> bool:
        """Whether a blob that is here may become a file of `repo` as it is. If only models
        have it that are private, gated or not given out, that a listing names its digest proves
        nothing: then it must come
        from where `repo` comes from, as if it were not here.
        """
        owners = self._index.owners(blob)
        if self._may_share(repo, owners):
            return True
        if self._drafted is None:
            self._drafted = self._read_drafts()
            owners = self._index.owners(blob)  # a draft may have been completed meanwhile
        drafting = self._drafted.get(blob, set())
        if self._may_share(repo, owners | drafting):
            return True
        # What nothing lists any more may be left of a model that was private.
        return not owners and not drafting and not self._unread and self._are_all_open()

    def _may_share(self, repo: RepoId, owners: set[RepoId]) -> bool:
        return repo in owners or any(map(self._refs.is_open, owners))

    def _read_drafts(self) -> dict[Digest, set[RepoId]]:
        """By blob that a draft has, the models of those drafts."""
        found: dict[Digest, set[RepoId]] = {}
        for owner, commit in self._drafts.stamps():
            try:
                draft = self._drafts.load(owner, commit)
            except OutlastError:
                self._unread = True
                continue
            for entry in draft.files if draft is not None else ():
                if entry.sha256 is not None:
                    found.setdefault(entry.sha256, set()).add(owner)
        return found

    def _are_all_open(self) -> bool:
        if self._all_open is None:
            self._all_open = all(map(self._refs.is_open, self._refs.stamps()))
        return self._all_open
