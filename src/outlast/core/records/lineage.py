"""What a model was made from: the record of a tuning, a merge or a conversion.

The record lies in the revision as a small file (:data:`LINEAGE_FILE`), so that the manifest covers
it and it goes along wherever the revision goes; and as a statement about the manifest among the
attestations, by which an archive finds what was made from a model. It holds digests and figures,
and never the data. Format: docs/format/lineage.md.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self, TypeAlias

import rfc8785

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import BadNameError, MalformedError
from outlast.core.manifest import load_json
from outlast.core.names import RepoId

LINEAGE_FILE: Final = "lineage.json"
LINEAGE_TYPE: Final = "urn:outlast:lineage:v1"
MAX_LINEAGE: Final = 64 * 1024
"""Bytes of one record. Guess: a tuning's has 2 KB."""
MOST_ANCESTORS: Final = 16
_MOST_VALUES: Final = 64
_MOST_TEXT: Final = 300
_CONTAINERS: Final = 128
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_PAYLOAD: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_MOST_NUMBER: Final = (1 << 53) - 1

Value: TypeAlias = str | int | float | bool
"""Of a hyperparameter, a version or a metric."""


class Making(StrEnum):
    """How a model was made from its ancestors."""

    ADAPTER = "adapter"
    """A LoRA was trained on the base; the base's own weights are unchanged."""
    MERGE = "merge"
    """An adapter was added into the weights of its base."""
    CONVERSION = "conversion"
    """The same weights in another format."""


class WeightsForm(StrEnum):
    """In which form the weights of an ancestor were used."""

    ORIGINAL = "original"
    DEQUANTISED = "dequantised"
    """They are quantised, and were computed with as floats: what was made fits those floats."""


class AncestorRole(StrEnum):
    """What an ancestor is to the model."""

    BASE = "base"
    ADAPTER = "adapter"


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """A revision that a model was made from: its name, the digest of its manifest, and the hub's
    commit (None: it has none). `file` is the file of it that was used, "" for all of them.
    """

    repo: RepoId
    manifest: Digest
    commit: GitOid | None
    role: AncestorRole = AncestorRole.BASE
    form: WeightsForm = WeightsForm.ORIGINAL
    file: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "commit": "" if self.commit is None else self.commit.hex,
            "file": self.file,
            "form": self.form.value,
            "manifest": {"sha256": self.manifest.hex},
            "name": self.repo.api_path,
            "role": self.role.value,
        }

    @classmethod
    def of(cls, said: object) -> Self:
        row = _only(said, {"commit", "file", "form", "manifest", "name", "role"})
        commit = _text(row["commit"])
        manifest = _digest(row["manifest"])
        if manifest is None:
            raise MalformedError("an ancestor without a manifest")
        return cls(
            _repo(row["name"]),
            manifest,
            GitOid(commit) if commit else None,
            _word(AncestorRole, row["role"]),
            _word(WeightsForm, row["form"]),
            _text(row["file"]),
        )


@dataclass(frozen=True, slots=True)
class LineageRecord:
    """How a model was made. The first of `ancestors` is the base.

    `data` is the sha256 of the training file; `tokenizer` and `template` those of the tokenizer and
    of the chat template's text that were used; None where there was none. `parameters`, `versions`
    and `metrics` are named values (losses in nats per token, counts); `seed` is that of the
    training. No time is in it: the same work gives the same record.
    """

    making: Making
    ancestors: tuple[MadeFrom, ...]
    data: Digest | None = None
    tokenizer: Digest | None = None
    template: Digest | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict)
    versions: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, Value] = field(default_factory=dict)
    seed: int | None = None

    @property
    def base(self) -> MadeFrom:
        return self.ancestors[0]

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "ancestors": [one.to_json() for one in self.ancestors],
            "data": _sha256(self.data),
            "making": self.making.value,
            "metrics": dict(self.metrics),
            "parameters": dict(self.parameters),
            "template": _sha256(self.template),
            "tokenizer": _sha256(self.tokenizer),
            "versions": dict(self.versions),
        }
        return document | ({} if self.seed is None else {"seed": self.seed})

    def to_bytes(self) -> bytes:
        """What :data:`LINEAGE_FILE` holds: the type and the record, as canonical JSON."""
        return rfc8785.dumps({"type": LINEAGE_TYPE, **self.to_json()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse. Raises :class:`MalformedError` for what is not written in the one way, has
        other keys, or exceeds a bound.
        """
        document = _canonical(data, MAX_LINEAGE)
        if document.pop("type", None) != LINEAGE_TYPE:
            raise MalformedError("a lineage record of another type")
        return cls.of(document)

    @classmethod
    def of(cls, said: object) -> Self:
        """The record of a predicate."""
        known = {"ancestors", "data", "making", "metrics", "parameters", "template", "tokenizer"}
        row = _only(said, known | {"versions"}, frozenset({"seed"}))
        ancestors = row["ancestors"]
        if not isinstance(ancestors, list) or not 1 <= len(ancestors) <= MOST_ANCESTORS:
            raise MalformedError(f"a lineage record names 1 to {MOST_ANCESTORS} ancestors")
        seed = row.get("seed")
        if seed is not None and (type(seed) is not int or not 0 <= seed <= _MOST_NUMBER):
            raise MalformedError("the seed of a lineage record is no number that it may be")
        return cls(
            _word(Making, row["making"]),
            tuple(map(MadeFrom.of, ancestors)),
            _digest(row["data"]),
            _digest(row["tokenizer"]),
            _digest(row["template"]),
            _values(row["parameters"]),
            _values(row["versions"]),
            _values(row["metrics"]),
            seed,
        )


def lineage_statement(repo: RepoId, manifest: Digest, record: LineageRecord) -> bytes:
    """The bytes of an attestation: the record as a statement of in-toto about a manifest, in an
    envelope of DSSE without a signature. A signature over the manifest covers the record too: its
    file is one of the revision's.
    """
    payload = rfc8785.dumps(
        {
            "_type": _STATEMENT,
            "predicate": record.to_json(),
            "predicateType": LINEAGE_TYPE,
            "subject": [{"digest": {"sha256": manifest.hex}, "name": repo.api_path}],
        }
    )
    return rfc8785.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [],
        }
    )


def read_lineage_statement(data: bytes) -> tuple[RepoId, Digest, LineageRecord] | None:
    """The inverse: the model, the manifest and the record. None for a statement of another type.
    Raises :class:`MalformedError`. Signatures of the envelope are not looked at.
    """
    envelope = _canonical(data, 2 * MAX_LINEAGE)
    if envelope.get("payloadType") != _PAYLOAD or not isinstance(envelope.get("payload"), str):
        return None
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
    except ValueError:
        raise MalformedError("the payload of an envelope is not base64") from None
    document = _canonical(payload, 2 * MAX_LINEAGE)
    if document.get("predicateType") != LINEAGE_TYPE:
        return None
    row = _only(document, {"_type", "predicate", "predicateType", "subject"})
    subjects = row["subject"]
    if row["_type"] != _STATEMENT or not isinstance(subjects, list) or len(subjects) != 1:
        raise MalformedError("not a statement of in-toto about one model")
    subject = _only(subjects[0], {"digest", "name"})
    manifest = _digest(subject["digest"])
    if manifest is None:
        raise MalformedError("a lineage statement about no manifest")
    return _repo(subject["name"]), manifest, LineageRecord.of(row["predicate"])


def _canonical(data: bytes, limit: int) -> dict[str, Any]:
    document = load_json(data, limit, containers=_CONTAINERS)
    if not isinstance(document, dict):
        raise MalformedError("a lineage record is no JSON object")
    try:
        right = rfc8785.dumps(document) == data
    except (rfc8785.CanonicalizationError, RecursionError, ValueError):
        right = False
    if not right:
        raise MalformedError("a lineage record is not canonical JSON")
    return document


def _only(
    said: object, known: set[str], optional: frozenset[str] = frozenset()
) -> Mapping[str, Any]:
    if not isinstance(said, dict) or not known <= set(said) <= known | optional:
        raise MalformedError("a part of a lineage record has other keys")
    return said


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MOST_TEXT or not value.isprintable():
        raise MalformedError("a value of a lineage record is no short text of one line")
    return value


def _repo(value: object) -> RepoId:
    name = _text(value)
    try:
        repo = RepoId.parse(name)
    except BadNameError as error:
        raise MalformedError(str(error)) from None
    if repo.api_path != name:
        raise MalformedError("a name in a lineage record is not models/org/name")
    return repo


def _sha256(digest: Digest | None) -> dict[str, str]:
    return {} if digest is None else {"sha256": digest.hex}


def _digest(value: object) -> Digest | None:
    if value == {}:
        return None
    return Digest(_text(_only(value, {"sha256"})["sha256"]))


def _values(said: object) -> dict[str, Value]:
    if not isinstance(said, dict) or len(said) > _MOST_VALUES:
        raise MalformedError(f"a part of a lineage record has more than {_MOST_VALUES} values")
    found: dict[str, Value] = {}
    for key, value in said.items():
        if not _KEY.match(key):
            raise MalformedError(f"a key of a lineage record: {key[:40]!r}")
        found[key] = value if isinstance(value, bool | int | float) else _text(value)
    return found


def _word(kind: type[Any], value: object) -> Any:
    try:
        return kind(_text(value))
    except ValueError:
        raise MalformedError(f"an unknown word in a lineage record: {str(value)[:40]!r}") from None
