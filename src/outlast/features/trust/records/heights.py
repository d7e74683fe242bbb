"""The highest sequence that a publisher's keys signed under each ref of a model, as far as this
archive has seen: it never goes back, also when the statement and its manifest go.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Self

from outlast.core.digest import Digest
from outlast.core.errors import BadNameError, CorruptError, MalformedError
from outlast.core.names import check_ref
from outlast.features.trust.records import statement
from outlast.store.archive import Archive
from outlast.store.records.facts import load_document
from outlast.store.records.per_model import PerModel

MOST_REFS: Final = 256
"""Refs of one model. Guess: publishers of quantised models have up to 30."""
_SEEN: Final = "sequences"
_SIGNED: Final = "signed"


@dataclass(frozen=True, slots=True)
class Height:
    """Sequence `sequence` is `manifest`, made at `made`; `keys`: the fingerprints of those that
    signed it.
    """

    sequence: int
    manifest: Digest
    made: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heights:
    """The heights of one model, by ref."""

    by_ref: tuple[tuple[str, Height], ...] = ()

    def get(self, ref: str) -> Height | None:
        return dict(self.by_ref).get(ref)

    def raised(self, ref: str, height: Height) -> Self:
        """The same with `height`, if it is higher than what is known."""
        known = dict(self.by_ref)
        old = known.get(ref)
        if (old is None and len(known) >= MOST_REFS) or (
            old is not None and old.sequence >= height.sequence
        ):
            return self
        return type(self)(tuple(sorted({**known, ref: height}.items())))

    def without_keys(self, fingerprints: set[str]) -> Self:
        """The same without what only these keys signed: revoked keys hold nothing back."""
        kept = ((r, h) for r, h in self.by_ref if not set(h.keys) <= fingerprints)
        return type(self)(tuple(kept))

    def encode(self) -> bytes:
        document = {ref: _row(height) for ref, height in self.by_ref}
        return json.dumps({"sequences": document}, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        rows = load_document(body).get("sequences")
        if not isinstance(rows, dict) or len(rows) > MOST_REFS:
            raise CorruptError("it has no sequences")
        try:
            return cls(tuple(sorted((check_ref(ref), _height(row)) for ref, row in rows.items())))
        except (MalformedError, BadNameError, KeyError, TypeError) as error:
            raise CorruptError(f"a sequence that is none: {error}") from None


def heights_of(archive: Archive) -> PerModel[Heights]:
    """What keys that are pinned in an archive signed."""
    return PerModel(archive.records, archive.layout.trust / _SEEN, Heights, twice=True)


def signed_in(archive: Archive) -> PerModel[Heights]:
    """What the operator of an archive signed there, whether or not the keys are pinned."""
    return PerModel(archive.records, archive.layout.trust / _SIGNED, Heights, twice=True)


def _row(height: Height) -> dict[str, Any]:
    return {
        "sequence": height.sequence,
        "manifest": height.manifest.hex,
        "made": height.made,
        "keys": list(height.keys),
    }


def _height(row: dict[str, Any]) -> Height:
    return Height(
        statement.count(row["sequence"], 1),
        Digest(statement.text(row["manifest"])),
        statement.time(row["made"]),
        tuple(map(statement.text, row["keys"])),
    )
