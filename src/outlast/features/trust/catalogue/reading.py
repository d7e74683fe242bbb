"""The files of a TUF repository as values: bounded, strict JSON, and the bytes that are signed."""

import json
from dataclasses import dataclass
from typing import Any, Final, Generic

from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Signature
from tuf.api.metadata import Metadata, Root, Snapshot, T, Targets, Timestamp

from outlast.core.errors import CatalogueRefusedError, MalformedError
from outlast.core.manifest import load_json
from outlast.features.trust.catalogue.library import refusing

_MOST_VERSION: Final = 1 << 31
_PER_CONTAINER: Final = 32
"""Bytes of a file for each container of its JSON, at least. An entry of 400 bytes has 6."""


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A file of a role: what it says, the bytes that its signatures are of, and these."""

    signed: T
    payload: bytes
    signatures: dict[str, Signature]


def read_root(data: bytes, limit: int) -> Read[Root]:
    return _read(data, limit, Root)


def read_timestamp(data: bytes, limit: int) -> Read[Timestamp]:
    return _read(data, limit, Timestamp)


def read_snapshot(data: bytes, limit: int) -> Read[Snapshot]:
    return _read(data, limit, Snapshot)


def read_targets(data: bytes, limit: int) -> Read[Targets]:
    return _read(data, limit, Targets)


def _read(data: bytes, limit: int, kind: type[T]) -> Read[T]:
    """Raises :class:`CatalogueRefusedError`. The signatures are not verified."""
    what = f"a {kind.type} of a catalogue"
    try:
        document = load_json(data, limit, containers=64 + len(data) // _PER_CONTAINER)
    except MalformedError as error:
        raise CatalogueRefusedError(f"{what}: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("signed"), dict):
        raise CatalogueRefusedError(f"{what} is not signed metadata of TUF")
    signed = document["signed"]
    if signed.get("_type") != kind.type:
        raise CatalogueRefusedError(f"{what} is of another type: {str(signed.get('_type'))[:40]!r}")
    _check_versions(signed, what)
    with refusing(what):
        payload = _payload(signed, data)
        found: Metadata[T] = Metadata[T].from_dict(document)
    return Read(found.signed, payload, found.signatures)


def _check_versions(signed: dict[str, Any], what: str) -> None:
    """The library compares versions and lengths, and does not look whether they are numbers."""
    numbers = [signed.get("version")]
    meta = signed.get("meta", {})
    if isinstance(meta, dict):
        for value in meta.values():
            if isinstance(value, dict):
                numbers += [value.get("version"), value.get("length", 1)]
    for number in numbers:
        if type(number) is not int or not 0 <= number < _MOST_VERSION:
            raise CatalogueRefusedError(f"{what} has an impossible number: {str(number)[:40]}")


def _payload(signed: dict[str, Any], data: bytes) -> bytes:
    """OLPC canonical JSON. Where no text has an escape, `json` writes the same, and faster."""
    if b"\\" in data:
        text = encode_canonical(signed)
        return (text or "").encode()
    return json.dumps(
        signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
