"""Damage that was seen is remembered: by all processes, and until a full check."""

import errno
import os
from pathlib import Path
from typing import Never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.soundness import damage as notes
from outlast.store.soundness.damage import Damage, Why

BLOB = Digest.of(b"a blob")
OTHER = Digest.of(b"another")
SEEN = Damage(BLOB, Form.PLAIN, Why.ROT, "verify", (3,), "2026-01-02T03:04:05+00:00")


def test_it_is_there_for_other_processes_and_later(tmp_path: Path) -> None:
    with Archive(tmp_path, create=True) as one, Archive(tmp_path) as two:
        assert not two.damage.all()
        one.damage.note(SEEN)
        assert two.damage.of(BLOB) == one.damage.of(BLOB) == (SEEN,)
        assert not two.damage.of(OTHER)
    with Archive(tmp_path) as later:
        assert later.damage.all() == {BLOB: (SEEN,)}
        later.damage.clear(BLOB)
        assert not later.damage.all()
    assert not list((tmp_path / "damage").iterdir())


def test_what_is_seen_later_is_added(tmp_path: Path) -> None:
    with Archive(tmp_path, create=True) as archive:
        archive.damage.note(SEEN)
        archive.damage.note(Damage(BLOB, Form.PLAIN, Why.CHANGED, "read", (1, 3)))
        (found,) = archive.damage.of(BLOB)
        assert (found.parts, found.why, found.by) == ((1, 3), Why.ROT, "verify")
        archive.damage.note(Damage(BLOB, Form.CAPSULE, Why.ROT, "read", (7,)))
        assert [one.parts for one in archive.damage.of(BLOB)] == [(1, 3), (7,)]
        archive.damage.clear(BLOB, Form.PLAIN)
        assert [one.form for one in archive.damage.of(BLOB)] == [Form.CAPSULE]
        archive.damage.note(Damage(BLOB, Form.CAPSULE, Why.TRUNCATED, "read"))
        assert [one.parts for one in archive.damage.of(BLOB)] == [()]


def test_a_note_that_is_damaged_still_says_that_the_blob_is(tmp_path: Path) -> None:
    with Archive(tmp_path, create=True) as archive:
        archive.damage.note(SEEN)
        path = tmp_path / "damage" / BLOB.hex
        data = bytearray(path.read_bytes())
        for bit in range(0, 8 * len(data), 13):
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            assert archive.damage._read(BLOB), bit
            data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(b"")
        os.utime(path.parent)
        assert {one.form for one in archive.damage.of(BLOB)} == {Form.PLAIN, Form.CAPSULE}
        archive.damage.clear(BLOB)
        assert not archive.damage.of(BLOB)


def test_what_cannot_be_written_counts_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_more: object) -> Never:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with Archive(tmp_path, create=True) as archive:
        with monkeypatch.context() as patch:
            patch.setattr(disk, "write_temp", full)
            archive.damage.note(SEEN)
        assert archive.damage.of(BLOB) == (SEEN,)
        assert archive.damage.all() == {BLOB: (SEEN,)}
        archive.damage.clear(BLOB)
        assert not archive.damage.of(BLOB)


@given(st.binary(max_size=300))
def test_other_bytes_are_no_note(body: bytes) -> None:
    with pytest.raises(MalformedError):
        notes.decode(BLOB, body)


@pytest.mark.parametrize(
    "field",
    [
        b'"form": "rope"',
        b'"why": "whim"',
        b'"by": 7',
        b'"seen": null',
        b'"parts": [-1]',
        b'"parts": [true]',
        b'"parts": [1.5]',
        b'"parts": {}',
    ],
)
def test_a_note_with_a_wrong_field_is_none(field: bytes) -> None:
    one = b'{"by": "x", "form": "plain", "parts": [], "seen": "", "why": "bit rot", %s}' % field
    with pytest.raises(MalformedError):
        notes.decode(BLOB, b'{"damage": [%s]}' % one)


def test_a_note_has_a_bounded_number_of_parts(tmp_path: Path) -> None:
    with Archive(tmp_path, create=True) as archive:
        archive.damage.note(Damage(BLOB, Form.PLAIN, Why.ROT, "x", tuple(range(4096))))
        assert len(archive.damage.of(BLOB)[0].parts) == 4096
        archive.damage.note(Damage(BLOB, Form.PLAIN, Why.ROT, "x", (5000,)))
        assert archive.damage.of(BLOB)[0].parts == ()


def test_notes_go_there_and_back() -> None:
    both = (SEEN, Damage(BLOB, Form.CAPSULE, Why.UNREADABLE, "a serve", (), "2026"))
    assert notes.decode(BLOB, notes.encode(both)) == both
