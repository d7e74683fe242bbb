"""Which Python files of a model the operator lets an engine run: exactly those, by the digest of
all of them. No source, bundle or node writes such a record.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Self

from outlast.core.digest import Digest
from outlast.core.errors import BadNameError, CorruptError, MalformedError
from outlast.core.names import check_path
from outlast.store.records.equals import text_of
from outlast.store.records.facts import load_document

MOST_FILES: Final = 256
"""Python files of one model. Guess: the largest on hubs have 40."""
MOST_KEPT: Final = 32
"""Versions of a model's code that are remembered: the oldest go first."""


@dataclass(frozen=True, slots=True)
class AllowedCode:
    """The files with these paths and digests, all together `digest`, may run. `since`: when that
    was said (ISO 8601, UTC).
    """

    digest: Digest
    files: tuple[tuple[str, Digest], ...]
    since: str


@dataclass(frozen=True, slots=True)
class CodeWords:
    """What may run of one model's code, the newest first."""

    allowed: tuple[AllowedCode, ...] = ()

    def of(self, digest: Digest) -> AllowedCode | None:
        """The word for files of this digest; None where there is none."""
        return next((one for one in self.allowed if one.digest == digest), None)

    def with_one(self, one: AllowedCode) -> Self:
        """The same with `one`, first."""
        others = (other for other in self.allowed if other.digest != one.digest)
        return type(self)((one, *others)[:MOST_KEPT])

    def without(self, digest: Digest) -> Self:
        """The same without the word for files of this digest."""
        return type(self)(tuple(one for one in self.allowed if one.digest != digest))

    def encode(self) -> bytes:
        rows = [
            {
                "digest": one.digest.hex,
                "files": {path: digest.hex for path, digest in one.files},
                "since": one.since,
            }
            for one in self.allowed
        ]
        return json.dumps({"allowed": rows}, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""
        rows = load_document(body).get("allowed")
        if not isinstance(rows, list) or len(rows) > MOST_KEPT:
            raise CorruptError("it allows no code")
        try:
            return cls(tuple(map(_word, rows)))
        except (MalformedError, BadNameError, KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"it allows no code: {error}") from None


def _word(row: dict[str, Any]) -> AllowedCode:
    files = row["files"]
    if not isinstance(files, dict) or len(files) > MOST_FILES:
        raise MalformedError("its files are no table")
    named = ((check_path(path), Digest(text_of(digest))) for path, digest in files.items())
    return AllowedCode(Digest(text_of(row["digest"])), tuple(sorted(named)), text_of(row["since"]))
