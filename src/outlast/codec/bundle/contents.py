"""What a bundle holds, as canonical JSON whose sha256 is the bundle's id (docs/format/bundle.md,
§3). It comes from outside: every value is checked, and nothing in it is believed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Self, TypeVar

import rfc8785

from outlast.codec.bundle import checked
from outlast.codec.bundle.checked import fields
from outlast.codec.bundle.geometry import MAX_STREAM, Geometry, PartLayout
from outlast.codec.bundle.part import base_of
from outlast.codec.payload import Form
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import MalformedError
from outlast.core.manifest import MAX_FILE_SIZE, load_json, parse_kind
from outlast.core.names import RepoId, check_path, check_ref

CONTENTS_TYPE: Final = "outlast-bundle-v1"
MAX_CONTENTS: Final = 64 * 1024 * 1024
MAX_CONTAINERS: Final = 1_000_000
"""Objects and arrays in the contents: a payload has up to two."""
MAX_RECORD: Final = 512 * 1024 * 1024
"""Bytes of a record: a manifest may have as many."""
MANIFESTS: Final = "manifests/"
ATTESTATIONS: Final = "attestations/"
CATALOGUES: Final = "catalogues/"
WHEELS: Final = "wheels/"
INSTALLER: Final = "install.sh"
_PROGRAM: Final = re.compile(
    r"install\.sh|wheels/(SHA256SUMS|requirements\.txt|[A-Za-z0-9][A-Za-z0-9._+-]{0,199}\.whl)"
)
_CATALOGUE: Final = re.compile(
    r"catalogues/[a-z0-9][a-z0-9-]{0,39}/metadata/"
    r"(?:[1-9][0-9]{0,9}\.)?[A-Za-z0-9][A-Za-z0-9._%-]{0,300}\.json"
)
"""A signed file of a catalogue: a TUF repository without its targets."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BundledRef:
    """A ref, as the archive that wrote the bundle knew it."""

    name: str
    commit: GitOid
    source: str = ""
    observed: str = ""
    kind: str = ""

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.name, "commit": self.commit.hex}
        for key in ("source", "observed", "kind"):
            if value := getattr(self, key):
                found[key] = value
        return found

    @classmethod
    def from_json(cls, value: object) -> Self:
        entry = fields(value, {"name", "commit", "source", "observed", "kind"})
        return cls(
            check_ref(entry.text("name")),
            GitOid(entry.text("commit")),
            entry.text("source", ""),
            checked.moment(entry.text("observed", "")),
            entry.one_of("kind", ("", "branch", "tag")),
        )


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model: what its hub says of it, the manifests of its revisions, and its refs."""

    repo: RepoId
    private: bool
    gated: str | bool
    tags: tuple[str, ...]
    facts: Mapping[str, str]
    manifests: tuple[Digest, ...]
    refs: tuple[BundledRef, ...]

    @property
    def is_open(self) -> bool:
        """Whether its hub gives it to everybody."""
        return not self.private and not self.gated

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.repo.kind.value,
            "name": self.repo.name,
            "private": self.private,
            "gated": self.gated,
            "tags": list(self.tags),
            "facts": dict(self.facts),
            "manifests": [digest.hex for digest in self.manifests],
            "refs": [ref.to_json() for ref in self.refs],
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        keys = {"kind", "name", "private", "gated", "tags", "facts", "manifests", "refs"}
        entry = fields(value, keys)
        gated = entry.get("gated")
        if not isinstance(gated, bool | str):
            raise MalformedError("'gated' is neither a boolean nor a text")
        return cls(
            RepoId(parse_kind(entry.get("kind")), entry.text("name")),
            entry.boolean("private"),
            gated,
            tuple(entry.texts("tags")),
            entry.text_map("facts"),
            entry.digests("manifests"),
            _ordered(map(BundledRef.from_json, entry.items("refs")), lambda ref: ref.name),
        )


@dataclass(frozen=True, slots=True)
class Record:
    """A small file in the stream. `offset` counts from the base, as that of a payload."""

    path: str
    sha256: Digest
    size: int
    offset: int

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "sha256": self.sha256.hex,
            "size": self.size,
            "offset": self.offset,
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        entry = fields(value, {"path", "sha256", "size", "offset"})
        path, sha256 = check_path(entry.text("path")), Digest(entry.text("sha256"))
        if not _is_record(path, sha256):
            raise MalformedError(f"no record of a bundle lies at {path!r}")
        return cls(path, sha256, entry.number("size", MAX_RECORD), entry.number("offset"))


@dataclass(frozen=True, slots=True)
class BundledBlob:
    """A payload: the blob that it restores, of `size` bytes, and where it lies."""

    blob: Digest
    size: int
    form: Form
    offset: int
    length: int
    bases: tuple[Digest, ...] = ()

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "blob": self.blob.hex,
            "size": self.size,
            "form": self.form.value,
            "offset": self.offset,
            "length": self.length,
        }
        if self.bases:
            found["bases"] = [base.hex for base in self.bases]
        return found

    @classmethod
    def from_json(cls, value: object) -> Self:
        entry = fields(value, {"blob", "size", "form", "offset", "length", "bases"})
        blob, size = Digest(entry.text("blob")), entry.number("size", MAX_FILE_SIZE)
        form = Form(entry.one_of("form", (Form.PLAIN.value, Form.CAPSULE.value)))
        length = entry.number("length", MAX_FILE_SIZE)
        bases = tuple(Digest(base) for base in entry.texts("bases", required=False))
        if form is Form.PLAIN and (length != size or bases):
            raise MalformedError(f"the plain payload of {blob} has another length, or bases")
        return cls(blob, size, form, entry.number("offset"), length, bases)


@dataclass(frozen=True, slots=True)
class Since:
    """What a bundle builds on: another bundle, by its id and sequence, or (`sequence` 0) an
    inventory by its check.
    """

    digest: Digest
    sequence: int

    def to_json(self) -> dict[str, Any]:
        if not self.sequence:
            return {"inventory": self.digest.hex}
        return {"bundle": self.digest.hex, "sequence": self.sequence}

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        if value is None:
            return None
        entry = fields(value, {"bundle", "sequence", "inventory"})
        if "inventory" in entry:
            return cls(Digest(fields(value, {"inventory"}).text("inventory")), 0)
        sequence = entry.number("sequence")
        if not sequence:
            raise MalformedError("the sequence of a bundle is at least 1")
        return cls(Digest(entry.text("bundle")), sequence)


@dataclass(frozen=True)
class BundleContents:
    """Everything that a bundle holds. `assumed_*`: what the reader is expected to have."""

    layout: PartLayout
    models: tuple[BundledModel, ...]
    records: tuple[Record, ...]
    payloads: tuple[BundledBlob, ...]
    sequence: int = 1
    since: Since | None = None
    assumed_blobs: tuple[Digest, ...] = field(default=(), repr=False)
    assumed_manifests: tuple[Digest, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        end = 0
        places = [(record.offset, record.size) for record in self.records]
        places += [(payload.offset, payload.length) for payload in self.payloads]
        for offset, length in places:
            if offset != end:
                raise MalformedError("what a bundle holds does not lie in its order, or has gaps")
            end += length
        self._check_names()
        if end > MAX_STREAM:
            raise MalformedError(f"a bundle of {end} bytes is larger than any can be")

    def _check_names(self) -> None:
        """What is named is in the bundle, or assumed; bases come before what depends on them."""
        known, seen = set(self.assumed_blobs), set[Digest]()
        for payload in self.payloads:
            if payload.blob in seen:
                raise MalformedError(f"a bundle has two payloads of {payload.blob}")
            if missing := set(payload.bases) - known:
                raise MalformedError(f"{payload.blob} depends on {min(missing)}, which is missing")
            seen.add(payload.blob)
            known.add(payload.blob)
        manifests = {record.sha256 for record in self.records} | {*self.assumed_manifests}
        for model in self.models:
            if missing := set(model.manifests) - manifests:
                raise MalformedError(f"{model.repo}: the manifest {min(missing)} is missing")

    @cached_property
    def encoded(self) -> bytes:
        """The canonical JSON."""
        return rfc8785.dumps(self.to_json())

    @cached_property
    def id(self) -> Digest:
        return Digest.of(self.encoded)

    @property
    def base(self) -> int:
        """Where in the stream the offsets count from."""
        return base_of(len(self.encoded), self.layout.block)

    @property
    def length(self) -> int:
        """Bytes of the records and payloads together."""
        if self.payloads:
            return self.payloads[-1].offset + self.payloads[-1].length
        return self.records[-1].offset + self.records[-1].size if self.records else 0

    @cached_property
    def geometry(self) -> Geometry:
        """How the stream is cut."""
        return Geometry(self.layout, self.base + self.length)

    def to_json(self) -> dict[str, Any]:
        return {
            "type": CONTENTS_TYPE,
            "layout": layout_json(self.layout),
            "sequence": self.sequence,
            "since": None if self.since is None else self.since.to_json(),
            "assumed": {
                "blobs": [digest.hex for digest in self.assumed_blobs],
                "manifests": [digest.hex for digest in self.assumed_manifests],
            },
            "models": [model.to_json() for model in self.models],
            "records": [record.to_json() for record in self.records],
            "payloads": [payload.to_json() for payload in self.payloads],
        }

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads contents; refuses what is not in canonical form. Raises :class:`MalformedError`."""
        found = cls.from_json(load_json(data, MAX_CONTENTS, containers=MAX_CONTAINERS))
        if found.encoded != data:
            raise MalformedError("the contents of a bundle are not canonical JSON")
        return found

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The same of what was parsed already, in whatever order its keys came."""
        keys = {"type", "layout", "sequence", "since", "assumed", "models", "records", "payloads"}
        document = fields(value, keys)
        checked.check_type(document, CONTENTS_TYPE)
        assumed = fields(document.get("assumed"), {"blobs", "manifests"})
        sequence, since = document.number("sequence"), Since.from_json(document.get("since"))
        if sequence != (since.sequence + 1 if since else 1):
            raise MalformedError(f"sequence {sequence} does not follow what the bundle builds on")
        return cls(
            read_layout(document.get("layout")),
            _ordered(
                map(BundledModel.from_json, document.items("models")), lambda model: model.repo
            ),
            _ordered(map(Record.from_json, document.items("records")), lambda r: r.path),
            tuple(map(BundledBlob.from_json, document.items("payloads"))),
            sequence,
            since,
            assumed.digests("blobs"),
            assumed.digests("manifests"),
        )


def _is_record(path: str, sha256: Digest) -> bool:
    if path.startswith(ATTESTATIONS) or path == f"{MANIFESTS}{sha256}.json":
        return True
    return _PROGRAM.fullmatch(path) is not None or _CATALOGUE.fullmatch(path) is not None


def layout_json(layout: PartLayout) -> dict[str, int]:
    """How a bundle is cut, as documents say it."""
    return {
        "block": layout.block,
        "rows": layout.rows,
        "group": layout.group,
        "parity": layout.parity,
    }


def read_layout(value: object) -> PartLayout:
    """What `layout_json` wrote. Raises :class:`MalformedError`."""
    entry = fields(value, {"block", "rows", "group", "parity"})
    return PartLayout(*(entry.number(key) for key in ("block", "rows", "group", "parity")))


def _ordered(items: Iterable[_T], key: Callable[[_T], Any]) -> tuple[_T, ...]:
    """`items`, each of which must come after the one before it."""
    found = tuple(items)
    keys = [key(item) for item in found]
    if any(one >= other for one, other in pairwise(keys)):
        raise MalformedError("a list in a bundle is not in order, or has something twice")
    return found
