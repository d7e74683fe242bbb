"""A list file, read once from beginning to end: hashed, bounded and decoded while it is read."""

import codecs
import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, NotFoundError, UsageError
from outlast.features.trust.screening.tuning import LISTS, ListTuning
from outlast.store import disk

HINT: Final = "download the list again from its publisher, and do not open it in another program"
_PACKED: Final = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip (an .xlsx or .ods file is one, too)",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
}
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def malformed(name: str, problem: str, hint: str = HINT) -> MalformedError:
    """The error for a list that cannot be relied on."""
    return MalformedError(f"the list {name}: {problem}", hint=hint)


class ListFile:
    """The bytes of a list. `chunks`, `texts` or `lines` may be asked for once; after the last one,
    `digest` is the sha256 of the file.
    """

    def __init__(self, name: str, stream: BinaryIO, tuning: ListTuning = LISTS) -> None:
        self.name = name
        self.tuning = tuning
        self._stream = stream
        self._hash = hashlib.sha256()
        self._read = 0
        self._ended = False
        self.ends_whole = True
        """Whether the last of the `lines` that were given has its end."""
        self._before = self._state()
        self._first = self._next()
        for magic, kind in _PACKED.items():
            if self._first.startswith(magic):
                raise malformed(name, f"it is packed as {kind}", "unpack it first")
        found = [(m, e) for m, e in _MARKS if self._first.startswith(m)]
        self._mark, self._encoding = found[0] if found else (b"", "utf-8")

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, tuning: ListTuning = LISTS) -> Iterator[Self]:
        """The file at `path`. Raises :class:`NotFoundError`, and :class:`UsageError` of what is no
        file.
        """
        with disk.reporting(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                raise NotFoundError(f"there is no list {path}", hint="check the path") from None
            with open(descriptor, "rb", buffering=0) as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise UsageError(f"the list {path} is not a file", hint="name the file itself")
                yield cls(path.name, stream, tuning)

    @property
    def digest(self) -> Digest:
        assert self._ended, "the digest is known at the end of the file"
        return Digest(self._hash.hexdigest())

    @property
    def head(self) -> str:
        """Its first characters; what cannot be decoded is replaced."""
        most = self.tuning.head
        data = self._first[len(self._mark) : len(self._mark) + 2 * most]
        return data.decode(self._encoding, "replace")[:most]

    def chunks(self) -> Iterator[bytes]:
        """Its bytes."""
        data = self._first
        while data:
            yield data
            data = self._next()
        self._ended = True

    def texts(self) -> Iterator[str]:
        """Its text, in pieces: UTF-8, or UTF-16 that says so. Another encoding is an error, as a
        name that was decoded wrongly would match nothing.
        """
        decoder = codecs.getincrementaldecoder(self._encoding)()
        cut = len(self._mark)
        for data in self.chunks():
            yield self._decoded(decoder, data[cut:], final=False)
            cut = 0
        yield self._decoded(decoder, b"", final=True)

    def lines(self) -> Iterator[str]:
        """Its lines, each with its end."""
        most = self.tuning.line
        rest = ""
        for text in self.texts():
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                self._bound(line, most)
                yield line + "\n"
            self._bound(rest, most)
        if rest:
            self.ends_whole = False
            yield rest

    def _bound(self, line: str, most: int) -> None:
        if len(line) > most:
            raise malformed(self.name, f"a line has more than {most:,} characters")

    def _decoded(self, decoder: codecs.IncrementalDecoder, data: bytes, *, final: bool) -> str:
        try:
            text = decoder.decode(data, final)
        except UnicodeDecodeError:
            raise malformed(
                self.name,
                f"it is not text in {self._encoding.upper()}",
                "convert it, as with: iconv -f WINDOWS-1252 -t UTF-8",
            ) from None
        if "\0" in text:
            raise malformed(self.name, "it has a NUL character")
        return text

    def _state(self) -> tuple[int, ...]:
        """What changes when another program writes to the file: half a list would pass for all."""
        try:
            found = os.fstat(self._stream.fileno())
        except (OSError, ValueError):  # it is in memory
            return ()
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _next(self) -> bytes:
        data = self._stream.read(self.tuning.chunk) or b""
        if self._state() != self._before:
            raise malformed(self.name, "it changed while it was read", "try again")
        self._read += len(data)
        if self._read > self.tuning.size:
            raise malformed(self.name, f"it has more than {self.tuning.size:,} bytes")
        self._hash.update(data)
        return data
