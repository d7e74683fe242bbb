"""Torrents of whole revisions: libtorrent makes the same of the same files, and reads ours."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import libtorrent
import pytest

from outlast.codec.merkle import PIECE
from outlast.core.errors import UsageError
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent import revision_torrent as hybrid
from outlast.swarm.torrent.revision_torrent import (
    FileHasher,
    RevisionTorrent,
    StreamHasher,
    TorrentLayout,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "revision-torrents.json"
NAME = "c0ffee" * 6 + "c0ff"


def content(size: int) -> bytes:
    return hashlib.shake_128(b"hybrid %d" % size).digest(size)


FILES = {
    "config.json": content(10),
    "empty.txt": b"",
    "model-1.bin": content(3 * PIECE + 5),
    "model-2.bin": content(PIECE),
    "model-3.bin": content(7 * PIECE - 1),
    "sub/a/b.bin": content(3 * PIECE + 5),
    "sub/empty": b"",
    "sub/é.txt": content(20_000),
    "zero": b"",
}


def make(files: Mapping[str, bytes], piece_length: int = 0, name: str = NAME) -> RevisionTorrent:
    plan = TorrentLayout.of(name, {path: len(data) for path, data in files.items()})
    plan = TorrentLayout(plan.name, plan.files, piece_length or plan.piece_length)
    hashed = {}
    for path, size in plan.files:
        hasher = FileHasher(plan, path, size)
        for at in range(0, size, PIECE):
            piece = memoryview(files[path])[at : at + PIECE]
            hasher.grow_tree(piece)
            hasher.hash_pieces(piece)
        hashed[path] = hasher.finish()
    return hybrid.hybrid_torrent(plan, hashed)


def by_libtorrent(
    folder: Path, files: Mapping[str, bytes], piece_length: int
) -> libtorrent.create_torrent:
    entries = []
    for path, data in files.items():
        file = folder / NAME / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        entries.append(libtorrent.create_file_entry(f"{NAME}/{path}", len(data)))
    flags = libtorrent.create_torrent.canonical_files_no_tail_padding
    made = libtorrent.create_torrent(entries, piece_length, flags)
    libtorrent.set_piece_hashes(made, str(folder))
    return made


@pytest.mark.parametrize("pieces", [1, 2, 4, 8])
def test_libtorrent_makes_the_same(tmp_path: Path, pieces: int) -> None:
    theirs = by_libtorrent(tmp_path, FILES, pieces * PIECE).generate()
    ours = make(FILES, pieces * PIECE)
    assert bencode.decode(ours.info) == theirs[b"info"]
    assert ours.layers == theirs[b"piece layers"]
    info = libtorrent.torrent_info(theirs)
    assert info.info_hashes().v1.to_bytes() == ours.infohash_v1
    assert info.info_hashes().v2.to_bytes() == ours.infohash_v2


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize(
    "files",
    [
        FILES,
        {"one.bin": content(5)},
        {"sub/one.bin": content(PIECE + 1)},
        {"a": b"", "b": content(3), "c": b""},
        # Not in the order of whole paths, which is that of libtorrent's own maker here: what it
        # makes of these it refuses to read.
        {"sub-a": content(3), "sub/b": content(4), "sub.c": content(5)},
    ],
)
def test_libtorrent_reads_it(files: Mapping[str, bytes], pieces: int) -> None:
    whole = make(files, pieces * PIECE)
    data = whole.file(trackers=["http://a.example/announce"], web_seeds=["http://b.example/c/"])
    read = libtorrent.load_torrent_buffer(data)
    assert read.ti is not None
    hashes = read.ti.info_hashes()
    assert hashes.v1.to_bytes() == whole.infohash_v1 == hashlib.sha1(whole.info).digest()
    assert hashes.v2.to_bytes() == whole.infohash_v2 == hashlib.sha256(whole.info).digest()
    found = {}
    storage = read.ti.layout()
    for index in range(storage.num_files()):
        if not storage.file_flags(index) & storage.flag_pad_file:
            found[storage.file_path(index)] = storage.file_size(index)
    assert found == {f"{NAME}/{path}": len(data) for path, data in files.items()}
    assert read.url_seeds == ["http://b.example/c/"]


def test_the_pieces_of_version_1_are_those_of_the_padded_files() -> None:
    whole = make(FILES)
    info: Any = bencode.decode(whole.info)
    everything = b""
    for file in info[b"files"]:
        path = b"/".join(file[b"path"]).decode()
        everything += FILES.get(path, bytes(file[b"length"]))
    pieces = [everything[at : at + PIECE] for at in range(0, len(everything), PIECE)]
    assert info[b"pieces"] == b"".join(hashlib.sha1(piece).digest() for piece in pieces)


@pytest.mark.parametrize("parts", [1, 7, 1000, PIECE, 10 * PIECE])
@pytest.mark.parametrize("size", [0, 1, PIECE, 3 * PIECE + 5])
def test_a_stream_of_any_parts_has_the_same_pieces(size: int, parts: int) -> None:
    data = content(min(size, 1000 * parts))
    hasher = StreamHasher(PIECE)
    for at in range(0, len(data), parts):
        hasher.update(memoryview(data)[at : at + parts])
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    assert hasher.finish() == b"".join(hashlib.sha1(piece).digest() for piece in pieces)


@pytest.mark.parametrize("pieces", [1, 4])
def test_version_1_alone_is_that_of_libtorrent(tmp_path: Path, pieces: int) -> None:
    plan = TorrentLayout.of(NAME, {path: len(data) for path, data in FILES.items()})
    plan = TorrentLayout(plan.name, plan.files, pieces * PIECE)
    hasher = StreamHasher(plan.piece_length)
    for path, _ in plan.files:
        hasher.update(memoryview(FILES[path]))
    ours = hybrid.v1_torrent(plan, hasher.finish())
    by_libtorrent(tmp_path, FILES, PIECE)
    entries = [libtorrent.create_file_entry(f"{NAME}/{p}", size) for p, size in plan.files]
    made = libtorrent.create_torrent(entries, plan.piece_length, libtorrent.create_torrent.v1_only)
    libtorrent.set_piece_hashes(made, str(tmp_path))
    assert made.generate()[b"info"] == bencode.decode(ours.info)
    assert libtorrent.torrent_info(made.generate()).info_hashes().v1.to_bytes() == ours.infohash_v1
    read = libtorrent.load_torrent_buffer(ours.file(web_seeds=["http://b.example/"]))
    assert read.ti is not None
    assert not read.ti.info_hashes().has_v2()


def test_the_order_of_the_files_given_does_not_matter() -> None:
    assert make(dict(reversed(FILES.items()))) == make(FILES)


def test_infohashes_stay() -> None:
    """Every archiver computes the same, in every version: these may never change."""
    for pieces, known in json.loads(GOLDEN.read_text()).items():
        whole = make(FILES, int(pieces) * PIECE)
        assert whole.infohash_v1.hex() == known["v1"]
        assert whole.infohash_v2.hex() == known["v2"]


@pytest.mark.parametrize(
    ("sizes", "length"),
    [
        ({"a": 100_000 * PIECE}, PIECE),
        ({"a": 100_000 * PIECE + 1}, 2 * PIECE),
        ({"a": 99_999 * PIECE, "b": 1, "c": 0}, PIECE),
        ({"a": 99_999 * PIECE, "b": 1, "c": 1}, 2 * PIECE),
        ({"a": 10**12}, 16 * PIECE),
    ],
)
def test_pieces_grow_with_the_revision(sizes: Mapping[str, int], length: int) -> None:
    assert TorrentLayout.of("x", sizes).piece_length == length


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"a": 0},
        {str(number): 1 for number in range(hybrid.MAX_FILES + 1)},
        {"/".join(["a"] * (hybrid.MAX_PARTS + 1)): 1},
        {"a": 1 << 60},
    ],
)
def test_what_no_torrent_can_hold_is_refused(sizes: Mapping[str, int]) -> None:
    with pytest.raises(UsageError):
        TorrentLayout.of("x", sizes)


def test_the_deepest_path_is_read() -> None:
    path = "/".join(["a"] * hybrid.MAX_PARTS)
    data = make({path: b"a"}).file()
    assert libtorrent.load_torrent_buffer(data).ti is not None
    assert bencode.decode(data)
