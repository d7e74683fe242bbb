"""What a pull asks for beside the files, while these come: nothing depends on it. Where a source
does not give it, a pull is as ever.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

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
from outlast.sources.registries.layers import MANIFEST_NAME
from outlast.sources.registries.signatures import CosignSource, RegistrySignature
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from concurrent.futures import Future

_log = logging.getLogger(__name__)
_POLL: Final = 0.05
T = TypeVar("T")


class SideQuestion(Generic[T]):
    """A question that is under way, in a thread of its own. `what` names it in the log."""

    def __init__(self, what: str, work: Callable[[], T]) -> None:
        self._what = what
        self._coming: Future[T] = DaemonPool(1, "beside").submit(work)

    def answer(self, cancel: Cancel, within: float = TUNING.beside_wait_s) -> T | None:
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
            _log.debug("%s: not archived: %s", self._what, str(error) or type(error).__name__)
            return None


@dataclass(frozen=True, slots=True)
class AskedBeside:
    """What is asked for: the text of a hub's commit, or what a registry has of signatures."""

    hub_commit: SideQuestion[HubCommit] | None = None
    signatures: SideQuestion[tuple[RegistrySignature, ...]] | None = None


def ask_beside(archive: Archive, listing: Listing, source: Source | None) -> AskedBeside:
    """Begins to ask the source that listed a commit, where what it says is to be kept."""
    if archive.recorder is None or not listing.is_hubs_own:
        return AskedBeside()
    repo, commit = listing.repo, listing.commit
    if isinstance(source, GitSource) and archive.recorder.wants_commit(repo, commit):
        repository, entries = source.repository(repo), listing.entries
        what = f"the text of commit {commit}"
        return AskedBeside(SideQuestion(what, lambda: look_up(repository, commit, entries)))
    manifest = next((e.sha256 for e in listing.entries if e.path == MANIFEST_NAME), None)
    if isinstance(source, CosignSource) and manifest is not None:
        what = f"signatures of {manifest.short}…"
        ask = source.cosign_signatures
        return AskedBeside(None, SideQuestion(what, lambda: ask(repo, manifest)))
    return AskedBeside()


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
