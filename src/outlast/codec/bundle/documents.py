"""The documents beside the parts: `bundle.json` and inventories (docs/format/bundle.md, §4, 5)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self, TypeAlias

import rfc8785

from outlast.codec.bundle.checked import Fields, check_type, fields, moment
from outlast.codec.bundle.contents import MAX_CONTENTS, BundleContents
from outlast.codec.bundle.geometry import MAX_PARTS
from outlast.codec.bundle.sealed import MAX_SEALED, SEALED_TYPE, SealedContents
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.manifest import load_json

BUNDLE_FILE: Final = "bundle.json"
BUNDLE_TYPE: Final = "outlast-bundle-file-v1"
INVENTORY_TYPE: Final = "outlast-inventory-v1"
MAX_BUNDLE_FILE: Final = MAX_CONTENTS + 32 * 1024 * 1024
MAX_INVENTORY: Final = 256 * 1024 * 1024
_MOST_CONTAINERS: Final = 1_000_000
_MOST_NAMES: Final = 3_000_000
_CHECK: Final = "check"

Outer: TypeAlias = BundleContents | SealedContents
"""What a bundle says of itself to everybody: all that it holds, unless it is encrypted."""


@dataclass(frozen=True, slots=True)
class PartSum:
    """The size in bytes and the sha256 of the file of a part."""

    number: int
    size: int
    sha256: Digest

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "size": self.size, "sha256": self.sha256.hex}

    @classmethod
    def from_json(cls, value: object) -> Self:
        entry = fields(value, {"number", "size", "sha256"})
        number = entry.number("number", MAX_PARTS)
        return cls(number, entry.number("size"), Digest(entry.text("sha256")))


@dataclass(frozen=True, slots=True)
class BundleFile:
    """`bundle.json`: the contents, and the sums of the parts that were written so far."""

    contents: Outer
    made: str
    parts: tuple[PartSum, ...]

    def to_bytes(self) -> bytes:
        return _with_check(
            {
                "type": BUNDLE_TYPE,
                "id": self.contents.id.hex,
                "contents": self.contents.to_json(),
                "made": self.made,
                "parts": [part.to_json() for part in self.parts],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises :class:`MalformedError` for what is damaged, or no such file."""
        document = load_json(data, MAX_BUNDLE_FILE, containers=_MOST_CONTAINERS)
        entry = _checked(document, BUNDLE_TYPE, {"id", "contents", "made", "parts"})
        contents = _outer(entry.get("contents"))
        if contents.id.hex != entry.get("id"):
            raise MalformedError("the contents of a bundle do not have the sha256 that is its id")
        parts = tuple(map(PartSum.from_json, entry.items("parts")))
        geometry = contents.geometry
        if any(one.number >= other.number for one, other in pairwise(parts)) or any(
            part.number >= geometry.parts or part.size != geometry.part_size(part.number)
            for part in parts
        ):
            raise MalformedError("the parts that a bundle lists are not those of its contents")
        return cls(contents, moment(entry.text("made")), parts)


def read_outer(data: bytes) -> Outer:
    """The contents at the start of a stream. Raises :class:`MalformedError`."""
    if f'"type":"{SEALED_TYPE}"'.encode() not in data[-200:]:  # canonical: the type comes last
        return BundleContents.from_bytes(data)
    found = SealedContents.from_json(load_json(data, MAX_SEALED))
    if found.encoded != data:
        raise MalformedError("the contents of a bundle are not canonical JSON")
    return found


def _outer(value: object) -> Outer:
    is_sealed = isinstance(value, dict) and value.get("type") == SEALED_TYPE
    return SealedContents.from_json(value) if is_sealed else BundleContents.from_json(value)


@dataclass(frozen=True, slots=True)
class ArchiveInventory:
    """What an archive holds."""

    blobs: frozenset[Digest]
    manifests: frozenset[Digest]

    def to_bytes(self) -> bytes:
        return _with_check(self._document())

    @property
    def check(self) -> Digest:
        """Names it."""
        return _check_of(self._document())

    def _document(self) -> dict[str, Any]:
        return {
            "type": INVENTORY_TYPE,
            "blobs": sorted(digest.hex for digest in self.blobs),
            "manifests": sorted(digest.hex for digest in self.manifests),
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises :class:`MalformedError`."""
        if data.count(b",") > _MOST_NAMES:
            raise MalformedError(f"an inventory of more than {_MOST_NAMES} names")
        document = load_json(data, MAX_INVENTORY)
        entry = _checked(document, INVENTORY_TYPE, {"blobs", "manifests"})
        return cls(frozenset(entry.digests("blobs")), frozenset(entry.digests("manifests")))


def _check_of(document: dict[str, Any]) -> Digest:
    return Digest.of(rfc8785.dumps(document))


def _with_check(document: dict[str, Any]) -> bytes:
    return rfc8785.dumps({**document, _CHECK: _check_of(document).hex})


def _checked(document: object, kind: str, known: set[str]) -> Fields:
    """The keys of a document whose check is right."""
    entry = fields(document, {"type", _CHECK, *known})
    check_type(entry, kind)
    assert isinstance(document, dict), "fields() refused anything else"
    rest = {key: value for key, value in document.items() if key != _CHECK}
    try:
        found = _check_of(rest).hex
    except (rfc8785.CanonicalizationError, UnicodeError) as error:
        raise MalformedError(f"not canonical JSON: {error}") from None
    if found != entry.get(_CHECK):
        raise MalformedError("its check is wrong: it is damaged, or was changed")
    return entry
