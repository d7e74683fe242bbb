"""The BEP 52 tree, against one written from the specification without a thought for speed."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.codec import merkle
from outlast.codec.hashing import names_of

KIB = 1024
MIB = 1024 * KIB
LEAF = 16 * KIB
GOLDEN = Path(__file__).parents[1] / "golden" / "merkle-roots.json"

AROUND = [LEAF, 2 * LEAF, 3 * LEAF, 5 * LEAF, 33 * LEAF, MIB, 2 * MIB, 3 * MIB, 5 * MIB]
SIZES = sorted(
    {1, 2, *(size + delta for size in AROUND for delta in (-1, 0, 1))} | {4 * MIB - LEAF}
)


def straightforward_root(data: bytes) -> str:
    """BEP 52: leaves are the hashes of 16 KiB blocks, the last may be short; the leaves are
    filled up to a power of two with zeros; each inner node hashes its two children.
    """
    layer = [hashlib.sha256(data[at : at + LEAF]).digest() for at in range(0, len(data), LEAF)]
    while len(layer) & (len(layer) - 1):
        layer.append(bytes(32))
    while len(layer) > 1:
        pairs = zip(layer[::2], layer[1::2], strict=True)
        layer = [hashlib.sha256(left + right).digest() for left, right in pairs]
    return layer[0].hex()


def straightforward_piece(data: bytes) -> bytes:
    """The hash of a piece: the root of 64 leaves, whatever the length of the last piece."""
    layer = [hashlib.sha256(data[at : at + LEAF]).digest() for at in range(0, len(data), LEAF)]
    layer += [bytes(32)] * (64 - len(layer))
    while len(layer) > 1:
        pairs = zip(layer[::2], layer[1::2], strict=True)
        layer = [hashlib.sha256(left + right).digest() for left, right in pairs]
    return layer[0]


def content(size: int) -> bytes:
    return hashlib.shake_128(b"merkle %d" % size).digest(size)


def root_of(data: bytes) -> str | None:
    root = names_of(data).merkle_root
    return None if root is None else root.hex


@pytest.mark.parametrize("size", SIZES)
def test_root_is_that_of_the_specification(size: int) -> None:
    data = content(size)
    assert root_of(data) == straightforward_root(data)


@settings(max_examples=40)
@given(st.integers(1, 3 * MIB))
def test_root_at_any_size(size: int) -> None:
    data = bytes(size)
    assert root_of(data) == straightforward_root(data)


@pytest.mark.parametrize("size", [1, LEAF, LEAF + 1, MIB - LEAF, MIB - 1, MIB])
def test_piece_hash(size: int) -> None:
    data = content(size)
    assert merkle.piece_hash(memoryview(data)) == straightforward_piece(data)


def test_root_of_many_pieces_from_their_hashes_alone() -> None:
    for count in (2, 3, 4, 5, 7, 8, 9, 31, 33):
        data = bytes(count * MIB - 5)
        full, last = straightforward_piece(data[:MIB]), straightforward_piece(bytes(MIB - 5))
        hashes = [full] * (count - 1) + [last]
        given_hashes = list(hashes)
        if count <= 9:
            assert merkle.root_of_layer(b"".join(hashes)).hex == straightforward_root(data)
        assert hashes == given_hashes, "the caller's list is left alone"


def test_an_empty_file_has_no_root() -> None:
    assert root_of(b"") is None
    assert merkle.small_root(memoryview(b"")) is None


@pytest.mark.parametrize(
    ("size", "count"), [(0, 0), (1, 1), (MIB - 1, 1), (MIB, 1), (MIB + 1, 2), (5 * MIB, 5)]
)
def test_piece_count(size: int, count: int) -> None:
    assert merkle.piece_count(size) == count


def test_one_changed_byte_changes_the_root() -> None:
    data = bytearray(content(2 * MIB + 3))
    roots = {root_of(bytes(data))}
    for at in (0, LEAF - 1, LEAF, MIB - 1, MIB, 2 * MIB, len(data) - 1):
        data[at] ^= 1
        roots.add(root_of(bytes(data)))
        data[at] ^= 1
    assert len(roots) == 8


def test_golden_roots() -> None:
    """These never change: they are names in swarms."""
    golden = json.loads(GOLDEN.read_text())
    for text, size in (("a", 1), ("a", LEAF + 1), ("a", MIB), ("a", MIB + 1), ("a", 5 * MIB)):
        assert root_of(text.encode() * size) == golden[f"{text} x {size}"]
    assert len(golden) == 5


@pytest.mark.parametrize("size", [1, LEAF, LEAF + 1, 5 * LEAF, MIB, MIB + 1, 3 * MIB - 7])
def test_each_block_is_proven_by_its_proof_and_by_no_other(size: int) -> None:
    data = content(size)
    pieces = [memoryview(data)[at : at + MIB] for at in range(0, size, MIB)]
    layer = b"".join(map(merkle.piece_hash, pieces)) if len(pieces) > 1 else b""
    root = merkle.root_of_layer(layer) if layer else merkle.small_root(memoryview(data))
    assert root is not None
    tree = merkle.Tree.checked(size, root, layer)
    for block in {0, merkle.block_count(size) // 2, merkle.block_count(size) - 1}:
        piece = pieces[block // merkle.LEAVES_PER_PIECE]
        proof = merkle.block_proof(piece, block % merkle.LEAVES_PER_PIECE, alone=not layer)
        there = data[block * LEAF : (block + 1) * LEAF]
        assert len(there) == tree.block_length(block)
        assert len(proof) == tree.proof_length
        assert tree.proves(block, there, proof)
        assert not tree.proves(block, bytes([there[0] ^ 1]) + there[1:], proof)
        assert not tree.proves(block, there + b"\0", proof)
        assert not tree.proves(block, there, proof + bytes(32))
        if proof:
            assert not tree.proves(block, there, bytes([proof[-1] ^ 1]).join([proof[:-1], b""]))
            assert not tree.proves(block ^ 1, there, proof)
