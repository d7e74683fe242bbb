"""The test vectors of docs/format/swarm.md."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from outlast.codec.hashing import names_of
from outlast.codec.merkle import Tree
from outlast.core.digest import Digest
from outlast.swarm.lan.datagrams import RENDEZVOUS, Wish, want_key, wants
from outlast.swarm.lan.election import score
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent import payload_torrent as metainfo
from tests.swarm.test_revision_torrent import make

PLACE = Path(__file__).parents[2] / "docs" / "format" / "swarm.md"
VECTORS = dict(re.findall(r"```vector ([a-z ]+)\n(.*?)```", PLACE.read_text(), re.DOTALL))


def fields(name: str) -> dict[str, str]:
    """`key: value` lines; a value goes on in lines that begin with a space."""
    found = re.findall(r"^([^ \n][^:\n]*): (.*(?:\n .*)*)", VECTORS[name], re.MULTILINE)
    return {key: re.sub(r"\n +", "", value) for key, value in found}


@pytest.mark.parametrize(("name", "data"), [("one", b"a"), ("two", b"a" * 1_048_577)])
def test_payloads(name: str, data: bytes) -> None:
    said = fields(f"payload {name}")
    names = names_of(data)
    assert names.merkle_root is not None
    tree = Tree(len(data), names.merkle_root, names.layer)
    assert said == {
        "size": str(tree.size),
        "root": tree.root.hex,
        **({"layer": tree.layer.hex()} if tree.layer else {}),
        "info": metainfo.info_dict(tree).hex(),
        "infohash": metainfo.infohash(tree).hex(),
    }
    assert hashlib.sha256(bytes.fromhex(said["info"])).hexdigest() == said["infohash"]


def test_a_revision() -> None:
    said = fields("revision")
    files = {"config.json": b"{}", "empty": b"", "sub/model.bin": b"a" * 1_048_577}
    whole = make(files, name=said["name"])
    info: Any = bencode.decode(whole.info)
    assert said["order"] == " ".join(b"/".join(f[b"path"]).decode() for f in info[b"files"])
    assert said["length"] == str(len(whole.info))
    assert said["v1"] == whole.infohash_v1.hex()
    assert said["v2"] == whole.infohash_v2.hex()


def test_datagrams() -> None:
    assert fields("announcement")["infohash"] == RENDEZVOUS.hex()
    said = fields("want")
    key = want_key(Digest(said["blob"]))
    assert said["key"] == key.hex()
    [datagram] = wants("host", bytes(20), 1, [Wish(key, able=True, stage=2)])
    header = f"Keys: {said['keys header']}\r\n"
    assert header.encode() in datagram
    raw = base64.b64decode(said["keys header"])
    assert raw == key + bytes([int(said["flags"])])


def test_the_score() -> None:
    said = fields("score")
    assert score(bytes.fromhex(said["node"]), bytes.fromhex(said["key"])).hex() == said["score"]


def test_all_vectors_are_looked_at() -> None:
    assert set(VECTORS) == {
        *("payload one", "payload two", "revision", "announcement", "want", "score"),
    }
