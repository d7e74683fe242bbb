"""Magnet links and .torrent files, as we and others write them."""

import base64
import hashlib
from pathlib import Path
from random import Random

import libtorrent
import pytest

from outlast.codec.hashing import names_of
from outlast.codec.merkle import BLOCK, PIECE, Tree
from outlast.core.digest import Digest
from outlast.swarm.torrent import payload_torrent as metainfo
from outlast.swarm.torrent.magnet import Link, is_magnet, parse_magnet, parse_peer
from outlast.swarm.torrent.read import read_torrent
from tests.swarm.test_payload_torrent import tree_of
from tests.swarm.test_revision_torrent import FILES, NAME, make

V1, V2 = bytes(range(20)), bytes(range(32))
FULL = Link(
    V2,
    V1,
    name="org--name & more: é",
    size=12345,
    trackers=("http://a.example:80/announce?x=1&y=2", "udp://b.example:6969"),
    peers=(("192.0.2.1", 6881), ("2001:db8::1", 6882), ("c.example", 1)),
    web_seeds=("https://hub.example/org/name/resolve/",),
)


@pytest.mark.parametrize(
    "link", [FULL, Link(V2, None), Link(None, V1), Link(V2, None, name="x", size=0)]
)
def test_what_is_printed_is_parsed_again(link: Link) -> None:
    assert parse_magnet(link.magnet()) == link


def test_libtorrent_reads_what_we_print() -> None:
    read = libtorrent.parse_magnet_uri(FULL.magnet())
    assert read.info_hashes.v1.to_bytes() == V1
    assert read.info_hashes.v2.to_bytes() == V2
    assert read.name == FULL.name
    assert read.trackers == list(FULL.trackers)
    assert read.url_seeds == list(FULL.web_seeds)
    assert ("192.0.2.1", 6881) in read.peers
    assert ("2001:db8::1", 6882) in read.peers


def test_we_read_what_libtorrent_prints() -> None:
    whole = make(FILES)
    data = whole.file(trackers=["udp://b.example:6969"], web_seeds=["https://hub.example/x/"])
    text = libtorrent.make_magnet_uri(libtorrent.load_torrent_buffer(data))
    link = parse_magnet(text)
    assert (link.infohash_v1, link.infohash_v2) == (whole.infohash_v1, whole.infohash_v2)
    assert link.trackers == ("udp://b.example:6969",)
    assert link.web_seeds == ("https://hub.example/x/",)


@pytest.mark.parametrize(
    "text",
    [
        f"magnet:?xt=urn:btih:{V1.hex().upper()}",
        f"MAGNET:?xt=URN:BTIH:{base64.b32encode(V1).decode().lower()}",
        f"magnet:?dn=a+b&xt.1=urn:btih:{V1.hex()}&xt.2=urn:ed2k:{'a' * 32}&so=0",
        f"magnet:?xt=urn:btih:{V1.hex()}&xt=urn:btih:{V1.hex()}",
        f"magnet:?xt=urn:btih:{V1.hex()}&tr=wss://a.example&ws=ftp://b.example/",
    ],
)
def test_other_spellings(text: str) -> None:
    assert is_magnet(text)
    link = parse_magnet(text)
    assert (link.infohash_v1, link.infohash_v2) == (V1, None)
    assert (link.trackers, link.web_seeds) == ((), ())


def test_a_name_for_display_is_one_line() -> None:
    link = parse_magnet(f"magnet:?xt=urn:btih:{V1.hex()}&dn=a%0Aoutlast: done{'x' * 500}")
    assert link.name.startswith("a\\noutlast: done")
    assert len(link.name) < 300


def test_peers() -> None:
    assert parse_peer("[2001:DB8:0::1]:6881") == ("2001:db8::1", 6881)
    assert parse_peer("node.example:1") == ("node.example", 1)


@pytest.mark.parametrize("size", [1, BLOCK, PIECE, PIECE + 1, 5 * PIECE])
def test_the_torrent_of_a_payload_is_recognised(size: int) -> None:
    tree = tree_of(Random(size).randbytes(size))
    link = read_torrent(metainfo.torrent(tree))
    assert link.infohash_v1 is None
    assert link.infohash_v2 == metainfo.infohash(tree)
    assert link.payload == (tree.root, size)
    assert link.trees == {tree.root: tree}
    assert parse_magnet(link.magnet()).payload == (tree.root, size)


def test_a_name_alone_proves_no_payload() -> None:
    root = Digest("1" * 64)
    assert Link(V2, None, name=root.hex, size=5).payload is None
    assert Link(metainfo.infohash_of(root, 5), None, name=root.hex, size=6).payload is None
    assert Link(metainfo.infohash_of(root, 5), None, name=root.hex).payload is None
    assert Link(metainfo.infohash_of(root, 5), None, name=root.hex, size=5).payload == (root, 5)


@pytest.mark.parametrize("pieces", [1, 2, 8])
def test_the_torrent_of_a_revision(pieces: int) -> None:
    whole = make(FILES, pieces * PIECE)
    link = read_torrent(whole.file(trackers=["http://a.example/"], web_seeds=["http://b.example/"]))
    assert (link.infohash_v1, link.infohash_v2) == (whole.infohash_v1, whole.infohash_v2)
    assert link.name == NAME
    assert {file.path: file.size for file in link.files} == {p: len(d) for p, d in FILES.items()}
    assert link.size == sum(map(len, FILES.values()))
    assert link.info == whole.info
    for file in link.files:
        assert file.root == names_of(FILES[file.path]).merkle_root
    known = {names_of(d).merkle_root for d in FILES.values() if d and len(d) <= PIECE}
    if pieces == 1:
        known |= {names_of(d).merkle_root for d in FILES.values() if d}
    assert set(link.trees) == known
    for tree in link.trees.values():
        assert Tree.checked(tree.size, tree.root, tree.layer) == tree


@pytest.mark.parametrize("length", [BLOCK, 4 * BLOCK, PIECE, 4 * PIECE])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_torrents_that_libtorrent_makes(tmp_path: Path, length: int, version: int) -> None:
    entries = []
    for path, data in FILES.items():
        file = tmp_path / NAME / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        entries.append(libtorrent.create_file_entry(f"{NAME}/{path}", len(data)))
    flags = {
        1: libtorrent.create_torrent.v1_only,
        2: libtorrent.create_torrent.v2_only,
        3: libtorrent.create_torrent.canonical_files,
    }[version]
    made = libtorrent.create_torrent(entries, length, flags)
    made.set_creator("a client")
    libtorrent.set_piece_hashes(made, str(tmp_path))
    data = libtorrent.bencode(made.generate())
    link = read_torrent(data)
    assert (link.infohash_v1 is not None, link.infohash_v2 is not None) == (
        bool(version & 1),
        bool(version & 2),
    )
    if link.infohash_v1 is not None:
        assert link.infohash_v1 == hashlib.sha1(link.info).digest()
    assert {file.path: file.size for file in link.files} == {p: len(d) for p, d in FILES.items()}
    if version != 1 and length <= PIECE:
        for data in filter(None, FILES.values()):
            names = names_of(data)
            assert names.merkle_root is not None
            assert link.trees[names.merkle_root].layer == names.layer


def test_a_torrent_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(b"one" * 1000)
    made = libtorrent.create_torrent([libtorrent.create_file_entry("one.bin", 3000)], 16384)
    libtorrent.set_piece_hashes(made, str(tmp_path))
    link = read_torrent(libtorrent.bencode(made.generate()))
    assert [(file.path, file.size) for file in link.files] == [("one.bin", 3000)]
    assert link.name == "one.bin"
