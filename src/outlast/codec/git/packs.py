"""Packs: git's objects on their way, compressed and as differences from each other (gitformat-pack
of git's documentation, version 2). All bytes come from outside: each bound is checked before memory
is taken.
"""

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import Final

from outlast.codec.git.commits import object_id
from outlast.core.digest import GitOid
from outlast.core.errors import MalformedError

MAX_PACK: Final = 64 * 1024 * 1024
"""Bytes of a pack of folders alone: 1,000,000 files of which 20 bytes each do not compress, and
their names. Guess."""
MAX_UNPACKED: Final = 128 * 1024 * 1024
"""Bytes of all objects of a pack."""
MOST_OBJECTS: Final = 200_000
"""Of one pack: a folder each. Guess."""
_HEAD: Final = 12
_SUM: Final = 20
_KINDS: Final = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_BY_OFFSET: Final = 6
_BY_ID: Final = 7
_MOST_DIGITS: Final = 10
_STEP: Final = 4096
"""Bytes that are unpacked at once: what is left of them at the end of an object is read again."""


@dataclass(slots=True)
class _Delta:
    """An object as its difference from another one: by place in the pack, or by id."""

    base: int | GitOid
    data: bytes


@dataclass(slots=True)
class _PackReading:
    """A pack that is being read: what is whole, by place, and the places by id."""

    data: bytes
    end: int
    left: int
    whole: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    deltas: dict[int, _Delta] = field(default_factory=dict)
    places: dict[GitOid, int] = field(default_factory=dict)

    def take(self, size: int) -> None:
        """Counts bytes that are about to be made."""
        self.left -= size
        if self.left < 0:
            raise MalformedError(f"a pack of more than {MAX_UNPACKED} bytes")

    def keep(self, place: int, kind: str, data: bytes) -> None:
        self.whole[place] = kind, data
        self.places[object_id(kind, data)] = place


def read_pack(data: bytes) -> dict[GitOid, tuple[str, bytes]]:
    """The objects of a pack by id: kind and bytes. Raises :class:`MalformedError` for one that is
    damaged, too large, or has differences from objects that it lacks.
    """
    if len(data) > MAX_PACK:
        raise MalformedError(f"a pack of more than {MAX_PACK} bytes")
    if len(data) < _HEAD + _SUM or data[:4] != b"PACK":
        raise MalformedError("not a pack of git")
    if hashlib.sha1(data[:-_SUM], usedforsecurity=False).digest() != data[-_SUM:]:
        raise MalformedError("the pack is damaged: its sum does not match")
    version, count = int.from_bytes(data[4:8]), int.from_bytes(data[8:12])
    if version not in {2, 3} or count > MOST_OBJECTS:
        raise MalformedError(f"a pack of version {version} with {count} objects")
    reading = _PackReading(data, len(data) - _SUM, MAX_UNPACKED)
    at = _HEAD
    for _ in range(count):
        at = _read_object(reading, at)
    if at != reading.end:
        raise MalformedError("bytes at the end of a pack that are no object")
    _resolve(reading)
    return {oid: reading.whole[place] for oid, place in reading.places.items()}


def _read_object(reading: _PackReading, place: int) -> int:
    """Reads what begins at `place`; where the next begins."""
    kind, size, at = _head(reading, place)
    base: int | GitOid | None = None
    if kind == _BY_OFFSET:
        distance, at = _distance(reading, at)
        base = place - distance
    elif kind == _BY_ID:
        base = GitOid(reading.data[at : at + _SUM].hex())
        at += _SUM
    elif kind not in _KINDS:
        raise MalformedError(f"an object of the kind {kind} in a pack")
    reading.take(size)
    data, at = _inflate(reading, at, size)
    if base is None:
        reading.keep(place, _KINDS[kind], data)
    else:
        reading.deltas[place] = _Delta(base, data)
    return at


def _head(reading: _PackReading, at: int) -> tuple[int, int, int]:
    """Kind, size in bytes, and where it goes on."""
    byte = _byte(reading, at)
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    at += 1
    while byte & 0x80:
        byte = _byte(reading, at)
        size |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if shift > 7 * _MOST_DIGITS:
            raise MalformedError("an object of a size that is no number")
    return kind, size, at


def _distance(reading: _PackReading, at: int) -> tuple[int, int]:
    """How far back a base lies, and where it goes on."""
    byte = _byte(reading, at)
    value = byte & 0x7F
    for _ in range(_MOST_DIGITS):
        at += 1
        if not byte & 0x80:
            return value, at
        byte = _byte(reading, at)
        value = (value + 1) << 7 | byte & 0x7F
    raise MalformedError("a base that is nowhere in the pack")


def _byte(reading: _PackReading, at: int) -> int:
    if at >= reading.end:
        raise MalformedError("a pack that is cut short")
    return reading.data[at]


def _inflate(reading: _PackReading, at: int, size: int) -> tuple[bytes, int]:
    """`size` bytes, and where their compressed form ends. No more than that is ever unpacked."""
    decoder = zlib.decompressobj()
    made = bytearray()
    while not decoder.eof:
        part = reading.data[at : min(at + _STEP, reading.end)]
        if not part:
            raise MalformedError("a pack that is cut short")
        try:
            made += decoder.decompress(part, size + 1 - len(made))
        except zlib.error:
            raise MalformedError("a damaged object in a pack") from None
        if len(made) > size:
            break
        at += len(part)
    if len(made) != size or not decoder.eof:
        raise MalformedError("an object that has not the size that its pack says")
    return bytes(made), at - len(decoder.unused_data)


def _resolve(reading: _PackReading) -> None:
    """Makes whole objects of the differences, each as soon as its base is one."""
    waiting_for: dict[int | GitOid, list[int]] = {}
    for place, delta in reading.deltas.items():
        waiting_for.setdefault(delta.base, []).append(place)
    waiting = list(reading.whole)
    while waiting:
        place = waiting.pop()
        kind, base = reading.whole[place]
        by_place = waiting_for.pop(place, [])
        by_id = waiting_for.pop(object_id(kind, base), []) if waiting_for else []
        for one in (*by_place, *by_id):
            reading.keep(one, kind, _apply(reading, base, reading.deltas[one].data))
            waiting.append(one)
    if waiting_for:
        raise MalformedError("a pack with an object whose base it does not have")


def _apply(reading: _PackReading, base: bytes, delta: bytes) -> bytes:
    """`base` with a difference."""
    size, at = _size(delta, 0)
    if size != len(base):
        raise MalformedError("a difference from an object of another size")
    size, at = _size(delta, at)
    reading.take(size)
    made = bytearray()
    while at < len(delta):
        order = delta[at]
        at += 1
        if order & 0x80:
            start, length, at = _copy(delta, order, at)
            if start + length > len(base):
                raise MalformedError("a difference that copies what is not there")
            part = base[start : start + length]
        elif order:
            part = delta[at : at + order]
            if len(part) < order:
                raise MalformedError("a difference that is cut short")
            at += order
        else:
            raise MalformedError("a difference with an order that does not exist")
        if len(made) + len(part) > size:
            raise MalformedError("a difference that makes more than it says")
        made += part
    if len(made) != size:
        raise MalformedError("a difference that makes less than it says")
    return bytes(made)


def _copy(delta: bytes, order: int, at: int) -> tuple[int, int, int]:
    """What an order copies: its place in the base, its length, and where the next order is."""
    values = [0, 0]
    for bit in range(7):
        if order >> bit & 1:
            if at >= len(delta):
                raise MalformedError("a difference that is cut short")
            which, shift = (0, 8 * bit) if bit < 4 else (1, 8 * (bit - 4))
            values[which] |= delta[at] << shift
            at += 1
    return values[0], values[1] or 0x10000, at


def _size(delta: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for _ in range(_MOST_DIGITS):
        if at >= len(delta):
            break
        byte = delta[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if not byte & 0x80:
            return value, at
    raise MalformedError("a difference without a size")
