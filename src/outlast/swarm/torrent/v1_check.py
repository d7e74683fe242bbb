"""Checking files against a torrent of version 1, whose hashes run over the ends of files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from outlast.core.cancel import Cancel
from outlast.core.errors import CorruptError, MalformedError
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.bencode import Value
from outlast.swarm.torrent.revision_torrent import StreamHasher

_ZEROS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class V1Pieces:
    """The stream of a torrent: its files and pads as (is a pad, bytes), and the SHA-1 of its
    pieces, 20 bytes each.
    """

    spans: tuple[tuple[bool, int], ...]
    length: int
    hashes: bytes

    @classmethod
    def of(cls, info: bytes) -> "V1Pieces":
        """Of an info dictionary that `read_torrent` has accepted."""
        document = _dict(bencode.decode(info))
        files = document.get(b"files")
        listed = files if isinstance(files, list) else [document]
        length, hashes = document[b"piece length"], document[b"pieces"]
        assert isinstance(length, int)
        assert isinstance(hashes, bytes)
        return cls(tuple(map(_span, listed)), length, hashes)

    def check(self, chunks: Callable[[int], Iterable[memoryview]], cancel: Cancel) -> None:
        """Hashes the files again: `chunks` gives the bytes of each by its number, pads not counted.
        Raises :class:`CorruptError` where they are not those of the torrent.
        """
        hasher, number = StreamHasher(self.length), 0
        for is_pad, size in self.spans:
            if is_pad:
                if size >= self.length:
                    raise MalformedError("the torrent has a pad that is longer than a piece")
                for zeros in _zeros(size):
                    hasher.update(zeros)
                continue
            for chunk in chunks(number):
                cancel.check()
                hasher.update(chunk)
            number += 1
        if hasher.finish() != self.hashes:
            raise CorruptError("the fetched files have changed on the disk", hint="fetch it again")


def _span(value: Value) -> tuple[bool, int]:
    file = _dict(value)
    size, attributes = file[b"length"], file.get(b"attr", b"")
    assert isinstance(size, int)
    assert isinstance(attributes, bytes)
    return b"p" in attributes, size


def _dict(value: Value) -> dict[bytes, Value]:
    assert isinstance(value, dict)
    return value


def _zeros(size: int) -> Iterator[memoryview]:
    for offset in range(0, size, _ZEROS):
        yield memoryview(bytes(min(_ZEROS, size - offset)))
