"""The record of one acquisition: facts alone, as the predicate of a statement about a manifest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeVar

import rfc8785

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import MalformedError
from outlast.core.names import RepoId
from outlast.features.trust.keys.public import PublicKey, parse_line
from outlast.features.trust.records.statement import (
    STATEMENT_TYPE,
    count,
    only,
    read_model,
    subject,
    text,
    time,
)
from outlast.store.evidence.statements import ACQUISITION

MOST_ROWS: Final = 256
"""Of each list in a record: licence texts, places that sent bytes, files of rules. Guess: models
have one or two texts, an operator ten lists of parties.
"""
MOST_PATH: Final = 1024
_KEYS: Final = frozenset(
    {
        *("acquired", "bytes", "commit", "fetched", "files", "key", "licence", "listing"),
        *("missing", "outlast", "ref", "rules", "source", "told_by"),
    }
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class NamedDigest:
    """A file by its name and the sha256 of its bytes; `role` says what it is used for."""

    name: str
    sha256: Digest
    role: str = ""


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """The operator's rules when a model came: `mode` is none, enforce or report; `files` are those
    of rules, publishers, labels and lists of parties.
    """

    mode: str = "none"
    files: tuple[NamedDigest, ...] = ()


@dataclass(frozen=True, slots=True)
class AcquisitionRecord:
    """At `acquired` (ISO 8601, UTC) this archive had `manifest` of `repo` whole, but for the
    `missing` files. `source` listed it; `listing` is the digest of its list of files; `told_by`: a
    node of the local network said so alone. `fetched`: bytes that came for it, by place.
    `licence`: as the model names it; `texts`: the archived texts of it. `key` signs the record,
    where one does.
    """

    repo: RepoId
    manifest: Digest
    commit: GitOid | None
    acquired: str
    source: str
    listing: Digest
    ref: str = ""
    told_by: str = ""
    files: int = 0
    size: int = 0
    missing: int = 0
    fetched: tuple[tuple[str, int], ...] = ()
    licence: str = ""
    texts: tuple[NamedDigest, ...] = ()
    rules: RulesInForce = RulesInForce()
    outlast: str = ""
    key: PublicKey | None = None

    def says_no_more_than(self, older: "AcquisitionRecord") -> bool:
        """Whether it repeats an older record: nothing came, and all else is as it was."""
        as_then = replace(
            older, acquired=self.acquired, fetched=(), outlast=self.outlast, key=self.key
        )
        return not self.fetched and as_then == self

    def to_bytes(self) -> bytes:
        """The payload of an envelope."""
        return rfc8785.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [subject(self.repo.api_path, self.manifest)],
                "predicateType": ACQUISITION,
                "predicate": self._predicate(),
            }
        )

    def _predicate(self) -> dict[str, Any]:
        return {
            "acquired": self.acquired,
            "bytes": self.size,
            "commit": "" if self.commit is None else self.commit.hex,
            "fetched": [{"bytes": size, "from": place} for place, size in self.fetched],
            "files": self.files,
            "key": "" if self.key is None else self.key.line,
            "licence": {
                "texts": [{"path": t.name, "sha256": t.sha256.hex} for t in self.texts],
                "written": self.licence,
            },
            "listing": {"sha256": self.listing.hex},
            "missing": self.missing,
            "outlast": self.outlast,
            "ref": self.ref,
            "rules": {
                "files": [
                    {"name": f.name, "role": f.role, "sha256": f.sha256.hex}
                    for f in self.rules.files
                ],
                "mode": self.rules.mode,
            },
            "source": self.source,
            "told_by": self.told_by,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The record of a statement that was read. Raises :class:`MalformedError`."""
        repo, manifest = read_model(document)
        said = document["predicate"]
        only(said, {*_KEYS})
        licence = _part(said["licence"], {"texts", "written"})
        rules = _part(said["rules"], {"files", "mode"})
        return cls(
            repo=repo,
            manifest=manifest,
            commit=GitOid(text(said["commit"])) if said["commit"] else None,
            acquired=time(said["acquired"]),
            source=text(said["source"]),
            listing=Digest(text(_part(said["listing"], {"sha256"})["sha256"])),
            ref=text(said["ref"]),
            told_by=text(said["told_by"]),
            files=count(said["files"], 0),
            size=count(said["bytes"], 0),
            missing=count(said["missing"], 0),
            fetched=_rows(said["fetched"], _fetched),
            licence=text(licence["written"]),
            texts=_rows(licence["texts"], _licence_text),
            rules=RulesInForce(text(rules["mode"]), _rows(rules["files"], _rules_file)),
            outlast=text(said["outlast"]),
            key=parse_line(said["key"]) if said["key"] else None,
        )


def _part(value: object, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("a part of the record is no object")
    only(value, keys)
    return value


def _rows(value: object, read: Callable[[object], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > MOST_ROWS:
        raise MalformedError(f"a part of the record is no list of at most {MOST_ROWS}")
    return tuple(map(read, value))


def _fetched(value: object) -> tuple[str, int]:
    row = _part(value, {"bytes", "from"})
    return text(row["from"]), count(row["bytes"], 0)


def _licence_text(value: object) -> NamedDigest:
    row = _part(value, {"path", "sha256"})
    path = row["path"]
    if not isinstance(path, str) or len(path) > MOST_PATH:
        raise MalformedError("a licence text without a path")
    return NamedDigest(path, Digest(text(row["sha256"])))


def _rules_file(value: object) -> NamedDigest:
    row = _part(value, {"name", "role", "sha256"})
    return NamedDigest(text(row["name"]), Digest(text(row["sha256"])), text(row["role"]))
