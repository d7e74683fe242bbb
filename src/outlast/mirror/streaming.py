"""Files that clients read while they download: one fetch for all clients of a file."""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from outlast.codec import merkle
from outlast.core.cancel import Cancel
from outlast.core.digest import GitOid
from outlast.core.errors import BusyError, Cancelled, OutlastError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.download import Download
from outlast.fetch.mending import mend_bases
from outlast.fetch.revision import FetchContext, fetch_files
from outlast.mirror.asker import Voice
from outlast.mirror.intake import Admission
from outlast.store import unverified
from outlast.store.records.draft_writer import DraftWriter

_log = logging.getLogger(__name__)

Wanted = tuple[RepoId, GitOid, FileEntry]
"""A file of a commit, as its source lists it."""
Ended = Callable[[RepoId, GitOid, FileEntry, BaseException | None], None]
Hold = Callable[[RepoId, GitOid], Callable[[], object]]
"""Keeps a revision in the archive until what it returns is called."""
Come = Callable[[RepoId, GitOid, FileEntry], FileEntry | None]
"""A file of a commit with all of its names, where it has come."""


_Stamp = tuple[int, ...]
"""The identity of a file on the disk, and when it was written to; empty where it is gone."""


def _stamp(path: Path) -> _Stamp:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


class StreamingFile:
    """One file on its way through a mirror, as its readers see it.

    Readers may have the bytes below `readable`; the last piece only when the whole is verified.
    A reader that began in an `epoch` that is over holds bytes that proved wrong, and gets no more.
    """

    def __init__(
        self,
        entry: FileEntry,
        shelf: RepoId | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`shelf` is the model that the bytes come for, unless everybody may have them."""
        self.entry = entry
        self.shelf = shelf
        self.epoch = 0
        self.finished = False
        self.error: BaseException | None = None
        self.first_to_stream = False
        """Whether this fetch is the first that ever passed on bytes of the file unverified: then
        a client's beginning can only be its own."""
        self.wanted: set[Wanted] = set()
        """All that ask for these bytes, the first of them included."""
        self.releases: list[Callable[[], object]] = []
        """What ends the holds on the revisions that it comes for."""
        self._lock = threading.Lock()
        self._download: Download | None = None
        self._listeners: set[Callable[[], None]] = set()
        self._clock = clock
        self._deserted = clock()
        """When the last reader went."""
        self._pause = Cancel()
        self._left: _Stamp | None = None
        """What the partial was when the fetch was paused; None if it was not, or goes on."""

    @property
    def readable(self) -> int:
        """Bytes from the start that readers may have."""
        if self.finished:
            return self.entry.size
        download = self._download
        if download is None:
            return 0
        held_back = (download.count - 1) * merkle.PIECE
        return min(download.frontier * merkle.PIECE, held_back)

    def count_written(self) -> int:
        """Bytes that are on the disk, wherever in the file."""
        download = self._download
        return sum(download.partial.have) * merkle.PIECE if download is not None else 0

    def open(self) -> int | None:
        """A descriptor of the bytes so far (to be closed by the caller); None before the first."""
        download = self._download
        if download is None:
            return None
        try:
            return os.open(download.partial.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it just became a blob
            return None

    def beginning(self, most: int) -> bytes:
        """The first bytes that readers may have, at most `most`."""
        fd = self.open()
        if fd is None:
            return b""
        with os.fdopen(fd, "rb") as file:
            return file.read(min(most, self.readable))

    def may_continue(self, epoch: int) -> bool:
        """Whether a reader that began in `epoch` may have more."""
        return epoch == self.epoch and self.error is None

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls `listener` (which must not block) whenever something changed."""
        with self._lock:
            self._listeners.add(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        with self._lock:
            self._listeners.discard(listener)
            self._deserted = self._clock()

    def is_followed(self) -> bool:
        """Whether a reader listens."""
        return self.deserted() is None

    def deserted(self) -> float | None:
        """Since when no reader listens (by the clock); None while one does."""
        with self._lock:
            return None if self._listeners else self._deserted

    # Pausing: what readers have stays good as long as the partial is as it was left.

    def pause(self) -> None:
        """The run of the fetch is to end soon, and another one to go on later."""
        with self._lock:
            self._pause.set()

    def running(self, cancel: Cancel) -> Cancel:
        """The token of a run that begins: it is set by :meth:`pause`, and with `cancel`."""
        with self._lock:
            asked, self._pause = self._pause.is_set, Cancel(below=cancel)
            if asked:
                self._pause.set()
            return self._pause

    def paused(self) -> bool:
        """A run was cancelled: whether it was by :meth:`pause`. Then the next may begin."""
        with self._lock:
            asked, self._pause = self._pause.is_set, Cancel()
        if asked and self._download is not None and self._left is None:
            self._download.await_closed()  # a piece that came last may be on its way to the disk
            self._left = _stamp(self._download.partial.path)
        return asked

    # Called by the transfer

    def started(self, download: Download) -> None:
        before, left, self._left = self._download, self._left, None
        changed = left is not None and left != _stamp(download.partial.path)
        if changed or (before is not None and download.frontier < before.frontier):
            self.mismatched()
        download.watcher = self
        self._download = download
        self.advanced()

    def came(self) -> None:
        """A run has brought the whole file, verified."""
        if self._left is not None:  # another process did, and with other bytes perhaps
            self.mismatched()

    def advanced(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def mismatched(self) -> None:
        _log.debug("%r may be wrong: clients that have bytes of it are cut off", self.entry.path)
        self.epoch += 1

    def end(self, error: BaseException | None) -> None:
        self.error = error
        self.finished = error is None
        self.advanced()


class StreamingFiles:
    """All files that a mirror is fetching. One fetch per content, a bounded number at once.

    `come` tells of files that came since the caller of :meth:`fetch` looked. `ended` gets the
    outcome of each fetch, for every commit that wanted the file: the file with all of its names, or
    the error. `unheard` gets errors that no reader is there to raise; and
    all bugs, because a reader that is sending when one comes may end without raising it.
    """

    def __init__(
        self,
        context: Callable[[Voice], FetchContext],
        ended: Ended,
        unheard: Callable[[BaseException], None],
        intake: Admission,
        *,
        hold: Hold = lambda _repo, _commit: bool,
        come: Come = lambda *_file: None,
    ) -> None:
        self._hold = hold
        self._come = come
        self._fetch_context = context
        self._ended = ended
        self._unheard = unheard
        self._lock = threading.Lock()
        self._running: dict[str, StreamingFile] = {}
        self._intake = intake

    def fetch(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, voice: Voice, *, here: bool = False
    ) -> StreamingFile:
        """The fetch of `entry` from where `voice` may, under way or begun now; `here` tells that
        its bytes are in the archive, and only read again. Raises what :meth:`Admission.admit` does.

        What arrives for a private or gated model is handed to no client of another model that
        claims to have the same file: :class:`BusyError` until that fetch has ended.
        """
        shelf = None if voice.is_public else repo
        with self._lock:
            streaming = self._running.get(entry.key)
            if streaming is not None and streaming.shelf != shelf:
                raise BusyError(f"{entry.path!r} is being fetched for another model: ask again")
            if streaming is None:
                _log.debug("fetching %r of %s@%s: a client asks for it", entry.path, repo, commit)
                size = 0 if here else entry.size
                self._intake.admit(size)
                streaming = StreamingFile(entry, shelf, self._intake.clock)
                self._running[entry.key] = streaming
                self._intake.submit(
                    size,
                    partial(self._run, repo, commit, streaming, voice),
                    streaming.deserted,
                    streaming.pause,
                    streaming.count_written,
                )
            if (repo, commit, entry) not in streaming.wanted:
                streaming.wanted.add((repo, commit, entry))
                streaming.releases.append(self._hold(repo, commit))
        return streaming

    def find(self, key: str) -> StreamingFile | None:
        """The fetch of the file `key` that is under way."""
        with self._lock:
            return self._running.get(key)

    @property
    def count(self) -> int:
        return len(self._running)

    def _run(self, repo: RepoId, commit: GitOid, streaming: StreamingFile, voice: Voice) -> bool:
        """Fetches the file; whether it was paused, so that it has to go on later."""
        error: BaseException | None = None
        key = streaming.entry.key
        context: FetchContext | None = None
        try:
            context = self._fetch_context(voice)
            with context.writer, self._intake.beside() as claim:
                self._fetch(replace(context, claim=claim), repo, commit, streaming)
        except BaseException as caught:  # noqa: BLE001 - the readers raise it
            error = caught
        stopped = context is None or context.control.cancel.is_set
        if isinstance(error, Cancelled) and not stopped and streaming.paused():
            _log.debug("fetch of %r for %s@%s paused", streaming.entry.path, repo, commit)
            return True
        # Removed before the readers hear of the end, so that a reader that asks again starts anew.
        with self._lock:
            self._running.pop(key, None)
        _log.debug(
            "fetch of %r for %s@%s ended: %s",
            streaming.entry.path,
            repo,
            commit,
            "verified" if error is None else error,
        )
        is_bug = error is not None and not isinstance(error, OutlastError)
        if error is not None and (is_bug or not streaming.is_followed()):
            self._unheard(error)
        streaming.end(error)
        for wanted in streaming.wanted:  # complete: it is in the table no more
            self._tell(wanted, streaming.entry, error)
        for release in streaming.releases:
            release()
        return False

    def _tell(self, wanted: Wanted, came: FileEntry, error: BaseException | None) -> None:
        repo, commit, entry = wanted
        if error is None:
            entry = replace(entry, sha256=came.sha256, merkle_root=came.merkle_root)
        try:
            self._ended(repo, commit, entry, error)
        except BaseException as problem:  # noqa: BLE001 - no caller waits for this thread
            self._unheard(problem)

    def _fetch(
        self, context: FetchContext, repo: RepoId, commit: GitOid, streaming: StreamingFile
    ) -> None:
        came = self._come(repo, commit, streaming.entry)
        if came is not None:
            streaming.entry = came
            streaming.came()
            return
        key = streaming.entry.key
        mend_bases(context, [streaming.entry])  # then it may be here
        # What is here already, and only lacks some of its names, is not streamed.
        streams = (
            streaming.entry.size > context.wishes.tuning.small_file
            and not context.archive.holds(streaming.entry)
        )
        if streams:
            # When it goes on after a pause, the mark is its own.
            streaming.first_to_stream |= unverified.mark(context.archive, context.writer, key)
        cancel = streaming.running(context.control.cancel)
        context = replace(context, control=replace(context.control, cancel=cancel))
        what = (repo, commit)  # a hub may have listed it anew meanwhile, without this file
        with DraftWriter(
            context.archive, context.writer, what, context.control.emit, listed=True
        ) as draft_writer:
            watch = streaming.started
            done = fetch_files(context, repo, commit, [streaming.entry], draft_writer, watch=watch)
        streaming.entry = done.files[0]
        streaming.came()
        if streams and streaming.first_to_stream and streaming.epoch == 0:
            unverified.unmark(context.archive, key)
