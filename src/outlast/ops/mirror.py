"""What a server knows: the archive, and behind it, if the operator wishes, the hubs upstream.

Commits are immutable, so whatever is archived is served without asking anybody. Refs are asked
for again when they are older than a time to live; when nobody answers, the last known commit is
served, and the answer says since when it is stale.
"""

import datetime as dt
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitTimeoutError
from dataclasses import dataclass, replace

from outlast.model.control import Control
from outlast.model.digest import GitOid
from outlast.model.errors import (
    EntryNotFoundError,
    NotArchivedError,
    NotFoundError,
    OutlastError,
    RepoNotFoundError,
    TransientError,
)
from outlast.model.events import Note
from outlast.model.manifest import FileEntry, Revision
from outlast.model.names import RepoId, check_path, check_ref, fold
from outlast.ops.arriving import Arrivals, Arriving
from outlast.ops.lanes import SOURCE_FAULTS, Patience
from outlast.ops.pull import Crew, patiently, remember, seal, start_draft
from outlast.ops.transfer import Wishes
from outlast.sources.base import Listing, Source
from outlast.store import poison
from outlast.store.archive import Archive

_GRACE = 1.0
"""Seconds that a client waits for a ref to be revalidated before it gets the last known commit."""
_ASK_TIMEOUT = 10.0
_DOWN_FOR = 30.0
_PATIENCE = Patience(tries=3, longest=5.0)
_ABSENT_FOR = 60.0
_VIEWS = 512


@dataclass(frozen=True, slots=True)
class View:
    """A revision as it can be served: `files` by path, with those that a fetch would bring.
    `lacking` counts the files of the commit that cannot be served.
    """

    revision: Revision
    files: dict[str, FileEntry]
    lacking: int


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a ref. `stale_since` (ISO 8601) is when it was last known to be current, where
    that could not be checked; else empty.
    """

    view: View
    stale_since: str = ""


class Mirror:
    """The archive and its upstreams (none: it serves what is archived). Thread-safe."""

    def __init__(
        self,
        archive: Archive,
        sources: Sequence[Source] = (),
        *,
        ttl: float = 300.0,
        wishes: Wishes | None = None,
        control: Control | None = None,
    ) -> None:
        self.archive = archive
        self._sources = sources
        self._ttl = ttl
        self._wishes = wishes or Wishes()
        self._control = control or Control()
        self._lock = threading.Lock()
        self._views: OrderedDict[tuple[RepoId, GitOid], tuple[object, View]] = OrderedDict()
        self._asking: dict[tuple[RepoId, str], Future[Listing]] = {}
        self._checked: dict[tuple[RepoId, str], float] = {}
        self._absent: OrderedDict[tuple[RepoId, str], tuple[float, OutlastError]] = OrderedDict()
        self._down_until = 0.0
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="ask")
        self.arrivals = Arrivals(self._crew, self._seal)

    def close(self) -> None:
        self._control.cancel.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.arrivals.close()

    # Refs

    def find(self, repo: RepoId, ref: str) -> Found:
        """The revision that `ref` names; raises where neither the archive nor a source knows."""
        check_ref(ref)
        known = self.archive.refs.get(repo, ref)
        if known is None:
            commit = self.archive.find_commit(repo, ref)
            view = None if commit is None else self._view(repo, commit)
            if view is not None and not (view.revision.unlisted and self._sources):
                return Found(view)
            return Found(self._ask_new(repo, ref, view))
        stale = ""
        if self._sources and not self._is_fresh(repo, ref, known.observed):
            stale = self._revalidate(repo, ref, known.observed)
            known = self.archive.refs.get(repo, ref) or known
        view = self._view(repo, known.commit)
        if view is None:
            return Found(self._ask_new(repo, ref, None))
        return Found(view, stale)

    def _is_fresh(self, repo: RepoId, ref: str, observed: str) -> bool:
        checked = self._checked.get((repo, ref))
        if checked is not None:
            return time.monotonic() - checked < self._ttl
        return bool(observed) and _age(observed) < self._ttl

    def _revalidate(self, repo: RepoId, ref: str, observed: str) -> str:
        """Asks upstream where `ref` points now; since when the answer is stale, if it is."""
        since = observed or "unknown"
        if time.monotonic() < self._down_until:
            return since
        try:
            self._ask(repo, ref).result(timeout=_GRACE)
        except (WaitTimeoutError, *SOURCE_FAULTS):
            return since
        return ""

    def _ask_new(self, repo: RepoId, ref: str, fallback: View | None) -> View:
        """Asks upstream for something that is not here."""
        if not self._sources:
            if fallback is not None:
                return fallback
            raise self._unknown(repo, ref)
        absent = self._absent.get((repo, ref))
        if absent is not None and time.monotonic() - absent[0] < _ABSENT_FOR:
            raise absent[1]
        try:
            listing = self._ask(repo, ref).result(timeout=_ASK_TIMEOUT * len(self._sources))
        except (WaitTimeoutError, *SOURCE_FAULTS) as error:
            if fallback is not None:
                return fallback
            if isinstance(error, WaitTimeoutError):
                raise TransientError(f"no source answers for {repo}") from error
            raise
        view = self._view(repo, listing.commit)
        if view is None:
            raise self._unknown(repo, ref)
        return view

    def _unknown(self, repo: RepoId, ref: str) -> NotFoundError:
        try:
            self.archive.revision(repo, ref)
        except NotFoundError as error:
            if type(error) is not NotFoundError:
                return error
        return RepoNotFoundError(f"{repo} is not in this archive")

    def _ask(self, repo: RepoId, ref: str) -> Future[Listing]:
        """The question where `ref` points, asked once however many want to know."""
        with self._lock:
            future = self._asking.get((repo, ref))
            if future is None:
                future = self._pool.submit(self._describe, repo, ref)
                self._asking[repo, ref] = future
        return future

    def _describe(self, repo: RepoId, ref: str) -> Listing:
        try:
            listing, source = self._first_answer(repo, ref)
            listing = replace(listing, entries=_acceptable(listing.entries, self._control))
            with self.archive.writer() as writer:
                if self._needs_draft(repo, listing):
                    start_draft(self.archive, writer, repo, listing.commit, listing.entries)
                remember(self.archive, writer, listing, ref, source)
        finally:
            with self._lock:
                self._asking.pop((repo, ref), None)
        self._checked[repo, ref] = time.monotonic()
        self._down_until = 0.0
        return listing

    def _first_answer(self, repo: RepoId, ref: str) -> tuple[Listing, Source]:
        """Asks the sources in order, with little patience: somebody is waiting."""
        first: OutlastError | None = None
        for source in self._sources:
            try:
                return patiently(source, repo, ref, _PATIENCE, self._control), source
            except SOURCE_FAULTS as error:
                first = first or error
        if first is None or isinstance(first, NotFoundError):
            first = first or RepoNotFoundError(f"no source knows {repo}")
            self._absent[repo, ref] = (time.monotonic(), first)
            while len(self._absent) > _VIEWS:
                self._absent.popitem(last=False)
        else:
            self._down_until = time.monotonic() + _DOWN_FOR
        raise first

    def _needs_draft(self, repo: RepoId, listing: Listing) -> bool:
        revision = self.archive.load(repo, listing.commit)
        return revision is None or revision.unlisted

    # Revisions

    def _view(self, repo: RepoId, commit: GitOid) -> View | None:
        """A revision, from memory while its files on the disk have not changed."""
        stamp = self._stamp(repo, commit)
        key = (repo, commit)
        with self._lock:
            cached = self._views.get(key)
            if cached is not None and cached[0] == stamp:
                self._views.move_to_end(key)
                return cached[1]
        revision = self.archive.load(repo, commit)
        if revision is None:
            return None
        served = (*revision.files, *(revision.missing if self._sources else ()))
        lacking = 0 if self._sources else len(revision.missing)
        view = View(revision, {entry.path: entry for entry in served}, lacking)
        with self._lock:
            self._views[key] = (stamp, view)
            while len(self._views) > _VIEWS:
                self._views.popitem(last=False)
        return view

    def _stamp(self, repo: RepoId, commit: GitOid) -> tuple[int, ...]:
        layout = self.archive.layout
        draft = layout.draft(repo, commit)
        found = []
        for path in (layout.manifests, draft):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found += [stat.st_mtime_ns, stat.st_size]
        return tuple(found)

    # Files

    def entry(self, view: View, path: str) -> FileEntry:
        """A file of a revision, wherever its bytes are."""
        entry = view.files.get(path)
        revision = view.revision
        if entry is not None:
            return entry
        if any(missing.path == path for missing in revision.missing):
            raise NotArchivedError(f"{path!r} is part of the commit but not archived here")
        raise EntryNotFoundError(f"{revision.repo}@{revision.id} has no {path!r}")

    def open(self, view: View, path: str) -> FileEntry | Arriving:
        """A file of a revision: its entry where its bytes are here, else the fetch of it."""
        view = self._view(view.revision.repo, view.revision.id) or view  # it may have come by now
        entry = self.entry(view, path)
        if self.archive.holds(entry):
            return entry
        known = self.archive.known(entry)
        if known is not None and self.archive.holds(known):
            return known
        if not self._sources:
            raise NotArchivedError(f"the bytes of {path!r} are not here")
        return self.arrivals.fetch(view.revision.repo, view.revision.id, entry)

    def may_resume(self, entry: FileEntry, start: int) -> bool:
        """Whether a client that has the first `start` bytes of a file surely has the right ones:
        we may have passed on wrong ones before the whole could be judged.
        """
        if start == 0 or not poison.is_recorded(self.archive, entry.key):
            return True
        known = self.archive.known(entry) or entry
        if not self.archive.holds(known):
            return False
        doubt = poison.doubtful(self.archive, replace(known, git_sha1=entry.git_sha1))
        return doubt is None or not doubt[0] < start <= doubt[1]

    def _crew(self) -> Crew:
        return Crew(self.archive, self.archive.writer(), self._sources, self._wishes, self._control)

    def _seal(self, repo: RepoId, commit: GitOid) -> None:
        """Turns a draft into a manifest when its last file is here."""
        view = self._view(repo, commit)
        if view is None or view.revision.missing or not self.archive.drafts.exists(repo, commit):
            return
        with self.archive.writer() as writer:
            seal(self.archive, writer, repo, commit)


def _age(observed: str) -> float:
    try:
        moment = dt.datetime.fromisoformat(observed)
    except ValueError:
        return float("inf")
    return (dt.datetime.now(dt.UTC) - moment).total_seconds()


def _acceptable(entries: Sequence[FileEntry], control: Control) -> list[FileEntry]:
    """The files whose names are safe to create; a mirror leaves out the others."""
    kept: dict[str, FileEntry] = {}
    for entry in entries:
        try:
            check_path(entry.path)
        except OutlastError as error:
            control.emit(Note(f"left out: {error}"))
            continue
        if fold(entry.path) in kept:
            control.emit(Note(f"left out: {entry.path!r} has a twin"))
            continue
        kept[fold(entry.path)] = entry
    folders = {"/".join(p.split("/")[:n]) for p in kept for n in range(1, p.count("/") + 1)}
    return [entry for path, entry in kept.items() if path not in folders]
