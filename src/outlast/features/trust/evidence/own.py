"""Which records of acquisition this archive made itself: others come with bundles, and a record
without a signature says nothing of where it was made. May be lost: then records count as others'.
"""

import json
from dataclasses import dataclass
from typing import Final, Self

from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError
from outlast.store.archive import Archive
from outlast.store.records.equals import text_of
from outlast.store.records.facts import load_document
from outlast.store.records.per_model import PerModel

MOST_OWN: Final = 4096
"""Records of one model; the newest are kept. Guess: 16 for each of 256 revisions."""
_FOLDER: Final = "acquired"


@dataclass(frozen=True, slots=True)
class OwnRecords:
    """The digests of the records that were made here of one model, the newest first."""

    made: tuple[Digest, ...] = ()

    def with_one(self, new: Digest) -> Self:
        return type(self)((new, *(one for one in self.made if one != new))[:MOST_OWN])

    def encode(self) -> bytes:
        return json.dumps({"made": [one.hex for one in self.made]}).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""
        rows = load_document(body).get("made")
        if not isinstance(rows, list) or len(rows) > MOST_OWN:
            raise CorruptError("it is no list of records")
        try:
            return cls(tuple(Digest(text_of(row)) for row in rows))
        except MalformedError as error:
            raise CorruptError(f"a record that is none: {error}") from None


def own_records(archive: Archive) -> PerModel[OwnRecords]:
    """Those of an archive, by model."""
    return PerModel(archive.records, archive.layout.trust / _FOLDER, OwnRecords)
