"""Server-sent events, read from bytes as they come."""

from collections.abc import Iterator
from typing import Final

from outlast.features.gateway.seams import BrokenStream

LINE: Final = 4 * 1024 * 1024
"""Bytes of one line, or of the lines of one event. A chunk with the logprobs of 20 alternatives has
10 kB; a picture in one chunk 2 MB.
"""
TOTAL: Final = 256 * 1024 * 1024
"""Bytes of one stream. 100,000 tokens in chunks of 400 bytes are 40 MB."""
_MARK: Final = b"\xef\xbb\xbf"
_FIELDS: Final = frozenset((b"event", b"id", b"retry"))


class SseReader:
    """Gives the data of each event once the event is whole. Lines end with LF, CR LF or CR; the
    bytes may be split anywhere. At most `line` bytes are held.
    """

    def __init__(self, *, line: int = LINE, total: int = TOTAL) -> None:
        self._line, self._total = line, total
        self._seen = 0
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._after_cr = False
        self._start = b""
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of the events that are whole with these bytes. Raises :class:`BrokenStream` for
        more than the bounds allow, and for lines that are no fields of events.
        """
        self._seen += len(data)
        if self._seen > self._total:
            raise BrokenStream(f"the stream has more than {self._total} bytes", "large")
        if not self._started:
            data = self._without_mark(data)
        *lines, rest = self._unified(data).split(b"\n")
        for line in lines:
            if self._rest:
                line = b"".join((*self._rest, line))  # noqa: PLW2901 - the line is whole now
                self._rest.clear()
                self._rest_size = 0
            if line:
                self._field(line)
            elif self._data:
                yield b"\n".join(self._data)
                self._data.clear()
                self._data_size = 0
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
            self._bounded(self._rest_size)

    def _without_mark(self, data: bytes) -> bytes:
        """What follows a byte order mark at the very beginning."""
        self._start += data
        if len(self._start) < len(_MARK) and _MARK.startswith(self._start):
            return b""
        self._started = True
        data, self._start = self._start.removeprefix(_MARK), b""
        return data

    def _unified(self, data: bytes) -> bytes:
        """`data` with LF at the end of each line."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" not in data:
            return data
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _field(self, line: bytes) -> None:
        self._bounded(len(line))
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_size += len(value)
            self._bounded(self._data_size)
        elif name and name not in _FIELDS:
            shown = line[:40].decode("ascii", "backslashreplace")
            raise BrokenStream(f"a line of the stream is no field of an event: {shown!r}")

    def _bounded(self, size: int) -> None:
        if size > self._line:
            raise BrokenStream(f"an event has more than {self._line} bytes", "large")
