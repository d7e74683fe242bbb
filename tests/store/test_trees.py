"""Trees of payloads: noted as the bytes come in, believed while the file stays as it was."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from outlast.codec import merkle
from outlast.codec.hashing import TreeHasher, names_of
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.writer import WriteSession
from tests.noise import noise
from tests.store.build import put
from tests.store.weights import encoded, encoded_bytes, model, tuned, unpack

SMALL = b"weights" * 1000
LARGE = noise(5, 3 * merkle.PIECE + 12345)
WEIGHTS = model(1)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as archive:
        yield archive


@pytest.fixture
def writer(archive: Archive) -> Iterator[WriteSession]:
    with archive.writer() as writer:
        yield writer


def tree_of(data: bytes) -> Tree:
    """Of plain bytes, the straightforward way."""
    names = names_of(data)
    assert names.merkle_root is not None
    return Tree(len(data), names.merkle_root, names.layer)


@contextlib.contextmanager
def raw(archive: Archive) -> Iterator[sqlite3.Connection]:
    """The index's file, behind its back."""
    db = sqlite3.connect(archive.layout.index)
    with contextlib.closing(db), db:
        yield db


@pytest.mark.parametrize(
    "size",
    [
        *(1, merkle.BLOCK, merkle.BLOCK + 1, merkle.PIECE - 1, merkle.PIECE, merkle.PIECE + 1),
        *(2 * merkle.PIECE, 7 * merkle.PIECE + 1),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_tree_is_the_same_however_the_bytes_come(size: int, workers: int) -> None:
    data = Random(size).randbytes(size)
    random = Random(workers)
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers)) if workers else None
        hasher = TreeHasher(pool)
        at = 0
        while at < size:
            step = random.choice([1, 1000, merkle.PIECE, 3 * merkle.PIECE])
            hasher.update(data[at : at + step])
            at += step
        assert hasher.tree() == tree_of(data)


def test_an_empty_file_has_no_tree() -> None:
    assert TreeHasher().tree() is None


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_blob_that_is_put_has_its_tree(
    archive: Archive, writer: WriteSession, data: bytes
) -> None:
    (digest,) = put(archive, writer, data)
    assert archive.tree(digest, Form.PLAIN) == tree_of(data)
    assert archive.tree(digest, Form.CAPSULE) is None
    found = archive.index.by_root(tree_of(data).root)
    assert [(f.blob, f.form, f.size) for f in found] == [(digest, Form.PLAIN, len(data))]
    assert archive.index.by_root(Digest.of(b"another")) == []


def test_nothing_is_noted_of_an_empty_blob_or_one_that_is_not_here(
    archive: Archive, writer: WriteSession
) -> None:
    (digest,) = put(archive, writer, b"")
    assert archive.tree(digest, Form.PLAIN) is None
    names = names_of(SMALL)
    archive.note_names(names)
    assert archive.index.trees_of(names.sha256) == []


def test_a_tree_does_not_count_once_the_file_is_another(
    archive: Archive, writer: WriteSession
) -> None:
    (digest,) = put(archive, writer, LARGE)
    path = archive.layout.blob(digest)
    mtime = path.stat().st_mtime_ns
    os.utime(path, ns=(mtime, mtime + 1))
    assert archive.tree(digest, Form.PLAIN) is None
    os.utime(path, ns=(mtime, mtime))
    assert archive.tree(digest, Form.PLAIN) is not None
    disk.remove(path)
    assert archive.tree(digest, Form.PLAIN) is None


def test_a_capsule_has_the_tree_of_its_file(archive: Archive, writer: WriteSession) -> None:
    with encoded_bytes(archive, writer, WEIGHTS) as encoding:
        assert encoding.publish(Digest.of(WEIGHTS))
    digest = Digest.of(WEIGHTS)
    capsule = archive.layout.capsule(digest).read_bytes()
    assert archive.tree(digest, Form.CAPSULE) == tree_of(capsule)
    assert archive.tree(digest, Form.DELTA) == tree_of(capsule)  # the same kind of file
    assert archive.tree(digest, Form.PLAIN) is None
    archive.note_names(names_of(WEIGHTS))
    assert archive.tree(digest, Form.PLAIN) == tree_of(WEIGHTS)


def test_a_change_of_form_leaves_the_right_trees(archive: Archive, writer: WriteSession) -> None:
    base, fine = put(archive, writer, WEIGHTS, tuned(WEIGHTS, 2))
    with encoded(archive, writer, fine, base) as encoding:
        assert writer.pack(encoding.path, fine, archive.form_of(fine).size, encoding.tree)
    path = archive.layout.capsule(fine)
    assert archive.form_of(fine).form is Form.DELTA
    assert archive.tree(fine, Form.DELTA) == tree_of(path.read_bytes())
    unpack(archive, writer, fine)
    assert archive.tree(fine, Form.DELTA) is None


def test_a_capsule_of_several_pieces(archive: Archive, writer: WriteSession) -> None:
    data = model(7, weights=1_500_000)
    digest = Digest.of(data)
    with encoded_bytes(archive, writer, data) as encoding:
        assert encoding.publish(digest)
    tree = archive.tree(digest, Form.CAPSULE)
    assert tree == tree_of(archive.layout.capsule(digest).read_bytes())
    assert tree is not None
    assert tree.count > 1


def test_a_capsule_from_elsewhere_keeps_the_tree_it_came_with(
    archive: Archive, writer: WriteSession
) -> None:
    (digest,) = put(archive, writer, WEIGHTS)
    with encoded(archive, writer, digest) as encoding:
        data = encoding.path.read_bytes()
    disk.remove(archive.layout.blob(digest))
    for tree in (None, tree_of(data)):
        temp = writer.temp()
        disk.write_temp(temp, data, disk.READ_ONLY)
        assert archive.take_capsule(writer, temp, digest, len(WEIGHTS), tree)
        assert archive.tree(digest, Form.CAPSULE) == tree
        disk.remove(archive.layout.capsule(digest))


def test_what_is_collected_takes_its_trees_with_it(archive: Archive) -> None:
    with archive.writer() as writer:
        (digest,) = put(archive, writer, LARGE)
    assert archive.index.trees_of(digest)
    list(collect(archive, dry_run=True))
    assert archive.index.trees_of(digest)
    list(collect(archive, dry_run=False))
    assert not archive.index.trees_of(digest)


FORGED = {
    "a layer of another file": ("layer", b"\1" * 128),
    "a short layer": ("layer", b"\1" * 31),
    "no layer": ("layer", b""),
    "a layer that is text": ("layer", "x" * 128),
    "another root": ("root", "ab" * 32),
    "no root": ("root", "../../etc/passwd"),
    "a root that is bytes": ("root", b"\0"),
    "another size": ("size", 5),
    "a negative size": ("size", -1),
    "a huge size": ("size", 1 << 62),
    "a size that is text": ("size", "many"),
    "a size that is no whole number": ("size", 0.5),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_tree_is_no_tree(archive: Archive, writer: WriteSession, what: str) -> None:
    (digest,) = put(archive, writer, LARGE)
    column, value = FORGED[what]
    with raw(archive) as db:
        db.execute(f"UPDATE trees SET {column} = ?", (value,))  # noqa: S608
    assert archive.tree(digest, Form.PLAIN) is None
    archive.index.trees_of(digest)
    archive.index.by_root(tree_of(LARGE).root)
    archive.note_names(names_of(LARGE))
    assert archive.tree(digest, Form.PLAIN) == tree_of(LARGE)


def test_a_garbled_form_is_left_out(archive: Archive, writer: WriteSession) -> None:
    (digest,) = put(archive, writer, LARGE)
    with raw(archive) as db:
        db.execute("UPDATE trees SET form = 'cube'")
    assert archive.index.trees_of(digest) == archive.index.by_root(tree_of(LARGE).root) == []


def test_an_index_without_the_table_is_no_reason_to_stop(
    archive: Archive, writer: WriteSession
) -> None:
    with raw(archive) as db:
        db.execute("DROP TABLE trees")
    (digest,) = put(archive, writer, SMALL)  # not noted, and no error
    assert archive.has(digest, len(SMALL))
    with pytest.raises(CorruptError):
        archive.tree(digest, Form.PLAIN)
    archive.index.rebuild()
    assert archive.tree(digest, Form.PLAIN) is None


def test_trees_survive_a_new_process_and_not_a_new_index(
    archive: Archive, writer: WriteSession
) -> None:
    (digest,) = put(archive, writer, LARGE)
    with Archive(archive.layout.home) as other:
        assert other.tree(digest, Form.PLAIN) == tree_of(LARGE)
        other.index.rebuild()
        assert other.tree(digest, Form.PLAIN) is None
