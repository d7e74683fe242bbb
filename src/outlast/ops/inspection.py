"""Reading one capsule to the last byte: what it restores, and what is damaged."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from outlast.codec import format as fmt
from outlast.codec.memory import Readable, read, scratch
from outlast.codec.reader import CapsuleReader
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError
from outlast.core.events import Progress
from outlast.store import reading
from outlast.store.archive import Archive

_NAMED: Final = 5
"""Damaged parts that a message names."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found: `problem` is empty where nothing is wrong. `reads` says that every byte of
    the blob can be had all the same, `blameless` that the fault is in what the capsule leans on.
    """

    size: int
    problem: str = ""
    reads: bool = True
    blameless: bool = False


def check_capsule(archive: Archive, digest: Digest, control: Control) -> Inspected:
    """Decodes the whole capsule of a blob, compares the sha256, and checks the parts that are
    there twice. Raises :class:`NotArchivedError` where it, or what it leans on, is not here, and
    :class:`StorageError` where the disk fails.
    """
    path = archive.layout.capsule(digest)
    try:
        with reading.open_capsule(archive.layout, digest, path) as blob:
            assert blob.capsule is not None
            return _check(blob.capsule, blob.file, digest, control)
    except IntegrityError as error:
        return Inspected(0, f"damaged: {error}", reads=False)


def _check(capsule: CapsuleReader, file: Readable, digest: Digest, control: Control) -> Inspected:
    found, failed = _decode(capsule, f"blob {digest.short}", control)
    if failed:
        damaged = [part for part in capsule.damage() if part.startswith("block")]
        if not damaged and not capsule.directory.bases:
            return Inspected(capsule.size, f"damaged: {failed}", reads=False)
        if not damaged:
            text = f"cannot be restored: {failed}; the capsule itself is intact, its base is not"
            return Inspected(capsule.size, text, reads=False, blameless=True)
        return Inspected(capsule.size, f"damaged: {_list(damaged)}", reads=False)
    if found != digest:
        return Inspected(capsule.size, f"damaged: it restores {found.short}…", reads=False)
    doubled = list(_frame(capsule, file))
    if doubled:
        text = f"damaged, but it still reads: {_list(doubled)} ('outlast unpack' saves it)"
        return Inspected(capsule.size, text)
    return Inspected(capsule.size)


def _decode(capsule: CapsuleReader, name: str, control: Control) -> tuple[Digest, str]:
    """The sha256 of what the blocks restore, and what was wrong with the first that fails."""
    hasher, failed = hashlib.sha256(), ""
    for block in capsule.directory.blocks():
        control.cancel.check()
        with scratch(block.length) as buffer:
            try:
                capsule.decode(block, buffer)
            except IntegrityError as error:
                failed = failed or str(error)
            hasher.update(buffer)
        control.emit(Progress(name, block.length))
    return Digest(hasher.hexdigest()), failed


def _frame(capsule: CapsuleReader, file: Readable) -> Iterator[str]:
    """What is damaged of all that is around the blocks."""
    if read(file, 0, len(fmt.HEAD)) != fmt.HEAD:
        yield "the head"
    directory = capsule.directory
    end = directory.pack_end()
    if read(file, directory.payload_end, len(end)) != end:
        yield "one copy of the directory or of the trailer"


def _list(parts: list[str]) -> str:
    more = f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
    return ", ".join(parts[:_NAMED]) + more
