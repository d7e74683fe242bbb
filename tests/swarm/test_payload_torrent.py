"""The torrent of a payload is the one that libtorrent makes of the same file."""

import json
from pathlib import Path
from random import Random
from typing import Any

import libtorrent
import pytest

from outlast.codec.hashing import names_of
from outlast.codec.merkle import BLOCK, PIECE, Tree
from outlast.core.digest import Digest
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent import payload_torrent as metainfo

GOLDEN = Path(__file__).parents[1] / "golden" / "payload-torrents.json"
SIZES = (1, BLOCK, BLOCK + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 77)


def tree_of(data: bytes) -> Tree:
    names = names_of(data)
    assert names.merkle_root is not None
    return Tree(len(data), names.merkle_root, names.layer)


def by_libtorrent(folder: Path, tree: Tree, data: bytes) -> dict[bytes, Any]:
    (folder / tree.root.hex).write_bytes(data)
    files = [libtorrent.create_file_entry(tree.root.hex, len(data))]
    made = libtorrent.create_torrent(files, PIECE, libtorrent.create_torrent.v2_only)
    libtorrent.set_piece_hashes(made, str(folder))
    return made.generate()


@pytest.mark.parametrize("size", SIZES)
def test_libtorrent_makes_the_same(tmp_path: Path, size: int) -> None:
    data = Random(size).randbytes(size)
    tree = tree_of(data)
    theirs = by_libtorrent(tmp_path, tree, data)
    ours = bencode.decode(metainfo.torrent(tree))
    assert ours == {key: theirs[key] for key in (b"info", b"piece layers")}
    assert bencode.encode(theirs[b"info"]) == metainfo.info_dict(tree)


@pytest.mark.parametrize("size", SIZES)
def test_libtorrent_reads_it(size: int) -> None:
    tree = tree_of(Random(size).randbytes(size))
    trackers, seeds = ["http://a.example/announce", "udp://b.example:1"], ["http://c.example/d/"]
    read = libtorrent.load_torrent_buffer(
        metainfo.torrent(tree, trackers=trackers, web_seeds=seeds)
    )
    assert read.ti is not None
    assert read.ti.info_hashes().v2.to_bytes() == metainfo.infohash(tree)
    assert read.ti.info_hashes().has_v1() is False
    assert read.ti.piece_length() == PIECE
    assert read.ti.name() == tree.root.hex
    assert read.trackers == trackers
    assert read.tracker_tiers == [0, 1]
    assert read.url_seeds == seeds


def test_the_infohash_of_known_roots_stays() -> None:
    """Every archiver computes the same, in every version: these may never change."""
    for known in json.loads(GOLDEN.read_text()):
        root = Digest(known["root"])
        info = metainfo.info_of(root, known["size"])
        assert info == known["info"].encode("latin-1")
        found = metainfo.infohash_of(root, known["size"])
        assert found.hex() == known["infohash"]
        assert metainfo.truncated(found).hex() == known["infohash"][:40]


def test_the_infohash_hangs_on_root_and_size() -> None:
    one, other = Digest("1" * 64), Digest("2" * 64)
    found = {metainfo.infohash_of(root, size) for root in (one, other) for size in (5, 6)}
    assert len(found) == 4
