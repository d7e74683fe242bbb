"""Encrypted bundles: the stream of a bundle in cells, each a block of an outer stream that can be
cut, checked and repaired without the key (docs/format/bundle.md, §8). What encrypts is handed in.
"""

import base64
import binascii
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, Self

import rfc8785

from outlast.codec.bundle.checked import Fields, check_type, fields
from outlast.codec.bundle.contents import MAX_CONTENTS, layout_json, read_layout
from outlast.codec.bundle.geometry import MAX_STREAM, Geometry, PartLayout
from outlast.codec.bundle.part import base_of
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError
from outlast.core.manifest import load_json

SEALED_TYPE: Final = "outlast-sealed-bundle-v1"
ENVELOPE_TYPE: Final = "outlast-bundle-key-v1"
MAX_SEALED: Final = 1 << 20
"""Bytes of the outer contents: the envelope has some hundred bytes for each recipient."""
MIN_CELL: Final = 1 << 14
SLACK: Final = 1024
"""Bytes of a cell that are not the stream's: what the age file adds to 1 MiB is up to 700."""
_MAX_ENVELOPE: Final = 4096
_LENGTH: Final = struct.Struct("<I")
_PLACE: Final = struct.Struct("<32sQ")


class CellKey(Protocol):
    """The key pair of one bundle. Thread-safe."""

    def seal(self, data: bytes) -> bytes:
        """An age file of `data`; another one each time."""

    def open(self, data: bytes) -> bytes:
        """What an age file holds. Raises :class:`CorruptError`."""


@dataclass(frozen=True)
class SealedContents:
    """What an encrypted bundle says in clear: how it is cut, and the envelope, an age file for the
    recipients. Its sha256 is the id of the bundle.
    """

    layout: PartLayout
    cells: int
    envelope: bytes = field(repr=False)

    @cached_property
    def encoded(self) -> bytes:
        """The canonical JSON."""
        return rfc8785.dumps(self.to_json())

    @cached_property
    def id(self) -> Digest:
        return Digest.of(self.encoded)

    @property
    def base(self) -> int:
        """Where in the outer stream the cells begin."""
        return base_of(len(self.encoded), self.layout.block)

    @property
    def room(self) -> int:
        """Bytes of the inner stream in a cell."""
        return self.layout.block - SLACK

    @cached_property
    def geometry(self) -> Geometry:
        """How the outer stream is cut."""
        return Geometry(self.layout, self.base + self.cells * self.layout.block)

    def to_json(self) -> dict[str, Any]:
        return {
            "type": SEALED_TYPE,
            "layout": layout_json(self.layout),
            "cells": self.cells,
            "envelope": base64.b64encode(self.envelope).decode(),
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Raises :class:`MalformedError`."""
        document = fields(value, {"type", "layout", "cells", "envelope"})
        check_type(document, SEALED_TYPE)
        layout = read_layout(document.get("layout"))
        if layout.block < MIN_CELL:
            raise MalformedError(f"cells of {layout.block} bytes are too small")
        cells = document.number("cells", MAX_STREAM // layout.block)
        return cls(layout, cells, _envelope(document))


def _envelope(document: Fields) -> bytes:
    text = document.get("envelope")
    if not isinstance(text, str) or len(text) > MAX_SEALED:
        raise MalformedError("'envelope' is not a text, or too long")
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if base64.b64encode(found).decode() != text:
        raise MalformedError("'envelope' is not base64")
    return found


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the envelope holds: the secret key of the cells, the sha256 of the inner contents, and
    the lengths of these and of the inner stream, in bytes.
    """

    key: str = field(repr=False)
    bundle: Digest
    contents: int
    stream: int

    def to_bytes(self) -> bytes:
        return rfc8785.dumps(
            {
                "type": ENVELOPE_TYPE,
                "key": self.key,
                "bundle": self.bundle.hex,
                "contents": self.contents,
                "stream": self.stream,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises :class:`MalformedError`."""
        document = fields(
            load_json(data, _MAX_ENVELOPE), {"type", "key", "bundle", "contents", "stream"}
        )
        check_type(document, ENVELOPE_TYPE)
        return cls(
            document.text("key"),
            Digest(document.text("bundle")),
            document.number("contents", MAX_CONTENTS),
            document.number("stream", MAX_STREAM),
        )


class Cells:
    """The cells of one bundle. Each says in what is encrypted of which bundle it is, and which: one
    that was moved is refused. Thread-safe.
    """

    def __init__(self, contents: SealedContents, key: CellKey) -> None:
        self.contents: Final = contents
        self._key = key
        self._id = bytes.fromhex(contents.id.hex)

    def seal(self, number: int, data: bytes) -> bytes:
        """Cell `number`, as long as a block; `data` has the `room` of a cell."""
        assert len(data) == self.contents.room
        sealed = self._key.seal(_PLACE.pack(self._id, number) + data)
        cell = _LENGTH.pack(len(sealed)) + sealed
        if len(cell) > self.contents.layout.block:
            raise ValueError(f"an age file of {len(sealed)} bytes does not fit its cell")
        return cell.ljust(self.contents.layout.block, b"\0")

    def open(self, number: int, cell: memoryview) -> memoryview:
        """The bytes of the stream in a cell. Raises :class:`CorruptError`."""
        end = _LENGTH.size + _LENGTH.unpack_from(cell)[0]
        if end > len(cell) or any(cell[end:]):
            raise CorruptError(f"cell {number} of the bundle is malformed")
        try:
            plain = self._key.open(bytes(cell[_LENGTH.size : end]))
        except CorruptError as error:
            raise CorruptError(f"cell {number} of the bundle: {error}") from None
        if len(plain) != _PLACE.size + self.contents.room:
            raise CorruptError(f"cell {number} of the bundle has another length")
        if plain[: _PLACE.size] != _PLACE.pack(self._id, number):
            raise CorruptError(f"cell {number} of the bundle was moved there from another place")
        return memoryview(plain)[_PLACE.size :]
