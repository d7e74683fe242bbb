"""Content names, against git and hashlib."""

import hashlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.codec import merkle
from outlast.codec.hashing import BlobHasher, names_of
from outlast.core.digest import Digest, GitOid, lfs_pointer
from outlast.core.errors import MalformedError

SIZES = [0, 1, 16, 16383, 16384, 16385, merkle.PIECE - 1, merkle.PIECE, merkle.PIECE + 1]

BAD_HEX = [
    "",
    "0",
    "g" * 64,
    "A" * 64,
    "a" * 63,
    "a" * 65,
    "a" * 64 + "\n",
    "\n" + "a" * 63,
    " " + "a" * 63,
    "a" * 63 + " ",
    "٣" * 64,
    "a" * 63 + "\0",
    "0x" + "a" * 62,
    "../" + "a" * 61,
]


def content(size: int) -> bytes:
    return hashlib.shake_128(b"%d" % size).digest(size)


@pytest.mark.parametrize("text", BAD_HEX)
def test_digest_refuses_what_is_not_64_hex_digits(text: str) -> None:
    assert not Digest.is_valid(text)
    with pytest.raises(MalformedError):
        Digest(text)


@pytest.mark.parametrize("text", [*(t[:40] + t[64:] for t in BAD_HEX[2:4]), *BAD_HEX])
def test_git_id_refuses_what_is_not_40_hex_digits(text: str) -> None:
    assert not GitOid.is_valid(text)
    with pytest.raises(MalformedError):
        GitOid(text)


@given(st.binary())
def test_digest_is_the_sha256(data: bytes) -> None:
    digest = Digest.of(data)
    assert digest.hex == str(digest) == hashlib.sha256(data).hexdigest()
    assert Digest.from_bytes(hashlib.sha256(data).digest()) == digest
    assert Digest.of(memoryview(data)) == digest
    assert digest.hex.startswith(digest.short)


@given(st.lists(st.binary(min_size=32, max_size=32)))
def test_digests_sort_as_their_bytes(raw: list[bytes]) -> None:
    assert [Digest.from_bytes(r) for r in sorted(raw)] == sorted(map(Digest.from_bytes, raw))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_digest_from_bytes_wants_32(size: int) -> None:
    with pytest.raises(MalformedError):
        Digest.from_bytes(bytes(size))


@pytest.fixture(scope="module")
def git_ids(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What git calls the contents of each size."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path_factory.mktemp("git")
    paths = [folder / str(size) for size in SIZES]
    for path, size in zip(paths, SIZES, strict=True):
        path.write_bytes(content(size))
    command = ["git", "hash-object", "--no-filters", "--stdin-paths"]
    listing = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(command, input=listing, capture_output=True, text=True, check=True)
    return dict(zip(SIZES, done.stdout.split(), strict=True))


@pytest.mark.parametrize("size", SIZES)
def test_git_ids_are_those_that_git_computes(size: int, git_ids: dict[int, str]) -> None:
    assert GitOid.of_blob(content(size)).hex == git_ids[size]
    names = names_of(content(size))
    assert names.git_sha1 is not None
    assert names.git_sha1.hex == git_ids[size]


def test_known_git_ids() -> None:
    assert GitOid.of_blob(b"").hex == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert GitOid.of_blob(b"hello\n").hex == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("size", [*SIZES, 3 * merkle.PIECE + 7])
def test_one_pass_gives_every_name(size: int) -> None:
    data = content(size)
    for names in (names_of(data), names_of(bytearray(data))):
        assert names.size == size
        assert names.sha256.hex == hashlib.sha256(data).hexdigest()
        assert names.git_sha1 == GitOid.of_blob(data)
        assert (names.merkle_root is None) == (size == 0)


@pytest.mark.parametrize("size", [5, merkle.PIECE, 2 * merkle.PIECE + 1])
def test_hashing_piece_by_piece_with_known_hashes(size: int) -> None:
    data = memoryview(content(size))
    hasher = BlobHasher(size, git=False)
    for at in range(0, size, merkle.PIECE):
        piece = data[at : at + merkle.PIECE]
        hasher.update(piece, merkle.piece_hash(piece))
    names, whole = hasher.names(), names_of(bytes(data))
    assert names.git_sha1 is None
    assert (names.size, names.sha256, names.merkle_root) == (size, whole.sha256, whole.merkle_root)


def test_lfs_pointer_is_what_git_lfs_writes() -> None:
    pointer = lfs_pointer(Digest.of(b"x"), 1)
    assert pointer == (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n"
        b"size 1\n"
    )
