"""docs/format/swarm.md: its test vectors, and that each statement names a test that exists."""

import ast
import base64
import functools
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
from outlast.swarm.torrent import bencode, payload_torrent
from tests.swarm.test_revision_torrent import make

PLACE = Path(__file__).parents[2] / "docs" / "format" / "swarm.md"
TEXT = PLACE.read_text()
VECTORS = dict(re.findall(r"```vector ([a-z ]+)\n(.*?)```", TEXT, re.DOTALL))
HELD = re.findall(r"^\| ([A-Z][0-9]+) \| (.*) \|$", TEXT, re.MULTILINE)
"""Rows of the tables "Held by": a mark, and the tests that hold the statement with that mark."""


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
        "info": payload_torrent.info_dict(tree).hex(),
        "infohash": payload_torrent.infohash(tree).hex(),
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


def test_an_empty_file_has_no_torrent() -> None:
    assert names_of(b"").merkle_root is None


def test_each_statement_names_its_tests() -> None:
    marks = [mark for mark, _ in HELD]
    assert len(set(marks)) == len(marks)
    assert set(re.findall(r"\[([A-Z][0-9]+)\]", TEXT)) == set(marks)


@pytest.mark.parametrize(("mark", "tests"), HELD)
def test_the_tests_that_are_named_exist(mark: str, tests: str) -> None:
    for name in tests.split(", "):
        file, *parts = name.split("::")
        assert tuple(parts) in names_in(Path(__file__).parent / file), (mark, name)


@functools.cache
def names_in(path: Path) -> set[tuple[str, ...]]:
    """The tests of a file, by class and function, without importing it."""
    found: set[tuple[str, ...]] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            inner = (each for each in node.body if isinstance(each, ast.FunctionDef))
            found |= {(node.name, each.name) for each in inner}
        elif isinstance(node, ast.FunctionDef):
            found.add((node.name,))
    return {names for names in found if names[-1].startswith("test_")}
