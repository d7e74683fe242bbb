"""Statements of outlast: in-toto Statement v1 with a predicate of one of four types.

The subject is one manifest under one name. What a publisher signs also has a sequence number, by
ref: so neither a renamed copy nor an older revision passes for the newest one.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import rfc8785

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BadNameError, MalformedError
from outlast.core.names import RepoId, check_ref
from outlast.core.records.lineage import LINEAGE_TYPE
from outlast.features.trust.keys.pins import MOST_RECOVERY
from outlast.features.trust.keys.public import PublicKey, parse_line
from outlast.features.trust.records.dsse import MOST_SIGNATURES, strict_json
from outlast.store.evidence.statements import EVIDENCE
from outlast.store.records.attestations import MAX_ATTESTATION

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREFIX: Final = "urn:outlast:"
PUBLICATION: Final = f"{_PREFIX}publication:v1"
OBSERVATION: Final = f"{_PREFIX}observation:v1"
REVOCATION: Final = f"{_PREFIX}revocation:v1"
HUB_COMMIT: Final = f"{_PREFIX}hub-commit:v1"
COSIGN: Final = f"{_PREFIX}cosign:v1"
UNCLAIMED: Final = EVIDENCE | {LINEAGE_TYPE}
"""Types that no claim follows from."""
MAX_SEQUENCE: Final = (1 << 53) - 1
"""The largest integer that every reader of JSON keeps."""
MOST_REASON: Final = 300
_MOST_TEXT: Final = 300
_TIME: Final = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z\Z")


@dataclass(frozen=True, slots=True)
class Publication:
    """The publisher of a model says: `ref` is this manifest, and it is the `sequence`-th that I
    sign under this ref. `keys`: those that sign; `made` and `expires` (ISO 8601, UTC; "": never).
    """

    ref: str
    sequence: int
    made: str
    keys: tuple[PublicKey, ...]
    expires: str = ""

    def to_json(self) -> dict[str, Any]:
        keys = sorted(key.line for key in self.keys)
        document = {
            "keys": keys,
            "made": self.made,
            "ref": self.ref,
            "sequence": self.sequence,
        }
        return document | ({"expires": self.expires} if self.expires else {})

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        only(said, {"keys", "made", "ref", "sequence"}, frozenset({"expires"}))
        rows = said["keys"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_SIGNATURES:
            raise MalformedError("a publication without a list of keys")
        if rows != sorted(set(map(str, rows))):
            raise MalformedError("the keys of the publication are not in order, or one is twice")
        try:
            ref = check_ref(text(said["ref"]))
        except BadNameError as error:
            raise MalformedError(str(error)) from None
        return cls(
            ref,
            count(said["sequence"], 1),
            time(said["made"]),
            tuple(map(parse_line, rows)),
            time(said["expires"]) if "expires" in said else "",
        )


@dataclass(frozen=True, slots=True)
class HubObservation:
    """An observer says: at `seen`, `hub` listed commit `commit` of this name with these files, and
    they are those of the manifest. `listing` is the sha256 of the list
    (:func:`~outlast.store.records.file_list.listing_digest`), which has `files` files and
    `size` bytes; `vantage` names the place that the observer looked from.
    """

    hub: str
    commit: GitOid
    seen: str
    listing: Digest
    files: int
    size: int
    vantage: str = ""
    expires: str = ""

    def to_json(self) -> dict[str, Any]:
        document = {
            "bytes": self.size,
            "commit": self.commit.hex,
            "files": self.files,
            "hub": self.hub,
            "listing": {"sha256": self.listing.hex},
            "seen": self.seen,
            "vantage": self.vantage,
        }
        return document | ({"expires": self.expires} if self.expires else {})

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        known = {"bytes", "commit", "files", "hub", "listing", "seen", "vantage"}
        only(said, known, frozenset({"expires"}))
        return cls(
            text(said["hub"]),
            GitOid(text(said["commit"])),
            time(said["seen"]),
            _sha256(said["listing"]),
            count(said["files"], 0),
            count(said["bytes"], 0),
            text(said["vantage"]),
            time(said["expires"]) if "expires" in said else "",
        )


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key that may do so says: this manifest is not to be used any more, for `reason`."""

    reason: str
    made: str

    def to_json(self) -> dict[str, Any]:
        return {"made": self.made, "reason": self.reason}

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        only(said, {"made", "reason"})
        reason = text(said["reason"])
        if not reason.strip() or not reason.isprintable():
            raise MalformedError("a revocation without a reason of one line")
        return cls(reason, time(said["made"]))


Predicate: TypeAlias = Publication | HubObservation | Revocation

_KINDS: Final[Mapping[str, tuple[type[Predicate], Callable[[Mapping[str, Any]], Predicate]]]] = {
    PUBLICATION: (Publication, Publication.of),
    OBSERVATION: (HubObservation, HubObservation.of),
    REVOCATION: (Revocation, Revocation.of),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said (`predicate`) of `manifest` under the name `repo`."""

    repo: RepoId
    manifest: Digest
    predicate: Predicate

    @property
    def kind(self) -> str:
        """The type of the predicate, as a statement has it."""
        return next(name for name, (kind, _) in _KINDS.items() if isinstance(self.predicate, kind))

    def to_bytes(self) -> bytes:
        """The payload of an envelope."""
        return rfc8785.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [subject(self.repo.api_path, self.manifest)],
                "predicateType": self.kind,
                "predicate": self.predicate.to_json(),
            }
        )

    @classmethod
    def read(cls, payload: bytes) -> Self:
        """The inverse. Raises :class:`MalformedError` for what is not written in the one way, has
        other keys, or is of another type.
        """
        return cls.of(read_statement(payload))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The statement of a document that :func:`read_statement` read."""
        if document["predicateType"] not in _KINDS:
            raise MalformedError(f"a statement of another type: {document['predicateType'][:80]!r}")
        repo, digest = read_model(document)
        read = _KINDS[document["predicateType"]][1]
        return cls(repo, digest, read(document["predicate"]))


def subject(name: str, digest: Digest) -> dict[str, Any]:
    """What a statement is about, as in-toto writes it."""
    return {"name": name, "digest": {"sha256": digest.hex}}


def read_statement(payload: bytes) -> dict[str, Any]:
    """The parts of a statement, whatever its type. Raises :class:`MalformedError`."""
    document = strict_json(payload, MAX_ATTESTATION, "the statement")
    only(document, {"_type", "subject", "predicateType", "predicate"})
    if document["_type"] != STATEMENT_TYPE:
        raise MalformedError("not a statement of in-toto, version 1")
    if not isinstance(document["predicateType"], str):
        raise MalformedError("a statement without a type")
    if not isinstance(document["predicate"], dict):
        raise MalformedError("a statement that says nothing")
    return document


def read_subject(document: Mapping[str, Any]) -> tuple[str, Digest]:
    """The name and the sha256 of the one thing that a statement is about."""
    rows = document["subject"]
    if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
        raise MalformedError("a statement about more or less than one thing")
    only(rows[0], {"name", "digest"})
    return text(rows[0]["name"]), _sha256(rows[0]["digest"])


def read_model(document: Mapping[str, Any]) -> tuple[RepoId, Digest]:
    """The model and the manifest that a statement is about."""
    name, digest = read_subject(document)
    try:
        repo = RepoId.parse(name)
    except BadNameError as error:
        raise MalformedError(str(error)) from None
    if repo.api_path != name:
        raise MalformedError("the subject's name is not models/… or datasets/…")
    return repo, digest


def read_fingerprints(value: object) -> tuple[str, ...]:
    """Recovery keys by their fingerprints, in order. Raises :class:`MalformedError`."""
    if not isinstance(value, list) or len(value) > MOST_RECOVERY:
        raise MalformedError(f"recovery keys are a list of at most {MOST_RECOVERY}")
    found = tuple(map(text, value))
    if list(found) != sorted(set(found)):
        raise MalformedError("the recovery keys are not in order")
    return found


def only(said: Mapping[str, Any], known: set[str], optional: frozenset[str] = frozenset()) -> None:
    """Raises :class:`MalformedError` where keys are missing, or there are others."""
    if missing := known - set(said):
        raise MalformedError(f"the statement lacks {min(missing)!r}")
    if unknown := set(said) - known - optional:
        raise MalformedError(f"the statement has an unknown key: {min(unknown)[:40]!r}")


def text(value: object) -> str:
    """A short text of one line."""
    if not isinstance(value, str) or len(value) > _MOST_TEXT or not value.isprintable():
        raise MalformedError("a value of the statement is no short text of one line")
    return value


def count(value: object, least: int) -> int:
    """A whole number from `least` on."""
    if type(value) is not int or not least <= value <= MAX_SEQUENCE:
        raise MalformedError("a value of the statement is no number that it may be")
    return value


def time(value: object) -> str:
    """A time like 2026-11-30T12:00:00Z, which sorts as text."""
    found = text(value)
    if not _TIME.match(found) or not _is_time(found):
        raise MalformedError("a value of the statement is no time like 2026-11-30T12:00:00Z")
    return found


def _is_time(found: str) -> bool:
    try:
        dt.datetime.fromisoformat(found)
    except ValueError:
        return False
    return True


def now_text(now: dt.datetime) -> str:
    """A time as statements write it."""
    return now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sha256(value: object) -> Digest:
    if not isinstance(value, dict) or set(value) != {"sha256"}:
        raise MalformedError("a digest that is not one sha256")
    return Digest(text(value["sha256"]))
