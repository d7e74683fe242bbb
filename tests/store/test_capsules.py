"""Blobs in their compressed forms: what is here, what depends on what, what may go."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outlast.codec.format import Block
from outlast.codec.payload import Form
from outlast.codec.reader import CapsuleReader
from outlast.codec.writer import pays
from outlast.core.digest import Digest
from outlast.core.errors import (
    CorruptError,
    MalformedError,
    NotArchivedError,
    OutlastError,
    StorageError,
    TooDeepError,
)
from outlast.store import disk
from outlast.store.archive import Archive, BlobInfo
from outlast.store.collect import collect
from outlast.store.forms import Forms, StoredForm
from outlast.store.writer import WriteSession
from tests.store.build import REPO, put, revision_of
from tests.store.weights import encoded, model, pack, tuned, unpack

BASE = model(1)
FIRST, SECOND, THIRD = tuned(BASE, 2), tuned(BASE, 3), tuned(BASE, 4)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as archive:
        yield archive


@pytest.fixture
def writer(archive: Archive) -> Iterator[WriteSession]:
    with archive.writer() as writer:
        yield writer


def whole(archive: Archive, digest: Digest) -> bytes:
    with archive.open(digest) as file:
        return file.read()


def collected(archive: Archive) -> set[tuple[str, str]]:
    return {(g.what, g.name) for g in collect(archive, dry_run=False)}


def test_reading_it_whole_decodes_each_block_once(
    archive: Archive, writer: WriteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = model(1, 200_000)
    (base,) = put(archive, writer, data)
    assert pack(archive, writer, base)
    decoded: list[int] = []
    decode = CapsuleReader.decode

    def counted(reader: CapsuleReader, block: Block, out: memoryview) -> None:
        decoded.append(block.number)
        decode(reader, block, out)

    monkeypatch.setattr(CapsuleReader, "decode", counted)
    assert whole(archive, base) == data
    assert decoded
    assert len(decoded) == len(set(decoded))


def test_a_packed_blob_is_here_and_reads_the_same(archive: Archive, writer: WriteSession) -> None:
    (base,) = put(archive, writer, BASE)
    assert archive.form_of(base).form is Form.PLAIN
    assert pack(archive, writer, base)
    assert not archive.layout.blob(base).exists()
    form = archive.form_of(base)
    assert form.form is Form.CAPSULE
    assert form.size == len(BASE)
    assert form.stored_bytes == archive.layout.capsule(base).stat().st_size < 0.9 * len(BASE)
    assert archive.has(base, len(BASE))
    assert not archive.has(base, len(BASE) + 1)
    assert writer.lease(base, len(BASE))
    assert list(archive.blobs()) == [BlobInfo(base, len(BASE))]
    assert whole(archive, base) == BASE
    with archive.open_blob(base) as blob:
        assert blob.path is None
        assert blob.form == form
        buffer = bytearray(100)
        blob.readinto(50, memoryview(buffer))
        assert buffer == BASE[50:150]
        with ThreadPoolExecutor(2) as pool:
            assert b"".join(map(bytes, blob.chunks(pool))) == BASE
    with pytest.raises(NotArchivedError) as caught:
        archive.path(base)
    assert "unpack" in caught.value.hint
    assert archive.layout.capsule(base).stat().st_mode & 0o777 == disk.READ_ONLY


def test_a_blob_that_is_here_as_a_capsule_is_not_put_again(
    archive: Archive, writer: WriteSession
) -> None:
    (base,) = put(archive, writer, BASE)
    pack(archive, writer, base)
    put(archive, writer, BASE)
    assert not archive.layout.blob(base).exists()


def test_a_file_object_seeks(archive: Archive, writer: WriteSession) -> None:
    (base,) = put(archive, writer, BASE)
    pack(archive, writer, base)
    with archive.open(base) as file:
        file.seek(-10, os.SEEK_END)
        assert file.read() == BASE[-10:]
        assert file.read() == b""
        file.seek(7)
        assert file.read(3) == BASE[7:10]


def test_a_fine_tune_is_thin_and_needs_its_base(archive: Archive, writer: WriteSession) -> None:
    base, first = put(archive, writer, BASE, FIRST)
    pack(archive, writer, first, base)
    form = archive.form_of(first)
    assert form.form is Form.DELTA
    assert [b.sha256 for b in form.bases] == [base]
    pack(archive, writer, base)
    assert whole(archive, first) == FIRST
    archive.quarantine_blob(base)
    assert not archive.has(first, len(FIRST))
    with pytest.raises(NotArchivedError) as caught:
        archive.open_blob(first)
    assert base.hex in str(caught.value)
    put(archive, writer, FIRST)  # so a pull in full mends it
    assert whole(archive, first) == FIRST
    assert ("capsule", first.hex) in collected(archive)


def test_gc_keeps_the_bases_of_a_live_capsule(archive: Archive) -> None:
    with archive.writer() as writer:
        base, first = put(archive, writer, BASE, FIRST)
        pack(archive, writer, first, base)
        assert collected(archive) == set()
        revision = revision_of({"first": FIRST})
        archive.put_revision(writer, revision)
    kept: list[BlobInfo] = []
    assert list(collect(archive, dry_run=False, kept=kept.append)) == []
    assert kept == [BlobInfo(base, len(BASE))]
    with archive.writer() as writer:
        unpack(archive, writer, first)
    assert collected(archive) == {("blob", base.hex)}
    archive.delete_revision(REPO, revision.id)
    assert collected(archive) == {("blob", first.hex)}


def test_gc_takes_a_capsule_and_its_base_together(archive: Archive) -> None:
    with archive.writer() as writer:
        base, first = put(archive, writer, BASE, FIRST)
        pack(archive, writer, first, base)
    assert [g.what for g in collect(archive, dry_run=True)] == ["capsule", "blob"]
    assert collected(archive) == {("capsule", first.hex), ("blob", base.hex)}
    assert list(archive.blobs()) == []


def test_of_two_forms_the_capsule_goes(archive: Archive, writer: WriteSession) -> None:
    (base,) = put(archive, writer, BASE)
    pack(archive, writer, base)
    disk.write_temp(writer.temp(), BASE, disk.READ_ONLY)
    archive.layout.blob(base).write_bytes(BASE)
    assert archive.form_of(base).form is Form.PLAIN
    with archive.open_blob(base) as blob:
        assert blob.path == archive.layout.blob(base)
    assert collected(archive) == {("capsule", base.hex)}
    assert whole(archive, base) == BASE


def test_packing_goes_on_where_it_left_both_forms(archive: Archive, writer: WriteSession) -> None:
    (base,) = put(archive, writer, BASE)
    assert writer.settle(base) == 0
    pack(archive, writer, base)
    assert writer.settle(base) == 0
    archive.layout.blob(base).write_bytes(BASE)
    assert writer.settle(base) == len(BASE)
    assert whole(archive, base) == BASE


def test_a_plain_file_that_was_cut_short_does_not_hide_its_capsule(
    archive: Archive, writer: WriteSession
) -> None:
    (base,) = put(archive, writer, BASE)
    pack(archive, writer, base)
    archive.layout.blob(base).write_bytes(BASE[:-1])
    assert archive.has(base, len(BASE))
    assert whole(archive, base) == BASE
    assert writer.settle(base) == 0


def test_chains_have_two_links_at_most(archive: Archive, writer: WriteSession) -> None:
    base, first, second, third = put(archive, writer, BASE, FIRST, SECOND, THIRD)
    pack(archive, writer, second, first)
    pack(archive, writer, first, base)
    assert whole(archive, second) == SECOND
    with pytest.raises(TooDeepError):  # below: third → second → first → base
        pack(archive, writer, third, second)
    with pytest.raises(TooDeepError):  # above: second → first → base → third
        pack(archive, writer, base, third)
    with pytest.raises(TooDeepError):  # a circle
        pack(archive, writer, base, second)
    assert archive.form_of(base).form is Form.PLAIN
    assert archive.form_of(third).form is Form.PLAIN
    pack(archive, writer, third, first)
    assert {whole(archive, d) for d in (base, first, second, third)} == {
        *(BASE, FIRST, SECOND, THIRD)
    }


def forged(archive: Archive, writer: WriteSession, data: bytes, base: Digest) -> Digest:
    """A delta capsule that was put on the disk without the checks of the archive."""
    (digest,) = put(archive, writer, data)
    with encoded(archive, writer, digest, base) as encoding:
        final = archive.layout.capsule(digest)
        final.parent.mkdir(parents=True, exist_ok=True)
        encoding.path.rename(final)
    return digest


@pytest.mark.parametrize("circle", [True, False])
def test_a_chain_that_is_too_long_on_the_disk_is_refused(
    circle: bool, archive: Archive, writer: WriteSession
) -> None:
    (base,) = put(archive, writer, BASE)
    first = forged(archive, writer, FIRST, base)
    second = forged(archive, writer, SECOND, first)
    third = forged(archive, writer, THIRD, second)
    if circle:
        forged(archive, writer, BASE, first)
    for digest in (base, first, second, third) if circle else (first, second, third):
        archive.layout.blob(digest).unlink()
    assert not archive.has(third, len(THIRD))
    with pytest.raises(MalformedError):
        archive.open_blob(third)
    if not circle:
        assert whole(archive, second) == SECOND
    list(collect(archive, dry_run=False))  # ends


def test_a_capsule_from_elsewhere_is_decoded_first(archive: Archive, writer: WriteSession) -> None:
    first, second = Digest.of(FIRST), Digest.of(SECOND)
    (base,) = put(archive, writer, BASE)
    other = archive.layout.home / "capsule"
    with encoded(archive, writer, put(archive, writer, FIRST)[0], base) as encoding:
        other.write_bytes(encoding.path.read_bytes())
    disk.remove(archive.layout.blob(first))
    lies = bytearray(other.read_bytes())
    lies[20] ^= 1
    for data, digest, size in (
        (other.read_bytes(), second, len(SECOND)),
        (other.read_bytes(), first, len(FIRST) - 1),
        (bytes(lies), first, len(FIRST)),
        (b"not a capsule at all" * 100, first, len(FIRST)),
        (b"", first, len(FIRST)),
    ):
        temp = writer.temp()
        disk.write_temp(temp, data, disk.READ_ONLY)
        with pytest.raises((CorruptError, MalformedError)):
            archive.take_capsule(writer, temp, digest, size)
        assert not archive.has(digest, len(FIRST))
    temp = writer.temp()
    disk.write_temp(temp, other.read_bytes(), disk.READ_ONLY)
    assert archive.take_capsule(writer, temp, first, len(FIRST))
    assert whole(archive, first) == FIRST
    assert not temp.exists()


def test_a_capsule_without_its_base_is_not_taken(archive: Archive, writer: WriteSession) -> None:
    base, first = put(archive, writer, BASE, FIRST)
    with encoded(archive, writer, first, base) as encoding:
        disk.remove(archive.layout.blob(base))
        disk.remove(archive.layout.blob(first))
        with pytest.raises(NotArchivedError):
            writer.publish_capsule(encoding.path, first, len(FIRST))
    assert not archive.has(first, len(FIRST))


def test_a_capsule_of_new_bytes(archive: Archive, writer: WriteSession) -> None:
    base, first = put(archive, writer, BASE, FIRST)
    with encoded(archive, writer, first, base) as encoding:
        assert pays(encoding.written, len(FIRST))
        disk.remove(archive.layout.blob(first))
        assert encoding.publish(first)
    assert whole(archive, first) == FIRST
    with encoded(archive, writer, first) as encoding:
        assert not encoding.publish(first)
        assert not encoding.path.exists()
    assert archive.form_of(first).form is Form.DELTA


@pytest.mark.parametrize("damage", ["cut", "trailers", "other", "empty"])
def test_what_is_not_the_capsule_of_its_name_is_not_here(
    damage: str, archive: Archive, writer: WriteSession
) -> None:
    base, first = put(archive, writer, BASE, FIRST)
    pack(archive, writer, base)
    pack(archive, writer, first)
    path = archive.layout.capsule(base)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-50:]
    elif damage == "trailers":
        data[-60] ^= 1
        data[-160] ^= 1
    elif damage == "other":
        data = bytearray(archive.layout.capsule(first).read_bytes())
    else:
        data.clear()
    os.chmod(path, 0o644)
    path.write_bytes(data)
    assert not archive.has(base, len(BASE))
    with pytest.raises(OutlastError):
        archive.open_blob(base)
    put(archive, writer, BASE)
    assert whole(archive, base) == BASE


def test_one_damaged_trailer_costs_nothing(archive: Archive, writer: WriteSession) -> None:
    (base,) = put(archive, writer, BASE)
    pack(archive, writer, base)
    path = archive.layout.capsule(base)
    os.chmod(path, 0o644)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert archive.has(base, len(BASE))
    assert whole(archive, base) == BASE


def test_forms_are_remembered_and_rebuilt(archive: Archive, writer: WriteSession) -> None:
    base, first = put(archive, writer, BASE, FIRST)
    pack(archive, writer, first, base)
    before = archive.form_of(first)
    assert archive.index.cached_forms()[first.hex][1] == before
    archive.index.rebuild()
    assert archive.index.cached_forms() == {}
    assert archive.forms.capsules() == {first: before}
    assert archive.index.cached_forms()[first.hex][1] == before


def test_what_does_not_pay_is_remembered(archive: Archive) -> None:
    base, first = Digest.of(BASE), Digest.of(FIRST)
    assert not archive.index.is_unpaying(first)
    archive.index.note_unpaying(first)
    assert archive.index.is_unpaying(first)
    assert not archive.index.is_unpaying(first, [base])
    archive.index.note_unpaying(first, [base])
    assert archive.index.is_unpaying(first, [base])


def test_a_reader_outlives_a_change_of_form(archive: Archive, writer: WriteSession) -> None:
    base, first = put(archive, writer, BASE, FIRST)
    with archive.open_blob(first) as plain:
        pack(archive, writer, first, base)
        assert plain.stat().st_nlink == 0
        assert b"".join(map(bytes, plain.chunks())) == FIRST
    with archive.open_blob(first) as thin:
        pack(archive, writer, base)
        unpack(archive, writer, first)
        assert thin.stat().st_nlink == 0
        assert b"".join(map(bytes, thin.chunks())) == FIRST


def test_a_form_that_changes_meanwhile_hides_nothing(
    archive: Archive, writer: WriteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unpacked after its plain file was looked for, and packed before the second look."""
    (base,) = put(archive, writer, BASE)
    pack(archive, writer, base)
    real, changes = Forms.capsule, iter([True])

    def capsule(forms: Forms, digest: Digest) -> StoredForm | None:
        if not next(changes, False):
            return real(forms, digest)
        unpack(archive, writer, digest)
        found = real(forms, digest)
        pack(archive, writer, digest)
        return found

    monkeypatch.setattr(Forms, "capsule", capsule)
    assert archive.has(base, len(BASE))
    assert not archive.has(Digest.of(b"never here"), 10)


def test_what_the_disk_refuses_is_said(archive: Archive, writer: WriteSession) -> None:
    (base,) = put(archive, writer, BASE)
    pack(archive, writer, base)
    path = archive.layout.capsule(base)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError):
        archive.open_blob(base)
