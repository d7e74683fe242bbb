"""Payloads: the files of an archive as peers hand them on, and the trees that check them."""

import hashlib
import os
from pathlib import Path

from outlast.codec import merkle
from outlast.codec.hashing import TreeHasher
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, NotArchivedError
from outlast.intake.local_file import hash_blob
from outlast.store.archive import Archive
from outlast.store.forms import stamp_of
from outlast.store.index import NotedTree
from outlast.store.reading import BlobReader


def held(archive: Archive, blob: Digest) -> tuple[Payload, ...]:
    """The payloads of a blob that lie on the disk and whose tree is known; hashes nothing. Cheap:
    a few look-ups. Without one, :func:`tree` makes the blob's form known. Of a blob that is known
    to be damaged there are none.
    """
    form = archive.forms.of(blob)
    if form is None or archive.damage.of(blob):
        return ()
    stamp = stamp_of_file(_file(archive, blob, form.form))
    return tuple(
        Payload(blob, form.form, noted.size, noted.root, form.bases)
        for noted in archive.index.trees_of(blob)
        if noted.form is _kind(form.form)
        and (noted.stamp, noted.size) == (stamp, form.stored_bytes)
    )


def tree(archive: Archive, blob: Digest, form: Form, cancel: Cancel) -> Tree:
    """The tree of a blob's plain bytes, or of the capsule that holds it. Where it is not known the
    file is read, found to be what it should be, and the tree noted: a second a gigabyte, about.
    The tree of plain bytes can be had of a capsule too.

    Raises :class:`NotArchivedError` where the blob is not here in that form, or is empty (then it
    has no tree); :class:`CorruptError`, :class:`MalformedError` where it is damaged.
    """
    known = archive.tree(blob, form)
    if known is not None:
        return known
    with archive.open_blob(blob) as reader:
        stamp = stamp_of(reader.stat())
        read = _plain_tree if form is Form.PLAIN else _capsule_tree
        found = read(reader, cancel)
    archive.forms.note_tree(blob, form, found, stamp)
    return found


def path(archive: Archive, payload: Payload) -> Path:
    """The file that holds a payload."""
    return _file(archive, payload.blob, payload.form)


def stamp(archive: Archive, blob: Digest) -> str:
    """Changes with the file that holds a blob; empty where there is none."""
    form = archive.forms.of(blob)
    return "" if form is None else stamp_of_file(_file(archive, blob, form.form))


def by_root(archive: Archive, root: Digest) -> Payload | None:
    """The payload with this root, if it lies on the disk."""
    for noted in archive.index.by_root(root):
        for payload in held(archive, noted.blob):
            if payload.root == root:
                return payload
    return None


def known_tree(archive: Archive, root: Digest) -> tuple[Digest, Tree] | None:
    """The tree with this root, and the blob that it is of: also that of plain bytes of which only
    the capsule is here. Hashes nothing.
    """
    for noted in archive.index.by_root(root):
        found = _checked(archive, noted)
        if found is not None:
            return noted.blob, found
    return None


def _checked(archive: Archive, noted: NotedTree) -> Tree | None:
    found = archive.tree(noted.blob, noted.form)
    return found if found is not None and found.root == noted.root else None


def _kind(form: Form) -> Form:
    return Form.PLAIN if form is Form.PLAIN else Form.CAPSULE


def _file(archive: Archive, blob: Digest, form: Form) -> Path:
    layout = archive.layout
    return layout.blob(blob) if form is Form.PLAIN else layout.capsule(blob)


def stamp_of_file(file: Path) -> str:
    """Changes with the file; empty where there is none."""
    try:
        return stamp_of(os.stat(file))
    except FileNotFoundError:
        return ""


def _plain_tree(reader: BlobReader, cancel: Cancel) -> Tree:
    if not reader.size:
        raise NotArchivedError(f"blob {reader.digest.short}… is empty: it has no tree")
    names = hash_blob(reader, cancel)
    if names.sha256 != reader.digest or names.merkle_root is None:
        raise _damage(reader.digest)
    return Tree(names.size, names.merkle_root, names.layer)


def _capsule_tree(reader: BlobReader, cancel: Cancel) -> Tree:
    """Of the file as it is; but what restores another blob is nothing to hand on."""
    if reader.capsule is None:
        raise NotArchivedError(f"blob {reader.digest.short}… is not here as a capsule")
    hasher, file = TreeHasher(), reader.file
    buffer = memoryview(bytearray(min(merkle.PIECE, file.size)))
    for offset in range(0, file.size, merkle.PIECE):
        cancel.check()
        piece = buffer[: min(merkle.PIECE, file.size - offset)]
        file.readinto(offset, piece)
        hasher.update(piece)
    restored = hashlib.sha256()
    for chunk in reader.chunks():
        cancel.check()
        restored.update(chunk)
    found = hasher.tree()
    if found is None or restored.hexdigest() != reader.digest.hex:
        raise _damage(reader.digest)
    return found


def _damage(blob: Digest) -> CorruptError:
    return CorruptError(f"blob {blob.short}… is damaged: its sha256 is not its name")
