"""Content names: sha256 of a whole blob, and the sha1 ids that git gives to blobs and commits."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Self

from outlast.core.errors import MalformedError

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SHA1 = re.compile(r"[0-9a-f]{40}\Z")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A sha256, as 64 lower-case hex digits."""

    hex: str

    def __post_init__(self) -> None:
        if not _SHA256.match(self.hex):
            raise MalformedError(f"not a sha256: {self.hex!r}")

    @classmethod
    def of(cls, data: bytes | memoryview) -> Self:
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def is_valid(cls, text: str) -> bool:
        return bool(_SHA256.match(text))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        return cls(raw.hex())

    def __str__(self) -> str:
        return self.hex

    @property
    def short(self) -> str:
        return self.hex[:12]


@dataclass(frozen=True, slots=True, order=True)
class GitOid:
    """A sha1 as git uses it for blobs and commits, as 40 lower-case hex digits."""

    hex: str

    def __post_init__(self) -> None:
        if not _SHA1.match(self.hex):
            raise MalformedError(f"not a git object id: {self.hex!r}")

    @classmethod
    def of_blob(cls, data: bytes | memoryview) -> Self:
        """Git's id of a file with these bytes."""
        hasher = hashlib.sha1(blob_header(len(data)), usedforsecurity=False)
        hasher.update(data)
        return cls(hasher.hexdigest())

    @classmethod
    def is_valid(cls, text: str) -> bool:
        return bool(_SHA1.match(text))

    def __str__(self) -> str:
        return self.hex


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a blob: size in bytes, sha256, git blob id (small files only), BEP 52 merkle
    root (none for an empty blob), and the `layer` of its merkle tree: one hash of 32 bytes for each
    piece of 1 MiB (empty if there is only one piece). `sums` are the XXH3-64 of these pieces, 8
    bytes each (docs/format/sums.md), empty likewise.
    """

    size: int
    sha256: Digest
    git_sha1: GitOid | None
    merkle_root: Digest | None
    layer: bytes = field(default=b"", repr=False)
    sums: bytes = field(default=b"", repr=False, compare=False)


def blob_header(size: int) -> bytes:
    """The header that git hashes before the `size` bytes of a file."""
    return b"blob %d\0" % size


def lfs_pointer(digest: Digest, size: int) -> bytes:
    """The text file that replaces a large file in git (git-lfs pointer, version 1)."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
    ).encode()
