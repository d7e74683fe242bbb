"""The text of a commit, as git hashes it."""

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from outlast.core.digest import GitOid
from outlast.core.errors import MalformedError

MAX_COMMIT: Final = 256 * 1024
"""Bytes of a commit. Those that merge signed tags repeat these, at 1 to 2 KB each. Guess."""
MOST_PARENTS: Final = 64
"""Git's own merges of more are rare; the largest that is known has 66. It is a bound on what is
parsed of a header, and none on what is hashed."""


def object_id(kind: str, data: bytes) -> GitOid:
    """The sha1 that git gives to `data` as an object of this kind: ``commit``, ``tree``, ``blob``
    or ``tag``.
    """
    hasher = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)), usedforsecurity=False)
    hasher.update(data)
    return GitOid(hasher.hexdigest())


@dataclass(frozen=True, slots=True)
class CommitText:
    """The bytes of a commit, and what its header says: the id of its folder, and of its parents.
    `author` and `committer` are lines as git has them, with what is not UTF-8 replaced.
    """

    data: bytes
    tree: GitOid
    parents: tuple[GitOid, ...]
    author: str
    committer: str

    @property
    def id(self) -> GitOid:
        """What git calls it."""
        return object_id("commit", self.data)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises :class:`MalformedError` for what git would not take for a commit."""
        if len(data) > MAX_COMMIT:
            raise MalformedError(f"a commit of {len(data)} bytes exceeds {MAX_COMMIT}")
        header = data.partition(b"\n\n")[0].split(b"\n")
        tree = _named(header.pop(0), b"tree")
        parents = []
        while header and header[0].startswith(b"parent "):
            parents.append(_named(header.pop(0), b"parent"))
            if len(parents) > MOST_PARENTS:
                raise MalformedError(f"a commit with more than {MOST_PARENTS} parents")
        people = []
        for role in (b"author ", b"committer "):
            if not header or not header[0].startswith(role):
                raise MalformedError("a commit that does not say who made it")
            people.append(header.pop(0).removeprefix(role).decode(errors="replace"))
        return cls(data, tree, tuple(parents), *people)


def _named(line: bytes, key: bytes) -> GitOid:
    """The id in a line of a header."""
    name, _, value = line.partition(b" ")
    if name != key or not value.isascii():
        raise MalformedError(f"a commit without a line {key.decode()!r}")
    return GitOid(value.decode())
