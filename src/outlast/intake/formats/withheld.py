"""The files of a revision that other programs do not get: what is unsafe, and not allowed."""

from collections.abc import Iterable, Mapping

from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.intake.formats.allowed import AllowedUnsafe
from outlast.intake.formats.unsafe import Unsafe, find_unsafe
from outlast.store.archive import Archive


def unsafe_files(archive: Archive, entries: Iterable[FileEntry]) -> dict[str, Unsafe]:
    """What is unsafe about those of `entries` that are here, by path. Each blob is looked at once
    for each of its names. Raises what reading raises.
    """
    found = {}
    for entry in entries:
        if entry.sha256 is None or not entry.size:
            continue
        unsafe = look(archive, entry.path, entry.sha256)
        if unsafe is not None:
            found[entry.path] = unsafe
    return found


def look(archive: Archive, path: str, digest: Digest) -> Unsafe | None:
    """What is unsafe about a blob as the file `path`. Raises what reading raises."""
    with archive.open_blob(digest) as blob:

        def read(offset: int, length: int) -> bytes:
            data = bytearray(max(0, min(length, blob.size - offset)))
            blob.readinto(offset, memoryview(data))
            return bytes(data)

        return find_unsafe(path, blob.size, read)


def withheld(archive: Archive, entries: Iterable[FileEntry]) -> Mapping[str, Unsafe]:
    """The same without those that the operator allows."""
    entries = list(entries)
    found = unsafe_files(archive, entries)
    if not found:
        return found
    allowed = AllowedUnsafe(archive.layout.home).digests()
    digests = {entry.path: entry.sha256 for entry in entries}
    return {path: unsafe for path, unsafe in found.items() if digests[path] not in allowed}
