"""The torrent of a whole revision that is here."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from outlast.codec.merkle import PIECE
from outlast.core.control import Control
from outlast.core.errors import CorruptError, NotArchivedError
from outlast.core.events import Planned, Progress
from outlast.core.manifest import FileEntry, Revision
from outlast.store.archive import Archive
from outlast.store.uses import naming
from outlast.swarm.torrent.revision_torrent import (
    FileHasher,
    HashedFile,
    RevisionTorrent,
    StreamHasher,
    TorrentLayout,
    V1Torrent,
    hybrid_torrent,
    v1_torrent,
)

_DECODERS: Final = 2
"""Threads that decode while two others hash: hashing is the slower part."""


@dataclass(frozen=True, slots=True)
class Made:
    """The torrents of a revision; `old`, where it was asked for, is of version 1 alone."""

    whole: RevisionTorrent
    old: V1Torrent | None = None


def whole_torrent(
    archive: Archive, revision: Revision, control: Control, *, old: bool = False
) -> Made:
    """The torrent of all files of `revision`, below a folder with the name of its commit: so hubs
    can be its web seeds. Reads every byte, decodes what is held as capsules, and compares each
    file with its merkle root. The same manifest gives the same torrent everywhere.

    Raises :class:`NotArchivedError` where a file is not here, :class:`CorruptError` where one is
    not what its manifest says, :class:`UsageError` where no torrent can hold them.
    """
    for entry in revision.files:
        if entry.sha256 is not None:
            with naming(revision.repo, entry):
                archive.refuse_damaged(entry.sha256)
    absent = [entry.path for entry in revision.files if not archive.holds(entry)]
    if absent:
        raise NotArchivedError(f"{len(absent)} files are not here, among them {absent[0]!r}")
    plan = TorrentLayout.of(revision.id.hex, {entry.path: entry.size for entry in revision.files})
    entries = {entry.path: entry for entry in revision.files}
    control.emit(Planned("share", str(revision.repo), len(entries), revision.size))
    hashed: dict[str, HashedFile] = {}
    done: dict[tuple[str, bool], HashedFile] = {}
    stream = StreamHasher(plan.piece_length) if old else None
    with ThreadPoolExecutor(_DECODERS + 2, thread_name_prefix="share") as pool:
        run = _Pass(archive, pool, stream, control)
        for path, size in plan.files:
            entry = entries[path]
            key = (entry.key, path == plan.last)  # the last has no pad behind it
            if key in done and stream is None:
                control.emit(Progress(path, size))
            else:
                with naming(revision.repo, entry):
                    done[key] = run.read(entry, FileHasher(plan, path, size))
            hashed[path] = done[key]
    whole = hybrid_torrent(plan, hashed)
    return Made(whole, v1_torrent(plan, stream.finish()) if stream is not None else None)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass over the files, in their order."""

    archive: Archive
    pool: Executor
    stream: StreamHasher | None
    control: Control

    def read(self, entry: FileEntry, hasher: FileHasher) -> HashedFile:
        """Hashes one file in two or three ways at once, piece by piece."""
        assert entry.sha256 is not None, "a manifest names every file that is here"
        with self.archive.open_blob(entry.sha256) as blob:
            for piece in _pieces(blob.chunks(self.pool, ahead=_DECODERS)):
                self.control.cancel.check()
                beside = [self.pool.submit(hasher.grow_tree, piece)]
                if self.stream is not None:
                    beside.append(self.pool.submit(self.stream.update, piece))
                hasher.hash_pieces(piece)
                for each in beside:
                    each.result()
                self.control.emit(Progress(entry.path, len(piece)))
        found = hasher.finish()
        if (found.tree.root if found.tree is not None else None) != entry.merkle_root:
            raise CorruptError(f"{entry.path} is damaged: its merkle root is not the manifest's")
        return found


def _pieces(chunks: Iterable[memoryview]) -> Iterator[memoryview]:
    """The same bytes in pieces of 1 MiB, each there until the next is asked for."""
    buffer, filled = memoryview(bytearray(PIECE)), 0
    for chunk in chunks:
        rest = chunk
        while rest:
            if not filled and len(rest) >= PIECE:
                yield rest[:PIECE]
                rest = rest[PIECE:]
                continue
            count = min(PIECE - filled, len(rest))
            buffer[filled : filled + count] = rest[:count]
            filled, rest = filled + count, rest[count:]
            if filled == PIECE:
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]
