"""Acknowledging files: one thread notes in the draft what became durable, many at a time."""

import queue
import threading
from types import TracebackType
from typing import Self

from outlast.core.digest import GitOid
from outlast.core.errors import RevisionNotFoundError
from outlast.core.events import Emit, FileDone
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.writer import WriteSession

_BATCH = 512


class DraftWriter:
    """Collects acknowledged files and appends them to a draft. Leaving the context waits until
    all of them are noted; a file is reported done only after that. `listed`: only files that the
    draft lists become part of it.
    """

    def __init__(
        self,
        archive: Archive,
        writer: WriteSession,
        what: tuple[RepoId, GitOid],
        emit: Emit,
        *,
        listed: bool = False,
    ) -> None:
        self._archive = archive
        self._writer = writer
        self._repo, self._commit = what
        self._emit = emit
        self._listed = listed
        self._queue: queue.SimpleQueue[tuple[FileEntry, bool] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def note(self, entry: FileEntry, *, already: bool = False) -> None:
        """The blob of `entry` is durable. `already`: it was here before."""
        self._queue.put((entry, already))

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                entries = [entry for entry, _ in batch]
                try:
                    self._archive.acknowledge(
                        self._writer, self._repo, self._commit, entries, listed=self._listed
                    )
                except RevisionNotFoundError:
                    raise RevisionNotFoundError(
                        f"{self._repo} at {self._commit} was removed while it was fetched"
                    ) from None
                for entry, already in batch:
                    self._emit(FileDone(entry.path, entry.size, entry.key, already))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error

    def _next_batch(self) -> list[tuple[FileEntry, bool]]:
        batch: list[tuple[FileEntry, bool]] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _BATCH:
                return batch
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._queue.put(None)  # seen too early: end after this batch
        return batch
