"""What is right of a damaged blob goes into its partial, so that only the rest has to come again.

The damaged file is read and never written to: a right one takes its name once all of that was
hashed. A piece counts as right by the merkle tree of the file where that is known, else by its sum
or by the checksums of the capsule's blocks; and the sha256 of the whole has the last word.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from outlast.codec import merkle
from outlast.codec.memory import Readable, scratch
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, MalformedError, NotArchivedError, StorageError
from outlast.core.manifest import FileEntry
from outlast.store import reading
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile
from outlast.store.partials import Partial
from outlast.store.soundness import sums

_log = logging.getLogger(__name__)
_BY: Final = "mending"
_UNUSABLE: Final = (IntegrityError, NotArchivedError, StorageError)
"""What is raised where bytes are wrong, or the disk does not give them."""

_IsRight = Callable[[int, memoryview], bool]
"""Whether a piece is the one with that number."""


def damaged_blob(archive: Archive, entry: FileEntry) -> Digest | None:
    """The blob of `entry`, if it lies here and is known to be damaged, or to depend on damage."""
    if not archive.damage.all():
        return None
    known = entry if entry.sha256 is not None else archive.known(entry)
    if known is None or known.sha256 is None:
        return None
    if archive.damage.of(known.sha256):
        return known.sha256
    return known.sha256 if archive.lies_here(known) and not archive.holds(known) else None


def noted_tree(archive: Archive, blob: Digest, size: int) -> Tree | None:
    """The merkle tree of a blob's plain bytes, as it was noted of whatever file held them once: it
    is that of the root which the manifests name.
    """
    root = archive.index.root_of(blob)
    if root is None:
        return None
    with contextlib.suppress(MalformedError):
        if merkle.piece_count(size) == 1:
            return Tree.checked(size, root, b"")
        stamps = [one.stamp for one in archive.index.trees_of(blob)]
        tree = archive.index.tree(blob, Form.PLAIN, stamps)
        return tree if tree is not None and (tree.size, tree.root) == (size, root) else None
    return None


def salvage(
    archive: Archive, blob: Digest, partial: Partial, tree: Tree | None, cancel: Cancel
) -> set[int]:
    """Copies the right pieces of the damaged `blob`, in whatever form, and of its working copy into
    the partial of its plain bytes; which ones. `tree` is that of these bytes, if it is known.
    """
    is_right = _judge(archive, blob, partial.size, tree)
    kept = set[int]()
    for source, right in _sources(archive, blob, partial.size, is_right):
        with contextlib.closing(source):
            kept |= _copy(source, partial, right, cancel)
    _log.info("%s is damaged: %d of %d pieces are right here", blob, len(kept), len(partial.have))
    return kept


def salvage_capsule(
    archive: Archive, blob: Digest, partial: Partial, tree: Tree, cancel: Cancel
) -> set[int]:
    """The same of the damaged capsule of a blob, for the partial of that capsule."""
    with contextlib.suppress(FileNotFoundError, *_UNUSABLE):
        file = StoredFile(archive.layout.capsule(blob))
        with contextlib.closing(file):
            if file.size == partial.size:
                return _copy(file, partial, tree.matches, cancel)
    return set()


def lacking_pieces(
    archive: Archive, entry: FileEntry, among: Iterable[int], cancel: Cancel
) -> set[int]:
    """Those pieces of a damaged file that are right nowhere here."""
    blob, size, left = entry.sha256, entry.size, set(among)
    assert blob is not None
    is_right = _judge(archive, blob, size, noted_tree(archive, blob, size))
    for source, right in _sources(archive, blob, size, is_right):
        with contextlib.closing(source):
            left -= {index for index in sorted(left) if _has(source, index, size, right, cancel)}
    return left


def _has(source: "_Salvageable", index: int, size: int, is_right: _IsRight, cancel: Cancel) -> bool:
    cancel.check()
    start = index * merkle.PIECE
    with scratch(min(merkle.PIECE, size - start)) as piece, contextlib.suppress(*_UNUSABLE):
        source.readinto(start, piece)
        return is_right(index, piece)
    return False


def held_piece(archive: Archive, entry: FileEntry, index: int) -> bytes | None:
    """Piece `index` of a damaged file, if it is right somewhere here."""
    blob, start = entry.sha256, index * merkle.PIECE
    if blob is None:
        return None
    is_right = _judge(archive, blob, entry.size, noted_tree(archive, blob, entry.size))
    with scratch(min(merkle.PIECE, entry.size - start)) as piece:
        for source, right in _sources(archive, blob, entry.size, is_right):
            with contextlib.closing(source), contextlib.suppress(*_UNUSABLE):
                source.readinto(start, piece)
                if right(index, piece):
                    return bytes(piece)
    return None


class _Salvageable(Readable, Protocol):
    """What a blob may be read from."""

    def close(self) -> None: ...


def _judge(archive: Archive, blob: Digest, size: int, tree: Tree | None) -> _IsRight | None:
    """Tells right pieces of plain bytes from others; None where nothing can."""
    if tree is not None:
        return tree.matches
    if not sums.is_needed(size):
        return lambda _index, piece: Digest.of(piece) == blob
    known = sums.load(archive.layout.sums_of(blob), blob, size)
    return None if known is None else known.is_right


def _sources(
    archive: Archive, blob: Digest, size: int, is_right: _IsRight | None
) -> Iterator[tuple[_Salvageable, _IsRight]]:
    """What lies here of a blob, and what tells which of its pieces are right."""
    layout = archive.layout
    if is_right is not None:
        for path in (layout.blob(blob), layout.copy(blob)):
            if (file := _opened(path)) is not None:
                yield file, is_right
    with contextlib.suppress(*_UNUSABLE):
        capsule = reading.open_damaged(archive.soundness, blob, Form.CAPSULE, by=_BY)
        # Its blocks have checksums. What restores another size restores none of the pieces.
        yield capsule, lambda _index, _piece: capsule.size == size


def _opened(path: Path) -> StoredFile | None:
    with contextlib.suppress(FileNotFoundError, StorageError):
        return StoredFile(path)
    return None


def _copy(source: Readable, partial: Partial, is_right: _IsRight, cancel: Cancel) -> set[int]:
    """Fills gaps of the partial; which pieces that were."""
    copied = set[int]()
    for index, have in enumerate(partial.have):
        if have:
            continue
        cancel.check()
        start = index * merkle.PIECE
        with scratch(min(merkle.PIECE, partial.size - start)) as piece:
            try:
                source.readinto(start, piece)
            except _UNUSABLE:
                continue
            if is_right(index, piece):
                partial.write(index, piece)
                copied.add(index)
    return copied
