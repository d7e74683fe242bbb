"""Which files of a revision are not what their names say: their heads are read from the archive,
whatever form they have, or from where they lie.
"""

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from outlast.core.control import Control
from outlast.core.errors import CorruptError, ExhaustedError, OutlastError, SuspectContentError
from outlast.core.events import Note, SuspectContent
from outlast.core.manifest import FileEntry, Revision
from outlast.intake import shards
from outlast.intake.content import Read, Suspect, is_judged, judge
from outlast.store import disk
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)

_MOST_WARNINGS = 100
"""Lines that a command prints: a hostile list may have a million such files. A guess."""

OpenAt = Callable[[], AbstractContextManager[Read]]
"""Opens a file to read some of its bytes."""


class Suspects:
    """Judges the files of an archive, each blob once for each name's ending. Not thread-safe."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._known: dict[tuple[str, str], Suspect | None] = {}

    def of(
        self, revision: Revision, *, known: Iterable[str] = (), strict: bool = False
    ) -> list[Suspect]:
        """What is suspect of a revision, by path. Files that the commit has and the archive left
        out are no missing shards, nor are others that are `known`. A file that cannot be read is
        passed over: `verify` reports those. If `strict`, the error is raised.
        """
        files = revision.files
        paths = {entry.path for entry in (*files, *revision.missing)}.union(known)
        found = list(shards.incomplete((entry.path for entry in files), paths))
        for entry in files:
            try:
                suspect = self.judge(entry, paths)
            except OutlastError as error:
                if strict:
                    raise
                _log.debug("%s is not judged by its content: %s", entry.path, error)
                continue
            if suspect is not None:
                found.append(suspect)
        return sorted(found, key=lambda suspect: suspect.path)

    def judge(self, entry: FileEntry, paths: Collection[str]) -> Suspect | None:
        """What is wrong with a file that is here, of a revision with these `paths`. Raises what
        opening and reading a blob raises.
        """
        if shards.is_index(entry.path) and 0 < entry.size <= shards.MAX_INDEX:
            with _memory(entry.path), self._open(entry) as read:
                return shards.judge_index(entry.path, read(0, entry.size), paths)
        key = entry.key, os.path.splitext(entry.path)[1]
        if key not in self._known:
            with _memory(entry.path):
                self._known[key] = _judged(entry.path, entry.size, lambda: self._open(entry))
        suspect = self._known[key]
        return None if suspect is None else Suspect(entry.path, suspect.flaw, suspect.reason)

    @contextmanager
    def _open(self, entry: FileEntry) -> Iterator[Read]:
        assert entry.sha256 is not None
        with self._archive.open_blob(entry.sha256) as blob:
            if blob.size != entry.size:
                raise CorruptError(f"{entry.path} has {blob.size} bytes in place of {entry.size}")

            def read(offset: int, length: int) -> bytes:
                data = bytearray(max(0, min(length, blob.size - offset)))
                blob.readinto(offset, memoryview(data))
                return bytes(data)

            yield read


class Refusal:
    """Judges files as they come, for a caller that takes no suspect ones. Thread-safe."""

    def __init__(self, archive: Archive, paths: Collection[str]) -> None:
        """`paths` are those of the commit, those that are left out too."""
        self._judge = Suspects(archive)
        self._paths = paths
        self._lock = threading.Lock()
        self._found: list[Suspect] = []
        self._failed: OutlastError | None = None

    def withholds(self, entry: FileEntry) -> bool:
        """Whether a wanted file that is here may not be noted as archived; `check` says why."""
        with self._lock:
            try:
                suspect = self._judge.judge(entry, self._paths)
            except OutlastError as error:  # a busy disk is no suspect file, and no clean one
                self._failed = self._failed or error
                return True
            if suspect is not None:
                self._found.append(suspect)
            return suspect is not None

    def leaves_out(self, entry: FileEntry) -> bool:
        """The same of a file that need not be noted, if it is here."""
        if entry.size and entry.sha256 is None:
            return False
        try:
            with self._lock:
                return self._judge.judge(entry, self._paths) is not None
        except OutlastError as error:
            _log.debug("%s is left out, as it cannot be judged: %s", entry.path, error)
            return True

    def check(self) -> None:
        """Raises the error of a file that could not be read, or :class:`SuspectContentError` where
        a file was suspect.
        """
        if self._failed is not None:
            raise self._failed
        refuse(sorted(self._found, key=lambda suspect: suspect.path))


def of_files(found: Sequence[tuple[str, Path, int]], known: Iterable[str]) -> list[Suspect]:
    """The same of files that lie in a folder: (path, place, bytes). `known` are paths that the
    folder has beside them.
    """
    paths = {*known, *(path for path, _, _ in found)}
    suspects = list(shards.incomplete((path for path, _, _ in found), paths))
    for path, place, size in found:
        if shards.is_index(path) and 0 < size <= shards.MAX_INDEX:
            with _open_file(place) as read:
                suspect = shards.judge_index(path, read(0, size), paths)
        else:
            suspect = _judged(path, size, lambda place=place: _open_file(place))  # type: ignore[misc]
        suspects += [suspect] if suspect is not None else []
    return sorted(suspects, key=lambda suspect: suspect.path)


def of_names(files: Iterable[FileEntry], known: Iterable[str]) -> list[Suspect]:
    """What the names and sizes of files say already, before their bytes are here."""
    files = list(files)
    suspects = list(shards.incomplete((entry.path for entry in files), set(known)))
    empty = (judge(entry.path, 0, lambda _at, _count: b"") for entry in files if not entry.size)
    return sorted((*suspects, *filter(None, empty)), key=lambda suspect: suspect.path)


def warn(control: Control, suspects: Iterable[Suspect], where: str = "") -> None:
    """Reports them, the first of very many; `where` stands before each path."""
    found = list(suspects)
    for suspect in found[:_MOST_WARNINGS]:
        control.emit(SuspectContent(where + suspect.path, suspect.flaw.value, suspect.reason))
    if len(found) > _MOST_WARNINGS:
        more = len(found) - _MOST_WARNINGS
        control.emit(Note(f"{where}{more} more files are not what their names say"))


def refuse(suspects: Sequence[Suspect]) -> None:
    """Raises :class:`SuspectContentError` where there are any."""
    if suspects:
        more = f"; and {len(suspects) - 1} more" if len(suspects) > 1 else ""
        raise SuspectContentError(f"{suspects[0].path}: {suspects[0].reason}{more}")


def _judged(path: str, size: int, opened: OpenAt) -> Suspect | None:
    if not is_judged(path, size):
        return judge(path, size, lambda _at, _count: b"")
    with opened() as read:
        return judge(path, size, read)


@contextmanager
def _memory(path: str) -> Iterator[None]:
    """A machine without memory says nothing of a file."""
    try:
        yield
    except MemoryError as error:
        raise ExhaustedError(f"not enough memory to look at {path}") from error


@contextmanager
def _open_file(place: Path) -> Iterator[Read]:
    with disk.reporting(place):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            yield lambda offset, length: os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
