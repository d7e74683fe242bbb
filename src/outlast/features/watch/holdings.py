"""What the archive knows of models that are followed, and what it is told of them."""

import contextlib
from collections.abc import Mapping

from outlast.core.digest import GitOid
from outlast.core.errors import OutlastError
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change, ChangeKind, HubStanding, Observation
from outlast.features.watch.polls.compare import MAIN
from outlast.sources.hub_watch import FileSeen
from outlast.sources.tuning import TUNING
from outlast.store.archive import Archive

_GIVEN_AGAIN = frozenset({ChangeKind.RETURNED, ChangeKind.UNGATED, ChangeKind.APPEARED})


class HeldModels:
    """One archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def files(self, repo: RepoId, commit: GitOid) -> Mapping[str, FileSeen] | None:
        """The files of a commit, if its whole list is here."""
        with contextlib.suppress(OutlastError):
            revision = self._archive.load(self._archive.refs.spelling(repo), commit)
            if revision is not None and not revision.unlisted:
                entries = (*revision.files, *revision.missing)
                return {
                    entry.path: FileSeen(
                        entry.git_sha1.hex if entry.git_sha1 else str(entry.sha256), entry.size
                    )
                    for entry in entries
                }
        return None

    def text(self, repo: RepoId, commit: GitOid, path: str) -> str | None:
        """A small file of a commit, if its bytes are here."""
        with contextlib.suppress(OutlastError):
            revision = self._archive.load(self._archive.refs.spelling(repo), commit)
            for entry in revision.files if revision is not None else ():
                if entry.path == path and entry.sha256 and entry.size <= TUNING.card:
                    with self._archive.open(entry.sha256) as file:
                        return file.read().decode(errors="replace")
        return None

    def seed(self, hub: str, repo: RepoId) -> Observation | None:
        """What the archive saw last of a model at a hub; None if it saw nothing."""
        with contextlib.suppress(OutlastError):
            repo = self._archive.refs.spelling(repo)
            ref, about = self._archive.refs.get(repo, MAIN), self._archive.refs.about(repo)
            if ref is None or ref.source != hub or ref.unconfirmed:
                return None
            standing = HubStanding.GATED if about.gated else HubStanding.OPEN
            standing = HubStanding.PRIVATE if about.private else standing
            if about.withdrawn_since(hub, ""):
                standing = HubStanding.MISSING
            return Observation(standing, name=repo.name, commit=ref.commit)
        return None

    def hear(self, change: Change) -> None:
        """Notes what a hub withdrew, and takes the note back when the hub gives it again. Models of
        which the archive knows nothing get no note.
        """
        withdraws = change.kind.withdraws_model
        if change.repo is None or not (withdraws or change.kind in _GIVEN_AGAIN):
            return
        repo = self._archive.refs.spelling(change.repo)
        about = self._archive.refs.stored_about(repo)
        if about is None:
            return
        if withdraws:
            noted = about.with_withdrawn(change.hub, "", change.when, change.reason)
        else:
            noted = about.without_withdrawn(change.hub)
        if noted != about:
            with self._archive.writer() as writer:
                self._archive.refs.put_about(writer, repo, noted)
