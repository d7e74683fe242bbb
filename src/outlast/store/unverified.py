"""Marks of files whose bytes were passed on before the whole could be verified.

A mirror streams a file while it arrives. When the whole proves wrong, or the process dies, clients
are left with a beginning that may be wrong, and could resume it later from the right file. So a
mark is made, durably, before the first such byte leaves; while it stands, a client that resumes
gets the whole file instead. It is taken away when the very bytes that were passed on were verified
by the process that passed them on; else it stays for ever, and costs a client a second download.
"""

from pathlib import Path

from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.writer import WriteSession


def mark(archive: Archive, writer: WriteSession, key: str) -> bool:
    """Marks the file `key` (see `FileEntry.key`); whether it was not marked before."""
    return writer.write_new(_path(archive, key), b"", 0o644)


def is_marked(archive: Archive, key: str) -> bool:
    return _path(archive, key).exists()


def unmark(archive: Archive, key: str) -> None:
    """The bytes that were passed on as the file `key` are the right ones."""
    path = _path(archive, key)
    with disk.reporting(path):
        disk.remove(path)


def _path(archive: Archive, key: str) -> Path:
    return archive.layout.unverified / key
