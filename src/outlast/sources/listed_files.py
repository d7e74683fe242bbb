"""The files that a source has listed, found by their sha256: so a source whose commits are not a
hub's serves files of a hub's commit, under whatever name it keeps them.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from outlast.core.digest import GitOid
from outlast.core.errors import EntryNotFoundError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.tuning import TUNING, Tuning


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a source keeps a file: its path in a revision of a model, as the source names them."""

    repo: RepoId
    revision: str
    path: str


@dataclass(frozen=True, slots=True)
class _Listed:
    repo: RepoId
    revision: str
    files: Mapping[str, FileEntry]


class ListedFiles:
    """What one source listed lately. Thread-safe."""

    def __init__(
        self, source: str, ask: Callable[[RepoId], object], tuning: Tuning = TUNING
    ) -> None:
        """`ask` has the `source`, which goes by that name, list a model, and notes its files."""
        self._source = source
        self._ask = ask
        self._tuning = tuning
        self._lock = threading.Lock()
        self._listings: OrderedDict[tuple[str, GitOid], _Listed] = OrderedDict()
        """By the model's name in lower case; the newest last."""
        self._asked: OrderedDict[str, float] = OrderedDict()
        """When each model was listed for a file that was not known (monotonic seconds)."""
        self._asking: dict[str, Future[None]] = {}

    def note(
        self, repo: RepoId, commit: GitOid, revision: str, entries: Iterable[FileEntry]
    ) -> None:
        """Remembers a listing of `repo`, as the source spells it; `revision` is what the source
        calls it. Old ones go.
        """
        files = {entry.sha256.hex: entry for entry in entries if entry.sha256 is not None}
        name = _name(repo), commit
        with self._lock:
            self._listings[name] = _Listed(repo, revision, files)
            self._listings.move_to_end(name)
            total = sum(len(listed.files) for listed in self._listings.values())
            while total > self._tuning.listed_files and len(self._listings) > 1:
                _, oldest = self._listings.popitem(last=False)
                total -= len(oldest.files)

    def find(self, repo: RepoId, commit: GitOid, entry: FileEntry) -> FilePlace:
        """Where a file with the sha256 and size of `entry` is: in the listing of `commit`, or of
        any other; the source lists `repo` if none has it, but not again and again.

        Raises :class:`EntryNotFoundError` if none has it, or its sha256 is not known, and what the
        source raises.
        """
        if entry.sha256 is None:
            raise EntryNotFoundError(
                f"{self._source} is asked for files by sha256, and that of {entry.path!r} is not "
                "known"
            )
        found = self._look(repo, commit, entry)
        if found is None and self._is_due(repo):
            self._list(repo)
            found = self._look(repo, commit, entry)
        if found is None:
            raise EntryNotFoundError(f"{self._source} has no file with the bytes of {entry.path!r}")
        return found

    def _look(self, repo: RepoId, commit: GitOid, entry: FileEntry) -> FilePlace | None:
        assert entry.sha256 is not None
        name = _name(repo)
        with self._lock:
            own = self._listings.get((name, commit))
            others = [listed for (of, _), listed in reversed(self._listings.items()) if of == name]
        for listed in [own, *others] if own is not None else others:
            found = listed.files.get(entry.sha256.hex)
            if found is not None and found.size == entry.size:
                return FilePlace(listed.repo, listed.revision, found.path)
        return None

    def _is_due(self, repo: RepoId) -> bool:
        with self._lock:
            asked = self._asked.get(_name(repo))
        return asked is None or time.monotonic() - asked >= self._tuning.relist_s

    def _list(self, repo: RepoId) -> None:
        """Asks once, however many threads want to know."""
        name = _name(repo)
        with self._lock:
            asking = self._asking.get(name)
            own = asking is None
            if asking is None:
                asking = self._asking[name] = Future()
        if not own:
            asking.result()
            return
        try:
            self._ask(repo)
        except BaseException as error:
            asking.set_exception(error)
            raise
        else:
            with self._lock:
                self._asked[name] = time.monotonic()
                self._asked.move_to_end(name)
                while len(self._asked) > self._tuning.spellings:
                    self._asked.popitem(last=False)
            asking.set_result(None)
        finally:
            with self._lock:
                del self._asking[name]


def _name(repo: RepoId) -> str:
    return str(repo).lower()
