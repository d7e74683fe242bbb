"""What the processes of one gateway tell each other of their targets' breakers.

A board is memory that they share, with a place for each process. Each writes its own place alone
and reads those of the others, so that there is no lock that a killed process could keep. A place
has a sum: one that is being written, or that a killed process left half-written, is passed over
until it is written again.
"""

import mmap
import struct
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

_HEAD: Final = struct.Struct("<QII")
"""Number of the writing, bytes, and their CRC-32 together with the number."""
_PLACE: Final = 1024 * 1024
"""Bytes of a place. Pages that nothing was written to take no memory."""
_MOST: Final = 2000
"""Breakers in a place, the newest: 300 bytes each."""
_MOST_DETAIL: Final = 200


class BreakerNote(msgspec.Struct, frozen=True, array_like=True):
    """A breaker as one process left it. `at`: when, on the machine's monotonic clock, in seconds;
    `due`: when it is probed next; `opened`: how often in a row it opened; `kind`: of the fault, ""
    where it is closed. `retry_after` in seconds.
    """

    at: float
    due: float = 0.0
    opened: int = 0
    kind: str = ""
    detail: str = ""
    status: int = 0
    retry_after: float | None = None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, BreakerNote]).decode


class BreakerBoard:
    """Shared memory for `places` processes; to be made before they are forked off."""

    def __init__(self, places: int) -> None:
        self.places: Final = places
        self._memory: Final = mmap.mmap(-1, places * _PLACE)

    def write(self, place: int, notes: Mapping[str, BreakerNote]) -> None:
        """Puts these notes, by server, into a place that no other process writes."""
        newest = sorted(notes.items(), key=lambda item: item[1].at)[-_MOST:]
        data = b""
        for most in (_MOST_DETAIL, 0):
            shown = {
                key: msgspec.structs.replace(note, detail=note.detail[:most])
                for key, note in newest
            }
            data = _encode(shown)
            if len(data) <= _PLACE - _HEAD.size:
                break
        else:
            return  # names of servers that long are in no file of routes
        start = place * _PLACE
        number = _HEAD.unpack_from(self._memory, start)[0] + 1
        self._memory[start + _HEAD.size : start + _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._memory, start, number, len(data), _sum(number, data))

    def number(self, place: int) -> int:
        """Changes with each writing of a place."""
        found: int = _HEAD.unpack_from(self._memory, place * _PLACE)[0]
        return found

    def read(self, place: int) -> Mapping[str, BreakerNote] | None:
        """What a place has; None where it is just being written, or was left half-written."""
        start = place * _PLACE
        number, size, check = _HEAD.unpack_from(self._memory, start)
        if not number:
            return {}
        if size > _PLACE - _HEAD.size:
            return None
        data = self._memory[start + _HEAD.size : start + _HEAD.size + size]
        if _sum(number, data) != check:
            return None
        try:
            return _decode(data)
        except msgspec.DecodeError:
            return None


def _sum(number: int, data: bytes) -> int:
    return zlib.crc32(data, number & 0xFFFFFFFF)
