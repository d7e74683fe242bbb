"""Payloads that came without a name: whether one is a capsule, and of what."""

from pathlib import Path

from outlast.codec.merkle import Tree
from outlast.codec.reader import read_directory
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest, Names
from outlast.core.errors import CorruptError, MalformedError, NotArchivedError
from outlast.intake.capsule_stream import Intake
from outlast.intake.local_file import hash_blob
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile


def take_if_capsule(intake: Intake, place: Path, tree: Tree | None, cancel: Cancel) -> Names | None:
    """Takes the file at `place`, with this `tree`, as the capsule that it is; the names of what it
    restores. None where it is no capsule, or restores nothing: then it is a file as any other.

    Raises :class:`NotArchivedError` where a base of it is not here.
    """
    archive, writer = intake.archive, intake.writer
    try:
        file = StoredFile(place)
        try:
            directory = read_directory(file)
        finally:
            file.close()
    except (MalformedError, CorruptError):
        return None
    for base in directory.bases:
        if not writer.lease(base.sha256, base.size):
            raise NotArchivedError(
                f"the file is a capsule that depends on {base.sha256}, which is not here",
                hint="pull the model that has this file, then run the same command again",
            )
    temp = writer.temp()
    with disk.reporting(place):
        disk.link_or_copy(place, temp)
        disk.set_mode(temp, disk.READ_ONLY)
    blob = directory.sha256
    try:
        with archive.open_unverified(blob, temp) as reader:
            size = reader.size
        archive.take_capsule(writer, temp, blob, size, tree)
    except (MalformedError, CorruptError):
        return None
    return names_here(archive, blob, cancel)


def names_here(archive: Archive, blob: Digest, cancel: Cancel) -> Names:
    """All names of a blob that is here, by reading it."""
    with archive.open_blob(blob) as reader:
        names = hash_blob(reader, cancel)
    if names.sha256 != blob:
        raise CorruptError(f"blob {blob.short}… is damaged: its sha256 is not its name")
    archive.note_names(names)
    return names
