"""Remembering wrong bytes that were passed on before they could be judged.

A mirror streams a file while it arrives. When the whole proves wrong, the client has a beginning
that may be wrong too, and might resume it from the right file later. So we keep the merkle hashes
of the pieces that were passed on, and refuse a resumption from inside a doubtful beginning.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from outlast.model import merkle
from outlast.model.errors import OutlastError
from outlast.model.manifest import FileEntry, load_json
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.writer import Writer

_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Poisoned:
    """A wrong version of a file: `sent` of its bytes were passed on at most, in pieces with these
    merkle `hashes` (hex).
    """

    sent: int
    hashes: tuple[str, ...]


def record(archive: Archive, writer: Writer, key: str, bad: Poisoned) -> None:
    """Remembers one more wrong version of the file `key`."""
    versions = [*_load(_path(archive, key)), bad]
    document = [{"sent": v.sent, "hashes": list(v.hashes)} for v in versions]
    writer.write(_path(archive, key), json.dumps(document).encode() + b"\n", 0o644)


def is_recorded(archive: Archive, key: str) -> bool:
    """Whether wrong bytes were ever passed on as the file `key`."""
    return _path(archive, key).exists()


def doubtful(archive: Archive, entry: FileEntry) -> tuple[int, int] | None:
    """The bytes of an archived file of which a client that resumes may hold wrong ones: from the
    first piece that differed, to the end of what was passed on. None where nothing is in doubt.
    """
    versions = _load(_path(archive, entry.key))
    if not versions or entry.sha256 is None:
        return None
    start, stop = entry.size, 0
    buffer = memoryview(bytearray(merkle.PIECE))
    with archive.open(entry.sha256) as file:
        for version in versions:
            first = _first_difference(file.fileno(), entry.size, version.hashes, buffer)
            if first is not None:
                start, stop = min(start, first * merkle.PIECE), max(stop, version.sent)
    return (start, stop) if start < stop else None


def _first_difference(
    fd: int, size: int, hashes: tuple[str, ...], buffer: memoryview
) -> int | None:
    for index, bad in enumerate(hashes):
        offset = index * merkle.PIECE
        piece = buffer[: min(merkle.PIECE, size - offset)]
        disk.read_exactly(fd, piece, offset)
        if merkle.piece_hash(piece).hex() != bad:
            return index
    return None


def _path(archive: Archive, key: str) -> Path:
    return archive.layout.poisoned / f"{key}.json"


def _load(path: Path) -> list[Poisoned]:
    try:
        document = load_json(path.read_bytes(), _LIMIT)
    except (FileNotFoundError, OutlastError):
        return []
    return [Poisoned(int(item["sent"]), tuple(map(str, item["hashes"]))) for item in document]
