"""Asks a hub for the text of a commit while its files come, so that the commit's id can be computed
again from the manifest. Nothing depends on it: where the hub does not give it, a pull is as ever.
"""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from outlast.codec.git.commits import CommitText
from outlast.codec.git.proof import HubCommit, beside_of, prove
from outlast.core.cancel import Cancel
from outlast.core.digest import GitOid
from outlast.core.errors import IntegrityError, MalformedError, OutlastError
from outlast.core.manifest import FileEntry
from outlast.core.threads import DaemonPool
from outlast.fetch.tuning import TUNING
from outlast.sources.base import Listing, Source
from outlast.sources.git.upload_pack import (
    COMMIT_ALONE,
    COMMIT_AND_FOLDERS,
    GitRepository,
    GitSource,
)
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from concurrent.futures import Future

_log = logging.getLogger(__name__)
_POLL: Final = 0.05


def look_up(repository: GitRepository, commit: GitOid, entries: Sequence[FileEntry]) -> HubCommit:
    """The text of a commit that has just these files, and what it has beside them. The folders are
    asked for only where they do not follow from the files. Raises :class:`IntegrityError` where
    the commit has other files, and errors of sources.
    """
    kind, data = repository.objects(commit, COMMIT_ALONE).get(commit, ("", b""))
    if kind != "commit":
        raise MalformedError(f"the hub's repository does not give commit {commit.hex[:12]}")
    found = HubCommit(data)
    try:
        prove(commit, entries, found)
    except IntegrityError:
        objects = repository.objects(commit, COMMIT_AND_FOLDERS)
        trees = {oid: body for oid, (what, body) in objects.items() if what == "tree"}
        found = HubCommit(data, beside_of(CommitText.read(data), trees, entries))
        prove(commit, entries, found)
    return found


class CommitQuestion:
    """A question for a commit that is under way, in a thread of its own."""

    def __init__(self, source: GitSource, listing: Listing) -> None:
        self._commit = listing.commit
        pool = DaemonPool(1, "commit")
        repository = source.repository(listing.repo)
        self._coming: Future[HubCommit] = pool.submit(
            look_up, repository, listing.commit, listing.entries
        )

    def answer(self, cancel: Cancel, within: float = TUNING.commit_wait_s) -> HubCommit | None:
        """What came; None where nothing did by `within` seconds from now."""
        until = time.monotonic() + within
        while not self._coming.done() and time.monotonic() < until and not cancel.is_set:
            try:
                self._coming.exception(timeout=_POLL)
            except TimeoutError:
                continue
        try:
            return self._coming.result(timeout=0)
        except (OutlastError, OSError, MemoryError) as error:  # OSError: a TimeoutError, too
            said = str(error) or type(error).__name__
            _log.debug("the text of commit %s is not archived: %s", self._commit, said)
            return None


def ask_for_commit(
    archive: Archive, listing: Listing, source: Source | None
) -> CommitQuestion | None:
    """Begins to ask the hub that listed a commit for its text, where that is to be kept."""
    if not isinstance(source, GitSource) or not listing.is_hubs_own or archive.recorder is None:
        return None
    if not archive.recorder.wants_commit(listing.repo, listing.commit):
        return None
    return CommitQuestion(source, listing)
