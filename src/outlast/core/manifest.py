"""Revisions: what a model consists of at one commit, and the canonical JSON that names it.

A manifest holds only what follows from the content. All archives of the same commit therefore write
the same bytes (RFC 8785) and get the same name. Format: docs/format/manifest.md.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import rfc8785

from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import MalformedError
from outlast.core.names import RepoId, RepoKind, are_portable, check_paths

MANIFEST_TYPE: Final = "outlast-manifest-v1"
WIDE_MANIFEST_TYPE: Final = "outlast-manifest-v2"
"""Of a revision with a path that is not portable: version 1 refuses those."""
_TYPE_OF_ANY: Final = re.compile(r"outlast-manifest-v[0-9]{1,9}\Z")
MAX_FILE_SIZE = 1 << 50
MAX_FILES = 1_000_000
MAX_MANIFEST_BYTES = 512 * 1024 * 1024
MAX_JSON_CONTAINERS = 5 * MAX_FILES // 2
"""Objects and arrays of one document: a hub's listing has two for each file."""
MAX_JSON_VALUES = 3
"""Values for each of them. A hub's listing has three, with names and digests that take as much as
the objects do. Objects whose names are all different take most: 1.6 GB at the bound."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a revision.

    A source declares a `size` in bytes and either a `sha256` (large files) or a `git_sha1`. Once
    archived, `sha256` is always known, and `merkle_root` (BEP 52) unless the file is empty.
    """

    path: str
    size: int
    sha256: Digest | None = None
    git_sha1: GitOid | None = None
    merkle_root: Digest | None = None

    @property
    def key(self) -> str:
        """Identifies the content: the sha256 if it is known, else the git blob id."""
        if self.sha256 is not None:
            return self.sha256.hex
        if self.git_sha1 is not None:
            return f"git-{self.git_sha1}"
        raise MalformedError(f"{self.path!r} has neither a sha256 nor a git blob id")

    @property
    def is_lfs(self) -> bool:
        """Whether a hub keeps this file in LFS: then its ETag is the sha256."""
        return self.git_sha1 is None

    @property
    def etag(self) -> str:
        """The hub's ETag of the file, without quotes."""
        return self.git_sha1.hex if self.git_sha1 is not None else self.key

    def with_names(self, names: Names) -> Self:
        """This entry with the sha256 and root of `names`; an LFS file stays an LFS file."""
        return replace(self, sha256=names.sha256, merkle_root=names.merkle_root)

    def mismatch(self, names: Names) -> str | None:
        """Why bytes with these `names` are not this file; None if they are."""
        if names.size != self.size:
            return f"{names.size} bytes where {self.size} were declared"
        if self.sha256 is not None and names.sha256 != self.sha256:
            return f"sha256 is {names.sha256.short}…, declared {self.sha256.short}…"
        if self.git_sha1 is not None and names.git_sha1 != self.git_sha1:
            return f"git blob id is {names.git_sha1}, declared {self.git_sha1}"
        if self.merkle_root is not None and names.merkle_root != self.merkle_root:
            return "the merkle root differs from the declared one"
        return None

    def to_json(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"path": self.path, "size": self.size}
        for key in ("sha256", "git_sha1", "merkle_root"):
            if (value := getattr(self, key)) is not None:
                entry[key] = value.hex
        return entry

    @classmethod
    def from_json(cls, value: object) -> Self:
        entry = _mapping(value, {"path", "size", "sha256", "git_sha1", "merkle_root"})
        path, size = entry.get("path"), entry.get("size")
        if not isinstance(path, str):
            raise MalformedError("a file entry has no path")
        sha256, git, root = (_text(entry, key) for key in ("sha256", "git_sha1", "merkle_root"))
        if sha256 is None and git is None:
            raise MalformedError(f"{path!r} has neither a sha256 nor a git blob id")
        return cls(
            path=path,
            size=check_size(size, path),
            sha256=None if sha256 is None else Digest(sha256),
            git_sha1=None if git is None else GitOid(git),
            merkle_root=None if root is None else Digest(root),
        )


@dataclass(frozen=True, slots=True)
class Revision:
    """An immutable state of a model: its archived files, and those that are missing.

    `commit` is the hub's, or None for a folder that was added. `missing` is empty for a complete
    revision; otherwise the archive is partial. `unlisted`: there may be more files. They came from
    a cache, not from a listing of the commit, or the listing had names that are not safe.
    """

    repo: RepoId
    commit: GitOid | None
    files: tuple[FileEntry, ...]
    missing: tuple[FileEntry, ...] = ()
    unlisted: bool = False

    def __post_init__(self) -> None:
        if len(self.files) + len(self.missing) > MAX_FILES:
            raise MalformedError(f"{self.repo} lists more than {MAX_FILES} files")
        check_paths(entry.path for entry in (*self.files, *self.missing))
        for entry in self.files:
            if entry.sha256 is None:
                raise MalformedError(f"{entry.path!r} is archived without a sha256")

    @classmethod
    def of(
        cls,
        repo: RepoId,
        commit: GitOid | None,
        files: Iterable[FileEntry],
        missing: Iterable[FileEntry] = (),
        *,
        unlisted: bool = False,
    ) -> Self:
        """A revision with its files in canonical order (by path, as UTF-8)."""
        return cls(repo, commit, _sorted(files), _sorted(missing), unlisted)

    @property
    def partial(self) -> bool:
        return self.unlisted or bool(self.missing)

    @property
    def paths(self) -> frozenset[str]:
        """Those of all files, archived or missing."""
        return frozenset(entry.path for entry in (*self.files, *self.missing))

    @property
    def size(self) -> int:
        """Bytes of the archived files; a blob counts once for each path."""
        return sum(entry.size for entry in self.files)

    @property
    def id(self) -> GitOid:
        """The 40 hex digits that name this revision: the hub's commit, or, without a hub, the start
        of the manifest's sha256.
        """
        return self.commit or GitOid(self.digest.hex[:40])

    @property
    def digest(self) -> Digest:
        return Digest.of(self.to_bytes())

    def find(self, path: str) -> FileEntry | None:
        return next((e for e in (*self.files, *self.missing) if e.path == path), None)

    def to_bytes(self) -> bytes:
        """The manifest: canonical JSON."""
        paths = [entry.path for entry in (*self.files, *self.missing)]
        document: dict[str, Any] = {
            "type": MANIFEST_TYPE if are_portable(paths) else WIDE_MANIFEST_TYPE,
            "kind": self.repo.kind.value,
            "name": self.repo.name,
            "commit": None if self.commit is None else self.commit.hex,
            "files": [entry.to_json() for entry in self.files],
        }
        if self.missing:
            document["missing"] = [entry.to_json() for entry in self.missing]
        if self.unlisted:
            document["unlisted"] = True
        return rfc8785.dumps(document)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads a manifest; refuses everything that is not in canonical form."""
        document = _mapping(
            load_json(data, MAX_MANIFEST_BYTES),
            {"type", "kind", "name", "commit", "files", "missing", "unlisted"},
        )
        _check_type(document.get("type"))
        commit = document.get("commit")
        revision = cls(
            repo=RepoId(parse_kind(document.get("kind")), str(document.get("name"))),
            commit=None if commit is None else GitOid(str(commit)),
            files=tuple(map(FileEntry.from_json, _items(document, "files"))),
            missing=tuple(map(FileEntry.from_json, _items(document, "missing"))),
            unlisted=document.get("unlisted") is True,
        )
        ordered = cls.of(revision.repo, revision.commit, revision.files, revision.missing)
        if revision.to_bytes() != data or (ordered.files, ordered.missing) != (
            revision.files,
            revision.missing,
        ):
            raise MalformedError("the manifest is not canonical JSON")
        return revision


def _check_type(kind: object) -> None:
    if kind in (MANIFEST_TYPE, WIDE_MANIFEST_TYPE):
        return
    if isinstance(kind, str) and _TYPE_OF_ANY.match(kind):
        raise MalformedError(
            f"a newer outlast made this manifest: its type is {kind!r}", hint="update outlast"
        )
    raise MalformedError(f"not a manifest: its type is {kind!r}")


def parse_kind(value: object) -> RepoKind:
    try:
        return RepoKind(str(value))
    except ValueError:
        raise MalformedError(f"not a kind of repository: {value!r}") from None


def check_size(value: object, path: str) -> int:
    """`value`, if it is a possible size of a file in bytes."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_FILE_SIZE:
        raise MalformedError(f"impossible size of {path!r}: {str(value)[:40]}")
    return value


def load_json(data: bytes, limit: int, *, containers: int = MAX_JSON_CONTAINERS) -> Any:
    """JSON from outside: at most `limit` bytes, so many objects and arrays, three times as
    many values, no duplicate keys, no bottomless nesting. A value takes up to 60 times its bytes in
    memory, so they are counted before it is parsed; what stands in texts counts too.
    """
    if len(data) > limit:
        raise MalformedError(f"JSON of {len(data)} bytes exceeds the bound of {limit}")
    if (
        data.count(b"[") + data.count(b"{") > containers
        or data.count(b",") > MAX_JSON_VALUES * containers
    ):
        raise MalformedError(f"JSON of more than {containers} objects and arrays, or their values")
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise MalformedError("JSON nested too deeply") from None
    except ValueError as error:
        raise MalformedError(f"not JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("JSON with a key given twice")
    return found


def _no_constant(name: str) -> float:
    raise MalformedError(f"JSON with {name}")


def _sorted(entries: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    return tuple(sorted(entries, key=lambda e: e.path.encode("utf-8", "surrogatepass")))


def _mapping(value: object, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("expected a JSON object")
    if unknown := set(value) - known:
        raise MalformedError(f"unknown key {min(unknown)!r}")
    return value


def _items(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list) or len(value) > MAX_FILES:
        raise MalformedError(f"{key!r} is not a list of files")
    return value


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise MalformedError(f"{key!r} is not text")
    return value
