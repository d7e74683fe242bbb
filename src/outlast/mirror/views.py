"""Revisions as they can be served, kept in memory while their files on the disk do not change."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from outlast.core.digest import GitOid
from outlast.core.errors import DamagedRecordError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class View:
    """A revision as it can be served: `files` by path, with those that a fetch would bring, and
    the `folders` above them. `lacking` counts the files of the commit that cannot be served.
    `unconfirmed`: a node on the LAN alone said which files the commit has.
    """

    revision: Revision
    files: dict[str, FileEntry]
    folders: frozenset[str]
    lacking: int
    unconfirmed: bool = False


class Views:
    """The views of an archive's revisions. `fetches`: whether there is an upstream, which can bring
    what is missing. Of at most `kept` of them the memory holds views. Thread-safe.
    """

    def __init__(self, archive: Archive, *, fetches: bool, kept: int) -> None:
        self._archive = archive
        self._fetches = fetches
        self._kept = kept
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[RepoId, GitOid], tuple[object, View]] = OrderedDict()

    def get(self, repo: RepoId, commit: GitOid) -> View | None:
        """The view of a revision; None where it is not here, or is damaged and a source can list
        its files anew. Without an upstream, :class:`DamagedRecordError` is raised.
        """
        stamp = self._stamp(repo, commit)
        key = (repo, commit)
        with self._lock:
            known = self._known.get(key)
            if known is not None and known[0] == stamp:
                self._known.move_to_end(key)
                return known[1]
        try:
            revision = self._archive.load(repo, commit)
        except DamagedRecordError:
            if not self._fetches:
                raise
            return None
        if revision is None:
            return None
        told = self._archive.unconfirmed.get(repo, commit) is not None
        view = self._view_of(revision, unconfirmed=told)
        with self._lock:
            self._known[key] = (stamp, view)
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
        return view

    def _view_of(self, revision: Revision, *, unconfirmed: bool) -> View:
        served = (*revision.files, *(revision.missing if self._fetches else ()))
        lacking = 0 if self._fetches else len(revision.missing)
        files = {entry.path: entry for entry in served}
        parts = [path.split("/") for path in files]
        above = {"/".join(names[:end]) for names in parts for end in range(1, len(names))}
        return View(revision, files, frozenset(above), lacking, unconfirmed)

    def _stamp(self, repo: RepoId, commit: GitOid) -> tuple[int, ...]:
        """Changes whenever a file on the disk does that the view was made from."""
        layout = self._archive.layout
        found: list[int] = []
        mark = self._archive.unconfirmed.path(repo, commit)
        for path in (layout.manifests, layout.draft(repo, commit), mark):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found += [stat.st_mtime_ns, stat.st_size]
        return tuple(found)
