"""Parity of the archive's own files: written, damaged in many ways, and mended."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.codec.hashing import names_of
from outlast.codec.memory import InMemory
from outlast.codec.merkle import PIECE
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import BeyondRepairError, DamagedError, MalformedError, StorageError
from outlast.features.durability.parity import geometry
from outlast.features.durability.parity.encode import encode
from outlast.features.durability.parity.files import ParityFiles
from outlast.features.durability.parity.geometry import BLOCK, HEADER, ParityHead, Share
from outlast.features.durability.parity.mend import ParityMender, read_head
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile
from tests.codec.test_erasure import VECTORS
from tests.noise import noise

DATA = noise(5, 6 * PIECE + 12_345)
TWO = Share(250, 5)


def parity_of(data: bytes, share: Share = TWO) -> bytearray:
    seen = bytearray()
    head = ParityHead(Digest.of(data), Form.PLAIN, len(data), share)
    found = bytearray(b"".join(encode(InMemory(data), head, seen.extend)))
    assert seen == data
    assert len(found) == head.file_size
    return found


PARITY = bytes(parity_of(DATA))


def mended(damaged: bytes | bytearray, parity: bytes | bytearray, whole: bytes = DATA) -> None:
    """Every piece that differs is restored."""
    mender = ParityMender(InMemory(damaged), InMemory(parity))
    for piece in range(-(-len(whole) // PIECE)):
        at = slice(piece * PIECE, (piece + 1) * PIECE)
        if damaged[at] != whole[at]:
            assert mender.piece(piece) == whole[at], piece


def spoil(data: bytearray, at: int, length: int) -> None:
    for i in range(at, min(at + length, len(data))):
        data[i] ^= 0x5A


def test_shares_and_sizes() -> None:
    assert Share.of_percent(2) == TWO
    assert Share.of_percent(10) == Share(231, 24)
    for percent in (0, 0.1, 101, -1):
        with pytest.raises(ValueError, match="parity of an archive"):
            Share.of_percent(percent)
    head = ParityHead(Digest.of(b""), Form.PLAIN, 10_000_000_000, TWO)
    assert 0.02 < head.file_size / head.size < 0.0225
    sections = list(head.sections())
    assert [head.section_of(section.start) for section in sections] == sections
    assert sum(section.size for section in sections) == head.size


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 250 * BLOCK, 251 * BLOCK + 1, 3 * PIECE])
def test_every_block_of_a_small_payload_is_mended(size: int) -> None:
    data = DATA[:size]
    parity = parity_of(data)
    for block in {0, size // BLOCK // 2, (size - 1) // BLOCK}:
        damaged = bytearray(data)
        spoil(damaged, block * BLOCK, BLOCK)
        mended(damaged, parity, data)


def test_the_document_has_this_file() -> None:
    data = bytes((37 * i * i + 11 * i) % 251 for i in range(3_000_000))
    assert Digest.of(bytes(parity_of(data))).hex == VECTORS["file"].strip()


def test_random_sectors() -> None:
    rng = random.Random(7)
    damaged = bytearray(DATA)
    for _ in range(12):
        damaged[rng.randrange(len(DATA))] ^= 1 << rng.randrange(8)
    mended(damaged, PARITY)


def test_a_burst_as_long_as_the_parity() -> None:
    damaged = bytearray(DATA)
    [section] = read_head(InMemory(PARITY)).sections()
    spoil(damaged, 2 * PIECE, section.parity * section.rows * BLOCK)
    mended(damaged, PARITY)
    spoil(damaged, 2 * PIECE - BLOCK, BLOCK)
    with pytest.raises(BeyondRepairError):
        mended(damaged, PARITY)


@settings(max_examples=15)
@given(st.data())
def test_any_five_blocks_of_a_codeword(draw: st.DataObject) -> None:
    """Of data or of parity; a copy of the sums may be gone as well."""
    [section] = read_head(InMemory(PARITY)).sections()
    row = draw.draw(st.integers(0, section.rows - 1))
    lost = draw.draw(st.sets(st.integers(0, section.data + section.parity - 1), max_size=5))
    damaged, parity = bytearray(DATA), bytearray(PARITY)
    for column in lost:
        if column < section.data:
            spoil(damaged, (column * section.rows + row) * BLOCK, BLOCK)
        else:
            place = (column - section.data) * section.rows + row
            spoil(parity, section.parity_at + place * BLOCK, BLOCK)
    for at in draw.draw(st.sampled_from(([], [section.at], [section.copy_at]))):
        spoil(parity, at, section.pages * BLOCK)
    mended(damaged, parity)


def test_two_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "SECTION", 2 * PIECE)
    parity = parity_of(DATA)
    damaged = bytearray(DATA)
    for section in read_head(InMemory(parity)).sections():
        spoil(damaged, section.start, section.parity * section.rows * BLOCK)
    mended(damaged, parity)


class Counting:
    """Counts the bytes that are read."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._memory = InMemory(data)
        self.size = len(data)
        self.read = 0

    def readinto(self, offset: int, buffer: memoryview) -> None:
        self.read += len(buffer)
        self._memory.readinto(offset, buffer)


def test_several_pieces_by_number() -> None:
    damaged = bytearray(DATA)
    spoil(damaged, 3 * BLOCK, BLOCK)
    spoil(damaged, 4 * PIECE + BLOCK, 3 * BLOCK)
    spoil(damaged, len(DATA) - 9, 9)
    mender = ParityMender(InMemory(damaged), InMemory(PARITY))
    found = dict(mender.pieces([6, 4, 0, 4]))
    assert [*found] == [0, 4, 6]
    assert all(DATA[n * PIECE : (n + 1) * PIECE] == bytes(found[n] or b"") for n in found)


def test_one_that_is_beyond_repair_holds_up_no_other() -> None:
    """Six blocks of one codeword are lost, and there is parity for five."""
    [section] = read_head(InMemory(PARITY)).sections()
    damaged = bytearray(DATA)
    for column in range(6):
        spoil(damaged, column * section.rows * BLOCK, BLOCK)
    spoil(damaged, 5 * PIECE + 2 * BLOCK, BLOCK)
    mender = ParityMender(InMemory(damaged), InMemory(PARITY))
    found = dict(mender.pieces([0, 5]))
    assert found[0] is None
    assert bytes(found[5] or b"") == DATA[5 * PIECE : 6 * PIECE]
    with pytest.raises(BeyondRepairError):
        mender.piece(0)


@pytest.mark.parametrize("section", [geometry.SECTION, 2 * PIECE])
def test_found_and_mended_in_one_reading(section: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "SECTION", section)
    parity = parity_of(DATA)
    damaged = bytearray(DATA)
    for piece in (0, 3, 6):
        spoil(damaged, piece * PIECE + 5000, 1)
    payload = Counting(damaged)
    mender = ParityMender(payload, InMemory(parity))
    seen = []

    def is_right(number: int, piece: memoryview) -> bool:
        seen.append(number)
        return piece == DATA[number * PIECE : number * PIECE + len(piece)]

    found = {n: bytes(piece or b"") for n, piece in mender.differing(is_right)}
    assert seen == [*range(7)]
    assert found == {n: DATA[n * PIECE : (n + 1) * PIECE] for n in (0, 3, 6)}
    codewords = sum(len(DATA[n * PIECE : (n + 1) * PIECE]) + 250 * BLOCK for n in found)
    assert payload.read <= len(DATA) + codewords + len(found) * BLOCK


def test_a_block_that_was_wrong_once_is_restored_whatever_comes_later() -> None:
    class Flaky(Counting):
        def readinto(self, offset: int, buffer: memoryview) -> None:
            super().readinto(offset, buffer)
            if len(buffer) == PIECE:
                buffer[0] ^= 1

    assert ParityMender(Flaky(DATA), InMemory(PARITY)).piece(3) == DATA[3 * PIECE : 4 * PIECE]


def test_what_the_disk_cannot_read_is_found_too() -> None:
    class Torn(Counting):
        def readinto(self, offset: int, buffer: memoryview) -> None:
            if offset <= 2 * PIECE + 7 < offset + len(buffer):
                raise StorageError("a bad sector")
            super().readinto(offset, buffer)

    mender = ParityMender(Torn(DATA), InMemory(PARITY))
    [(number, piece)] = mender.differing(lambda _number, _piece: True)
    assert (number, bytes(piece or b"")) == (2, DATA[2 * PIECE : 3 * PIECE])


def test_the_disk_is_asked_for_what_is_needed_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, before the first of it is read: else each read waits for the disk by itself,
    and for what the system reads ahead of it.
    """
    [section] = read_head(InMemory(PARITY)).sections()
    damaged = bytearray(DATA)
    spoil(damaged, 2 * PIECE + 3 * BLOCK, BLOCK)
    (tmp_path / "payload").write_bytes(damaged)
    (tmp_path / "parity").write_bytes(PARITY)
    payload, parity = StoredFile(tmp_path / "payload"), StoredFile(tmp_path / "parity")
    asked: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(
        StoredFile,
        "expect",
        lambda self, offset, length: asked.append((self.path, offset, length)),
    )
    mender = ParityMender(payload, parity)
    assert mender.piece(2) == DATA[2 * PIECE : 3 * PIECE]
    payload.close()
    parity.close()
    row = (2 * PIECE // BLOCK + 3) % section.rows
    of = {path: [one[1:] for one in asked if one[0] == path] for path, _, _ in asked}
    assert of[payload.path] == [
        ((column * section.rows + row) * BLOCK, BLOCK) for column in range(section.data)
    ]
    assert len(of[parity.path]) == section.parity


def test_one_header_is_enough() -> None:
    for at in (0, len(PARITY) - HEADER):
        parity = bytearray(PARITY)
        spoil(parity, at, HEADER)
        assert read_head(InMemory(parity)).blob == Digest.of(DATA)
    spoil(parity, 0, HEADER)
    for wrong in (parity, PARITY[:-1], PARITY + b"x", b"", PARITY[:HEADER]):
        with pytest.raises(MalformedError):
            read_head(InMemory(bytes(wrong)))
    with pytest.raises(MalformedError, match="another size"):
        ParityMender(InMemory(DATA[1:]), InMemory(PARITY))
    with pytest.raises(ValueError, match="no such piece"):
        ParityMender(InMemory(DATA), InMemory(PARITY)).piece(7)


class Dying:
    """A disk that cannot read some blocks."""

    def __init__(self, data: bytes, fails: Callable[[int], bool]) -> None:
        self._file, self._fails = InMemory(data), fails
        self.size = len(data)

    def readinto(self, offset: int, buffer: memoryview) -> None:
        if any(map(self._fails, range(offset // BLOCK, -(-(offset + len(buffer)) // BLOCK)))):
            raise StorageError("Input/output error")
        self._file.readinto(offset, buffer)


def test_sectors_that_cannot_be_read() -> None:
    gone = {3, 300, 555, 1500}
    mender = ParityMender(Dying(DATA, gone.__contains__), InMemory(PARITY))
    for block in gone:
        piece = block * BLOCK // PIECE
        assert mender.piece(piece) == DATA[piece * PIECE : (piece + 1) * PIECE]


def test_parity_of_other_bytes_restores_nothing() -> None:
    other = parity_of(DATA[::-1])
    with pytest.raises(BeyondRepairError):
        ParityMender(InMemory(DATA), InMemory(other)).piece(0)


@given(flips=st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 255)), max_size=20))
@settings(max_examples=40)
def test_hostile_parity(flips: list[tuple[int, int]]) -> None:
    """Whatever is in it: a piece, or one of our errors."""
    data = DATA[:30_000]
    parity = parity_of(data)
    for at, value in flips:
        parity[at % len(parity)] ^= value
    try:
        piece = ParityMender(InMemory(bytes(30_000)), InMemory(parity)).piece(0)
    except (BeyondRepairError, MalformedError):
        return
    assert len(piece) == len(data)


def keep(archive: Archive, data: bytes) -> Digest:
    names = names_of(data)
    with archive.writer() as writer:
        archive.put(writer, data, names)
    return names.sha256


def test_files_beside_the_blobs(tmp_path: Path) -> None:
    archive = Archive(tmp_path, create=True)
    files = ParityFiles(archive)
    digest = keep(archive, DATA)
    with archive.open_blob(digest) as blob, files.mender(blob) as none:
        assert none is None
    assert files.write(digest, TWO) == len(PARITY)
    assert files.write(keep(archive, b""), TWO) == 0
    path = files.path(digest, Form.PLAIN)
    assert path.read_bytes() == PARITY
    assert files.sweep() == 0
    damaged = bytearray(DATA)
    spoil(damaged, PIECE + 77, 1)
    place = archive.layout.blob(digest)
    place.chmod(0o644)
    place.write_bytes(damaged)
    with archive.open_blob(digest) as blob, files.mender(blob) as mender:
        assert mender is not None
        assert mender.piece(1) == DATA[PIECE : 2 * PIECE]
    with pytest.raises(DamagedError):
        files.write(digest, TWO)
    assert archive.damage.of(digest)
    assert path.read_bytes() == PARITY
    place.unlink()
    assert files.sweep() >= len(PARITY)
    assert not path.exists()


def test_parity_of_another_blob_is_not_used(tmp_path: Path) -> None:
    archive = Archive(tmp_path, create=True)
    files = ParityFiles(archive)
    one, other = keep(archive, DATA), keep(archive, DATA[::-1])
    files.write(one, TWO)
    path = files.path(other, Form.PLAIN)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(PARITY)
    with archive.open_blob(other) as blob, files.mender(blob) as mender:
        assert mender is None
    assert files.sweep() > 0
    assert files.path(one, Form.PLAIN).exists()
