"""Trees beside blobs in a second home: single pieces are proven, and come from several homes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.bucket.ranges import ProvenRange
from outlast.bucket.source import BucketSource
from outlast.bucket.trees import decode_tree, encode_tree, tree_bytes
from outlast.codec.hashing import TreeHasher
from outlast.codec.memory import InMemory
from outlast.codec.merkle import PIECE, Tree
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, DamagedThereError
from outlast.ops.second_home.check import check
from outlast.ops.second_home.copy import copy
from outlast.store.archive import Archive
from tests.bucket.s3server import BUCKET, S3Server
from tests.bucket.test_second_home import bucket, damage, folder
from tests.cli.call import inside
from tests.serve.node import outlast
from tests.store import weights
from tests.store.test_cached import bring, key

DATA = os.urandom(6 * PIECE + 12_345)
BLOB = Digest.of(DATA)
BASE = weights.model(1, 600_000)


def tree_of(data: bytes) -> Tree:
    hasher = TreeHasher()
    hasher.update(data)
    tree = hasher.tree()
    assert tree is not None
    return tree


TREE = tree_of(DATA)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A plain file of several pieces, a small one, and a capsule."""
    with Archive(tmp_path_factory.mktemp("filled") / "home", create=True) as archive:
        bring(archive, key("one"), DATA, b"small", mark=False)
        bring(archive, key("two"), BASE, mark=False)
        with archive.writer() as writer:
            weights.pack(archive, writer, Digest.of(BASE))
        yield archive


class TestFile:
    def test_what_was_written_is_read(self) -> None:
        data = encode_tree(BLOB, TREE)
        assert len(data) == tree_bytes(len(DATA)) == 80 + 7 * 32 + 32
        assert decode_tree(data, BLOB) == TREE

    @given(at=st.integers(0, tree_bytes(len(DATA)) - 1), bit=st.integers(0, 7))
    def test_each_bit_counts(self, at: int, bit: int) -> None:
        data = bytearray(encode_tree(BLOB, TREE))
        data[at] ^= 1 << bit
        with pytest.raises(CorruptError):
            decode_tree(bytes(data), BLOB)

    @given(st.binary(max_size=400))
    def test_anything_else_is_refused(self, data: bytes) -> None:
        with pytest.raises(CorruptError):
            decode_tree(data, BLOB)

    def test_that_of_another_blob_is_refused(self) -> None:
        with pytest.raises(CorruptError, match="something else"):
            decode_tree(encode_tree(Digest.of(b""), TREE), BLOB)

    def test_a_layer_of_another_root_is_refused(self) -> None:
        wrong = Tree(TREE.size, TREE.root, TREE.layer[:-32] + bytes(32))
        with pytest.raises(CorruptError):
            decode_tree(encode_tree(BLOB, wrong), BLOB)


class TestRange:
    @given(
        start=st.integers(0, len(DATA) - 1),
        length=st.integers(1, 3 * PIECE),
        step=st.integers(1000, 2 * PIECE),
    )
    def test_any_range_comes_as_it_is(self, start: int, length: int, step: int) -> None:
        stop = min(len(DATA), start + length)
        reader = ProvenRange(InMemory(DATA), start, stop, TREE, "it")
        buffer, found = memoryview(bytearray(step)), bytearray()
        while count := reader.readinto(buffer):
            found += buffer[:count]
        assert found == DATA[start:stop]

    def test_no_byte_of_a_wrong_piece_comes_out(self) -> None:
        data = bytearray(DATA)
        data[3 * PIECE - 1] ^= 1
        reader = ProvenRange(InMemory(data), PIECE, 4 * PIECE, TREE, "it")
        buffer = memoryview(bytearray(PIECE))
        assert reader.readinto(buffer) == PIECE
        with pytest.raises(DamagedThereError, match="piece 2 is wrong"):
            reader.readinto(buffer[:10])


def tree_path(there: Path, blob: Digest) -> Path:
    return there / "trees" / blob.hex[:2] / blob.hex


class TestCopies:
    def test_a_copy_has_trees_and_an_old_one_gets_them(
        self, filled: Archive, tmp_path: Path
    ) -> None:
        there = tmp_path / "there"
        done = copy(filled, [], folder(there), Control())
        for blob, data in ((BLOB, DATA), (Digest.of(BASE), BASE)):
            assert decode_tree(tree_path(there, blob).read_bytes(), blob) == tree_of(data)
        assert not tree_path(there, Digest.of(b"small")).exists()
        tree_path(there, BLOB).unlink()
        tree_path(there, Digest.of(BASE)).write_bytes(b"cut short")
        outlast(tmp_path / "old", "pull", "org/one", "--from", f"store+file://{there}")
        again = copy(filled, [], folder(there), Control())
        assert (again.sent, again.trees, again.already) == (0, 2, done.sent)
        assert folder(there).tree(BLOB, len(DATA)) == TREE
        assert copy(filled, [], folder(there), Control()).trees == 0

    def test_two_damaged_homes_are_one_right_one(self, filled: Archive, tmp_path: Path) -> None:
        """Each lacks another piece: neither is given up for what it has."""
        places = [tmp_path / name for name in ("a", "b")]
        for number, there in enumerate(places):
            copy(filled, [], folder(there), Control())
            damage(there / "blobs" / BLOB.hex[:2] / BLOB.hex, (1 + 4 * number) * PIECE + 7)
            assert len(check(folder(there), [], Control()).problems) == 1
        sources = [part for place in places for part in ("--from", f"store+file://{place}")]
        outlast(tmp_path / "home", "pull", "org/one", *sources)
        with Archive(tmp_path / "home") as archive, archive.open_blob(BLOB) as blob:
            assert blob.sha256() == BLOB

    @pytest.mark.parametrize("what", ["piece", "short"])
    def test_one_damaged_home_is_said(self, filled: Archive, tmp_path: Path, what: str) -> None:
        there = tmp_path / "there"
        copy(filled, [], folder(there), Control())
        path = there / "blobs" / BLOB.hex[:2] / BLOB.hex
        if what == "piece":
            damage(path, 2 * PIECE)
        else:
            os.truncate(path, len(DATA) - 1)
        call = inside("pull", "org/one", "--from", f"store+file://{there}", home=tmp_path)
        assert call.code == 4
        wrong = "piece 2 is wrong" if what == "piece" else f"not {len(DATA):,}"
        assert wrong in call.err

    def test_a_range_reads_no_more_than_it_is(self, filled: Archive) -> None:
        with S3Server() as server:
            copy(filled, [], bucket(server), Control())
            source = BucketSource(bucket(server))
            listing = source.describe(key("one")[0], "main")
            entry = next(one for one in listing.entries if one.sha256 == BLOB)
            asked: list[int] = []
            server.sent = asked.append
            reader = source.open(key("one")[0], listing.commit, entry, PIECE, 2 * PIECE)
            buffer = memoryview(bytearray(PIECE))
            assert reader.readinto(buffer) == PIECE
            assert buffer == DATA[PIECE : 2 * PIECE]
            assert sum(asked) == PIECE + tree_bytes(len(DATA))

    def test_a_damaged_piece_here_costs_a_piece_there(
        self, filled: Archive, tmp_path: Path
    ) -> None:
        """The model was added by hand: its home is asked though no ref names it."""
        with Archive(tmp_path / "archive", create=True) as archive:
            bring(archive, key("one"), DATA, mark=False)
            path = archive.layout.blob(BLOB)
        with S3Server() as server:
            copy(filled, [], bucket(server), Control())
            settings = tmp_path / "settings.toml"
            settings.write_text(
                f'[s3]\nendpoint = "{server.url}"\naccess-key-id = "id"\n'
                'secret-access-key = "secret"\n[swarm]\nenabled = false\n'
                f'[durability.stores]\ns3 = "s3://{BUCKET}/arch"\n'
            )
            path.chmod(0o644)
            damage(path, 3 * PIECE + 5)
            asked: list[int] = []
            server.sent = asked.append
            call = inside("scrub", home=tmp_path, env={"OUTLAST_CONFIG": str(settings)}).ok()
            assert "1 mended" in call.out
            assert sum(asked) <= PIECE + tree_bytes(len(DATA))
        assert path.read_bytes() == DATA


def test_a_tree_that_lies_is_passed_over(filled: Archive, tmp_path: Path) -> None:
    """Whole, and of another file: the manifest says so, and the sha256 proves the file."""
    there = tmp_path / "there"
    copy(filled, [], folder(there), Control())
    other = tree_of(bytes(len(DATA)))
    tree_path(there, BLOB).write_bytes(encode_tree(BLOB, other))
    outlast(tmp_path / "home", "pull", "org/one", "--from", f"store+file://{there}")
