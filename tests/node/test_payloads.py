"""Payloads: the files that peers hand on, and the trees that check their pieces."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outlast.codec import merkle
from outlast.codec.format import BaseRef
from outlast.codec.hashing import names_of
from outlast.codec.memory import InMemory
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import (
    Cancelled,
    CorruptError,
    IntegrityError,
    NotArchivedError,
    OutlastError,
)
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.intake.form_policy import FormWish, FormWishes
from outlast.node import payloads
from outlast.ops.add import add
from outlast.ops.pack import make_plain, pack
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.encoding import Encoding
from outlast.store.writer import WriteSession
from tests.noise import noise
from tests.store import weights
from tests.store.build import check_error, put
from tests.store.weights import model, tuned

LARGE = noise(5, 2 * merkle.PIECE + 12345)
BASE = model(1, weights=40_000)
FINE = tuned(BASE, 2)
CANCEL = Cancel()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as archive:
        yield archive


@pytest.fixture
def writer(archive: Archive) -> Iterator[WriteSession]:
    with archive.writer() as writer:
        yield writer


@contextlib.contextmanager
def raw(archive: Archive) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(archive.layout.index)
    with contextlib.closing(db), db:
        yield db


def forget(archive: Archive) -> None:
    """As an archive from before there were trees."""
    with raw(archive) as db:
        db.execute("DELETE FROM trees")


def tree_of(data: bytes) -> Tree:
    names = names_of(data)
    assert names.merkle_root is not None
    return Tree(len(data), names.merkle_root, names.layer)


def packed(archive: Archive, writer: WriteSession) -> tuple[Digest, Digest]:
    """A model as a capsule, and a fine-tune that is a delta against it."""
    base, fine = put(archive, writer, BASE, FINE)
    assert weights.pack(archive, writer, fine, base)
    assert weights.pack(archive, writer, base)
    return base, fine


def test_a_plain_blob_is_a_payload_at_once(archive: Archive, writer: WriteSession) -> None:
    (digest,) = put(archive, writer, LARGE)
    root = tree_of(LARGE).root
    payload = Payload(digest, Form.PLAIN, len(LARGE), root)
    assert payloads.held(archive, digest) == (payload,)
    assert payloads.path(archive, payload).read_bytes() == LARGE
    assert payloads.by_root(archive, root) == payload
    assert payloads.known_tree(archive, root) == (digest, tree_of(LARGE))
    assert payloads.tree(archive, digest, Form.PLAIN, CANCEL) == tree_of(LARGE)


def test_capsules_are_payloads_once_their_tree_is_known(
    archive: Archive, writer: WriteSession
) -> None:
    base, fine = packed(archive, writer)  # as others wrote them: without trees
    assert payloads.held(archive, base) == payloads.held(archive, fine) == ()
    for digest, form, bases in (
        (base, Form.CAPSULE, ()),
        (fine, Form.DELTA, (BaseRef(base, len(BASE)),)),
    ):
        data = archive.layout.capsule(digest).read_bytes()
        assert payloads.tree(archive, digest, form, CANCEL) == tree_of(data)
        (payload,) = payloads.held(archive, digest)
        assert payload == Payload(digest, form, len(data), tree_of(data).root, bases)
        assert payloads.path(archive, payload).read_bytes() == data
        assert payloads.by_root(archive, payload.root) == payload


def test_the_plain_tree_of_what_only_a_capsule_holds(
    archive: Archive, writer: WriteSession
) -> None:
    _, fine = packed(archive, writer)
    root = tree_of(FINE).root
    forget(archive)
    assert payloads.known_tree(archive, root) is None
    assert payloads.tree(archive, fine, Form.PLAIN, CANCEL) == tree_of(FINE)
    assert payloads.known_tree(archive, root) == (fine, tree_of(FINE))
    assert payloads.held(archive, fine) == ()  # it is not what lies on the disk
    assert payloads.by_root(archive, root) is None


def test_a_tree_is_read_once(archive: Archive, writer: WriteSession) -> None:
    (digest,) = put(archive, writer, LARGE)
    forget(archive)
    assert payloads.held(archive, digest) == ()
    payloads.tree(archive, digest, Form.PLAIN, CANCEL)
    path = archive.layout.blob(digest)
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(bytes(len(LARGE)))  # would be found out if it were read
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert payloads.tree(archive, digest, Form.PLAIN, CANCEL) == tree_of(LARGE)


@pytest.mark.parametrize("form", list(Form))
def test_what_is_damaged_is_not_handed_out(
    archive: Archive, writer: WriteSession, form: Form
) -> None:
    base, fine = packed(archive, writer)
    digest = fine if form is Form.DELTA else base
    if form is Form.PLAIN:
        weights.unpack(archive, writer, base)
    forget(archive)
    layout = archive.layout
    path = layout.blob(digest) if form is Form.PLAIN else layout.capsule(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(IntegrityError) as caught:
        payloads.tree(archive, digest, form, CANCEL)
    check_error(caught.value)
    assert payloads.held(archive, digest) == ()


def test_another_files_capsule_is_not_handed_out(archive: Archive, writer: WriteSession) -> None:
    base, fine = packed(archive, writer)
    disk.remove(archive.layout.capsule(fine))
    os.link(archive.layout.capsule(base), archive.layout.capsule(fine))
    with pytest.raises(CorruptError):
        payloads.tree(archive, fine, Form.CAPSULE, CANCEL)
    assert payloads.held(archive, fine) == ()


def test_a_capsule_that_restores_another_blob_is_not_handed_out(
    archive: Archive, writer: WriteSession
) -> None:
    lie = Digest.of(b"lie")
    with Encoding(writer, InMemory(BASE)) as encoding:
        encoding.finish(lie)
        assert encoding.publish(lie)
    forget(archive)
    for form in (Form.CAPSULE, Form.PLAIN):
        with pytest.raises(CorruptError):
            payloads.tree(archive, lie, form, CANCEL)
    assert payloads.held(archive, lie) == ()


def test_what_is_not_here_has_no_tree(archive: Archive, writer: WriteSession) -> None:
    plain, empty = put(archive, writer, LARGE, b"")
    for digest, form in (
        (Digest.of(b"absent"), Form.PLAIN),
        (Digest.of(b"absent"), Form.CAPSULE),
        (plain, Form.CAPSULE),
        (empty, Form.PLAIN),
    ):
        with pytest.raises(NotArchivedError) as caught:
            payloads.tree(archive, digest, form, CANCEL)
        check_error(caught.value)
    assert payloads.held(archive, empty) == payloads.held(archive, Digest.of(b"absent")) == ()
    assert payloads.by_root(archive, empty) is None


@pytest.mark.parametrize("form", [Form.PLAIN, Form.CAPSULE])
def test_a_cancelled_reading_notes_nothing(
    archive: Archive, writer: WriteSession, form: Form
) -> None:
    base, _ = packed(archive, writer)
    cancel = Cancel()
    cancel.set()
    forget(archive)
    with pytest.raises(Cancelled):
        payloads.tree(archive, base, form, cancel)
    assert archive.index.trees_of(base) == []


def test_a_forged_layer_is_read_again(archive: Archive, writer: WriteSession) -> None:
    (digest,) = put(archive, writer, LARGE)
    with raw(archive) as db:
        db.execute("UPDATE trees SET layer = ?", (bytes(96),))
    root = tree_of(LARGE).root
    assert payloads.known_tree(archive, root) is None
    assert payloads.tree(archive, digest, Form.PLAIN, CANCEL) == tree_of(LARGE)
    assert payloads.known_tree(archive, root) == (digest, tree_of(LARGE))


def test_a_forged_root_names_no_payload(archive: Archive, writer: WriteSession) -> None:
    (digest,) = put(archive, writer, LARGE)
    lie = Digest.of(b"lie")
    with raw(archive) as db:
        db.execute("UPDATE trees SET sha256 = ?", (lie.hex,))
    root = tree_of(LARGE).root
    assert payloads.by_root(archive, root) is None
    assert payloads.known_tree(archive, root) is None
    assert payloads.held(archive, digest) == ()


def test_readers_at_once_see_the_same(archive: Archive, writer: WriteSession) -> None:
    base, fine = packed(archive, writer)
    capsule = archive.layout.capsule(fine).read_bytes()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: payloads.tree(archive, fine, Form.DELTA, CANCEL), range(8)))
    assert found == [tree_of(capsule)] * 8
    assert payloads.held(archive, base) == ()


@pytest.mark.parametrize("form", [FormWish.PLAIN, FormWish.AUTO])
def test_what_is_added_is_a_payload_at_once(
    archive: Archive, tmp_path: Path, form: FormWish
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(BASE)
    (folder / "notes.bin").write_bytes(LARGE)
    target = Target.parse("org/name")
    control = Control(cancel=CANCEL)
    added = add(
        *(archive, folder, target),
        selection=Selection(),
        follow_links=False,
        control=control,
        wishes=FormWishes(form),
    )
    forms = set()
    for entry in added.revision.files:
        assert entry.sha256 is not None
        (payload,) = payloads.held(archive, entry.sha256)
        data = payloads.path(archive, payload).read_bytes()
        assert (payload.size, payload.root) == (len(data), tree_of(data).root)
        assert entry.merkle_root is not None
        known = payloads.known_tree(archive, entry.merkle_root)
        assert known is not None  # of the plain bytes, whatever the form
        forms.add(payload.form)
    assert forms == ({Form.PLAIN} if form is FormWish.PLAIN else {Form.PLAIN, Form.CAPSULE})


def test_what_is_packed_is_a_payload_at_once(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(BASE)
    control = Control(cancel=CANCEL)
    add(
        *(archive, folder, Target.parse("org/name")),
        selection=Selection(),
        follow_links=False,
        control=control,
    )
    digest = Digest.of(BASE)
    assert [p.form for p in payloads.held(archive, digest)] == [Form.PLAIN]
    pack(archive, [], FormWishes(), dry_run=False, control=control)
    (payload,) = payloads.held(archive, digest)
    assert payload.form is Form.CAPSULE
    with ThreadPoolExecutor(1) as pool:
        make_plain(archive, digest, pool, control)
    assert payloads.held(archive, digest) == ()
    with contextlib.suppress(OutlastError):
        payloads.tree(archive, digest, Form.PLAIN, CANCEL)
    assert [p.form for p in payloads.held(archive, digest)] == [Form.PLAIN]
