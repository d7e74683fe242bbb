"""What static peers ask each other of copies, and blocks with their proofs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from outlast.codec.merkle import BLOCK, Tree
from outlast.codec.payload import Form
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import EntryNotFoundError, IntegrityError, MalformedError
from outlast.core.keep_list import Goal
from outlast.core.names import RepoId
from outlast.server.node import documents
from outlast.sources.peer_documents import (
    CopiesSaid,
    HeldAs,
    HolderSeen,
    ManifestSaid,
    StoreSaid,
    read_copies,
)
from tests.serve.peers import PLAIN, Peer, get, sha

HOLDER, OTHER = "0123456789abcdef", "fedcba9876543210"


def said(count: int) -> CopiesSaid:
    rows = [
        ManifestSaid(
            manifest=Digest.of(b"%d" % number),
            repo=RepoId.parse(f"org/m{number}"),
            commit=GitOid.of_blob(b"%d" % number),
            size=number,
            held=HeldAs.COPY,
            goal=Goal(3, ("lan", "s3")) if number % 2 else None,
            failed=(OTHER,),
            seen=(HolderSeen(HOLDER, 0), HolderSeen(OTHER, 60, "192.0.2.7", 8091)),
            stored=(OTHER,) if number % 3 else (),
        )
        for number in range(count)
    ]
    stores = (StoreSaid(OTHER, "s3", able=True), StoreSaid("0" * 16, "nas", able=False))
    return CopiesSaid(HOLDER, "site-b", 10**12, 3, tuple(rows), stores)


def test_a_node_that_knows_no_stores_says_nothing_of_them() -> None:
    document = documents.copies(said(2), 0, 2)
    del document["stores"]
    for row in document["rows"]:
        del row["stored"]
    found, _ = read_copies(document)
    assert found.stores == ()
    assert [row.stored for row in found.manifests] == [(), ()]


def test_static_peers_hear_of_copies_page_by_page(peer: Peer) -> None:
    peer.trusts, peer.copies = True, said(5)
    with peer.beside(peer_page=2):
        assert peer.source().copies(5.0) == peer.copies


@pytest.mark.parametrize(("trusts", "takes_part"), [(False, True), (True, False)])
def test_strangers_hear_nothing(peer: Peer, trusts: bool, takes_part: bool) -> None:
    peer.trusts, peer.copies = trusts, said(1) if takes_part else None
    with pytest.raises(EntryNotFoundError):
        peer.source().copies(5.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("holder", "0123456789ABCDEF"),
        ("holder", None),
        ("site", "no site"),
        ("free", -1),
        ("free", True),
        ("rows", {}),
        ("rows/manifest", "ab"),
        ("rows/repo", "../../etc"),
        ("rows/held", "maybe"),
        ("rows/goal", {"copies": 0, "where": []}),
        ("rows/goal", {"copies": 1, "where": ["lan", "s3"]}),
        ("rows/goal", {"copies": 2, "where": ["lan", "lan"]}),
        ("rows/goal", {"copies": 2, "where": [7]}),
        ("rows/failed", [OTHER] * 101),
        ("rows/seen", [{"holder": OTHER, "age": 0, "host": "", "port": 0}] * 17),
        ("rows/seen", [{"holder": OTHER, "age": 0, "host": "", "port": 65536}]),
        ("rows/stored", [OTHER] * 17),
        ("rows/stored", ["s3"]),
        ("stores", {}),
        ("stores", [{"holder": OTHER, "site": "s3", "able": True}] * 17),
        ("stores", [{"holder": OTHER, "site": "../s3", "able": True}]),
        ("stores", [{"holder": OTHER, "site": "s3", "able": 1}]),
    ],
)
def test_hostile_answers(key: str, value: Any) -> None:
    document = documents.copies(said(2), 0, 2)
    where, _, inner = key.partition("/")
    if inner:
        document["rows"][1][inner] = value
    else:
        document[where] = value
    with pytest.raises(MalformedError):
        read_copies(json.loads(json.dumps(document)))


def test_an_address_that_is_none_is_left_out() -> None:
    document = documents.copies(said(1), 0, 1)
    document["rows"][0]["seen"][1]["host"] = "evil.example"
    found, _ = read_copies(document)
    assert found.manifests[0].seen[1] == HolderSeen(OTHER, 60, "", 8091)


def tree_of(peer: Peer, blob: Digest) -> Tree:
    tree = peer.archive.tree(blob, Form.PLAIN)
    assert tree is not None
    return tree


def test_each_block_is_proven(peer: Peer) -> None:
    blob = sha(PLAIN)
    tree = tree_of(peer, blob)
    for block in (0, (len(PLAIN) - 1) // BLOCK):
        peer.source().prove(blob, tree, block, 5.0)
    with pytest.raises(IntegrityError):
        peer.source().prove(blob, replace(tree, root=Digest.of(b"x"), layer=b""), 0, 5.0)


def test_a_block_that_is_wrong_or_not_there(peer: Peer) -> None:
    blob, last = sha(PLAIN), (len(PLAIN) - 1) // BLOCK
    for block in (str(last + 1), "-1", "x", ""):
        assert get(peer, f"/proofs/{blob}?block={block}").status == 400, block
    assert get(peer, f"/proofs/{sha(b'nothing')}?block=0").status == 404


def test_a_damaged_block_is_not_proven(peer: Peer) -> None:
    blob = sha(PLAIN)
    tree, path = tree_of(peer, blob), peer.archive.layout.blob(blob)
    kept, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o644)
    try:
        path.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
        with pytest.raises((IntegrityError, EntryNotFoundError)):
            peer.source().prove(blob, tree, 0, 5.0)
    finally:
        path.write_bytes(kept)
        path.chmod(mode)
