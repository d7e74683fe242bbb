"""Capsules have their directory and trailer twice: one that lost a copy is written anew."""

from collections.abc import Iterator

from outlast.codec import format as fmt
from outlast.codec.memory import scratch
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError
from outlast.store import disk, reading
from outlast.store.archive import Archive
from outlast.store.reading import BlobReader

_CHUNK = 1 << 20


def mend_frame(archive: Archive, blob: Digest) -> None:
    """Writes the capsule of a blob anew, with what is around its blocks as it should be, and puts
    it in place once all of it was decoded. Raises :class:`CorruptError` where that is not the blob.
    """
    with archive.writer() as writer:
        temp = writer.temp()
        with reading.open_damaged(archive.soundness, blob, Form.CAPSULE, by="scrub") as damaged:
            with disk.reporting(temp):
                disk.write_chunks(temp, _chunks(damaged))
            size = damaged.size
        with archive.open_unverified(blob, temp) as capsule:
            if capsule.sha256() != blob:
                raise CorruptError(f"the capsule of {blob.short}… restores another blob")
        writer.pack(temp, blob, size)


def _chunks(damaged: BlobReader) -> Iterator[memoryview]:
    assert damaged.capsule is not None
    directory = damaged.capsule.directory
    yield memoryview(fmt.HEAD)
    for start in range(len(fmt.HEAD), directory.payload_end, _CHUNK):
        with scratch(min(_CHUNK, directory.payload_end - start)) as chunk:
            damaged.file.readinto(start, chunk)
            yield chunk
    yield memoryview(directory.pack_end())
