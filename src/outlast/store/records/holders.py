"""Who else was seen to hold a model: what the last answers said, each with its date."""

import json
from dataclasses import dataclass
from typing import Any, Final, Self

from outlast.core.digest import GitOid
from outlast.core.errors import CorruptError, MalformedError
from outlast.store.records.equals import count_of, text_of
from outlast.store.records.facts import load_document

MOST_HOLDERS: Final = 64
"""Of one model; those with most of its bytes are kept. Guess."""


@dataclass(frozen=True, slots=True)
class SeenHolder:
    """A place that said at `seen` (ISO 8601, UTC) that it holds `files` files, `size` bytes, of a
    model; `whole`: all of it. Those of one `group` may be one and the same, or depend on each
    other. `kind` is a word of `outlast.ops.holders.values.HolderKind`.
    """

    name: str
    kind: str
    group: str
    files: int
    size: int
    whole: bool
    seen: str


@dataclass(frozen=True, slots=True)
class SeenHolders:
    """What is known of the holders of the revision `commit`, which has `files` files and `size`
    bytes. `asked` is when they were asked last (ISO 8601, UTC).
    """

    commit: GitOid
    files: int
    size: int
    asked: str
    holders: tuple[SeenHolder, ...] = ()

    @property
    def whole_groups(self) -> frozenset[str]:
        """The groups in which one holds all of it."""
        return frozenset(one.group for one in self.holders if one.whole)

    def encode(self) -> bytes:
        kept = sorted(self.holders, key=lambda one: (-one.whole, -one.size, one.name))
        document = {
            "commit": self.commit.hex,
            "files": self.files,
            "bytes": self.size,
            "asked": self.asked,
            "holders": [_row(one) for one in kept[:MOST_HOLDERS]],
        }
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        document = load_document(body)
        rows = document.get("holders")
        if not isinstance(rows, list) or len(rows) > MOST_HOLDERS:
            raise CorruptError("it is no list of holders")
        try:
            return cls(
                commit=GitOid(text_of(document["commit"])),
                files=count_of(document["files"]),
                size=count_of(document["bytes"]),
                asked=text_of(document["asked"]),
                holders=tuple(map(_holder, rows)),
            )
        except (MalformedError, KeyError, TypeError) as error:
            raise CorruptError(f"a holder that is none: {error}") from None


def _row(one: SeenHolder) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "group": one.group,
        "files": one.files,
        "bytes": one.size,
        "whole": one.whole,
        "seen": one.seen,
    }


def _holder(row: dict[str, Any]) -> SeenHolder:
    return SeenHolder(
        name=text_of(row["name"]),
        kind=text_of(row["kind"]),
        group=text_of(row["group"]),
        files=count_of(row["files"]),
        size=count_of(row["bytes"]),
        whole=row["whole"] is True,
        seen=text_of(row["seen"]),
    )
