"""The torrent of a whole revision that is here."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final

from outlast.codec.merkle import PIECE
from outlast.model.control import Control
from outlast.model.errors import CorruptError, NotArchivedError
from outlast.model.events import Planned, Progress
from outlast.model.manifest import FileEntry, Revision
from outlast.store.archive import Archive
from outlast.swarm.hybrid import FileHasher, Hashed, Plan, WholeTorrent, put_together

_DECODERS: Final = 2


def whole_torrent(archive: Archive, revision: Revision, control: Control) -> WholeTorrent:
    """The torrent of all files of `revision`, below a folder with the name of its commit: so hubs
    can be its web seeds. Reads every byte, decodes what is held as capsules, and compares each
    file with its merkle root. The same manifest gives the same torrent everywhere.

    Raises :class:`NotArchivedError` where a file is not here, :class:`CorruptError` where one is
    not what its manifest says, :class:`UsageError` where no torrent can hold them.
    """
    absent = [entry.path for entry in revision.files if not archive.holds(entry)]
    if absent:
        raise NotArchivedError(f"{len(absent)} files are not here, among them {absent[0]!r}")
    plan = Plan.of(revision.id.hex, {entry.path: entry.size for entry in revision.files})
    entries = {entry.path: entry for entry in revision.files}
    control.emit(Planned("share", str(revision.repo), len(entries), revision.size))
    done: dict[tuple[str, bool], Hashed] = {}
    hashed = {}
    with ThreadPoolExecutor(_DECODERS + 1, thread_name_prefix="share") as pool:
        for path, _ in plan.files:
            key = (entries[path].key, path == plan.last)  # the last has no pad behind it
            if key not in done:
                done[key] = _hash(archive, plan, entries[path], pool, control)
            else:
                control.emit(Progress(path, entries[path].size))
            hashed[path] = done[key]
    return put_together(plan, hashed)


def _hash(
    archive: Archive, plan: Plan, entry: FileEntry, pool: Executor, control: Control
) -> Hashed:
    """One pass over a file; its tree grows beside the hashes of version 1."""
    assert entry.sha256 is not None, "a manifest names every file that is here"
    hasher = FileHasher(plan, entry.path, entry.size)
    with archive.open_blob(entry.sha256) as blob:
        for piece in _pieces(blob.chunks(pool, ahead=_DECODERS)):
            control.cancel.check()
            growing = pool.submit(hasher.grow_tree, piece)
            hasher.hash_pieces(piece)
            growing.result()
            control.emit(Progress(entry.path, len(piece)))
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
