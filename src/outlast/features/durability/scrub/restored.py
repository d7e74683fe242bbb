"""Judges the plain bytes of a blob as they come, in order: as a whole, or piece by piece."""

import hashlib
from typing import Protocol

from outlast.codec.merkle import PIECE, Tree
from outlast.core.digest import Digest


class Judge(Protocol):
    """Is given the bytes of a blob from some place on."""

    def add(self, data: memoryview) -> None: ...

    @property
    def done(self) -> int:
        """The first pieces that were judged."""

    @property
    def spoiled(self) -> bool:
        """Whether it is clear already that the bytes are not those of the blob."""

    def is_right(self) -> bool:
        """At the end: whether they are."""


class WholeJudge:
    """By the sha256 of all bytes."""

    def __init__(self, blob: Digest) -> None:
        self._blob = blob
        self._hasher = hashlib.sha256()
        self.done = 0
        self.spoiled = False

    def add(self, data: memoryview) -> None:
        self._hasher.update(data)

    def is_right(self) -> bool:
        return self._hasher.hexdigest() == self._blob.hex


class TreeJudge:
    """By the merkle tree, whose root is as good a name of the bytes as their sha256; from piece
    `done` on.
    """

    def __init__(self, tree: Tree, done: int) -> None:
        self._tree = tree
        self.done = done
        self.wrong: list[int] = []
        self._buffer = memoryview(bytearray(PIECE))
        self._filled = 0

    def add(self, data: memoryview) -> None:
        while data:
            want = self._tree.length(self.done)
            take = min(len(data), want - self._filled)
            self._buffer[self._filled : self._filled + take] = data[:take]
            self._filled += take
            data = data[take:]
            if self._filled == want:
                if not self._tree.matches(self.done, self._buffer[:want]):
                    self.wrong.append(self.done)
                self.done += 1
                self._filled = 0

    @property
    def spoiled(self) -> bool:
        return bool(self.wrong)

    def is_right(self) -> bool:
        return not self.wrong
