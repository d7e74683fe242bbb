"""Which hubs listed revisions of a model to this archive itself, and when: a ref says so of the
newest alone. It may be lost without harm.
"""

import json
from dataclasses import dataclass, replace
from typing import Final, Self

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import CorruptError, MalformedError
from outlast.store.records.equals import text_of
from outlast.store.records.facts import load_document

YOU: Final = "you"
"""What this archive itself pulled from a hub is observed by this name."""
MOST_SEEN: Final = 1024
"""Rows of one model; the newest are kept. Guess: 20 years of a revision a week."""


@dataclass(frozen=True, slots=True)
class SeenRevision:
    """`hub` listed `commit` to this archive first at `when` (ISO 8601, UTC). `listing` is the
    sha256 of the list (:func:`~outlast.store.records.file_list.listing_digest`): another list of
    the same commit, which came by another way, was not seen.
    """

    commit: GitOid
    hub: str
    when: str
    listing: Digest


@dataclass(frozen=True, slots=True)
class SeenRevisions:
    """What was seen of one model, the newest first."""

    rows: tuple[SeenRevision, ...] = ()

    def with_one(self, new: SeenRevision) -> Self:
        """The same with `new`, unless that hub listed that commit so before."""
        if any(replace(row, when=new.when) == new for row in self.rows):
            return self
        return type(self)((new, *self.rows)[:MOST_SEEN])

    def of(self, commit: GitOid, listing: Digest) -> tuple[SeenRevision, ...]:
        """Those of a commit with just these files, the newest first."""
        wanted = commit, listing
        return tuple(row for row in self.rows if (row.commit, row.listing) == wanted)

    def has(self, commit: GitOid) -> bool:
        """Whether a hub listed a commit, with whatever files."""
        return any(row.commit == commit for row in self.rows)

    def encode(self) -> bytes:
        rows = [
            {"commit": r.commit.hex, "hub": r.hub, "when": r.when, "listing": r.listing.hex}
            for r in self.rows
        ]
        return json.dumps({"seen": rows}, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        rows = load_document(body).get("seen")
        if not isinstance(rows, list) or len(rows) > MOST_SEEN:
            raise CorruptError("it is no list of what was seen")
        try:
            return cls(
                tuple(
                    SeenRevision(
                        GitOid(text_of(row["commit"])),
                        text_of(row["hub"]),
                        text_of(row["when"]),
                        Digest(text_of(row["listing"])),
                    )
                    for row in rows
                )
            )
        except (MalformedError, KeyError, TypeError) as error:
            raise CorruptError(f"a row that is none: {error}") from None
