"""Names from outside: models, refs and the paths of files, checked before they touch a disk.

Every accepted name is safe as a file name on Linux, macOS and Windows, so that an archive can be
copied to any of them.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from urllib.parse import quote, unquote

from outlast.core.errors import BadNameError

MAX_PATH = 1024
MAX_SEGMENT = 255
MAX_REF = 200

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}\Z")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789\u00b9\u00b2\u00b3"]
)
_FORBIDDEN = frozenset('<>:"|?*\\')
_BAD_REF = re.compile(r"\.\.|//|@\{|[\x00-\x20~^:?*\[\\\x7f]|\.lock(/|\Z)|(^|/)\.|[./]\Z|^/|^-")


_PREFIXES = frozenset({"models", "datasets", "spaces", "api"})
"""First parts of a hub's paths; no organisation goes by these names."""


class RepoKind(StrEnum):
    """What a hub repository holds."""

    MODEL = "model"
    DATASET = "dataset"

    @property
    def plural(self) -> str:
        return self.value + "s"


@dataclass(frozen=True, slots=True, order=True)
class RepoId:
    """A model or dataset, as a hub names it: ``org/name``, or ``name`` alone for the oldest."""

    kind: RepoKind
    name: str

    def __post_init__(self) -> None:
        segments = self.name.split("/")
        poses = len(segments) == 2 and segments[0].lower() in _PREFIXES
        if len(segments) > 2 or poses or not all(map(_is_repo_segment, segments)):
            raise BadNameError(f"not a model name: {self.name!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``org/name``, ``models/org/name`` or ``datasets/org/name``."""
        for kind in RepoKind:
            prefix = kind.plural + "/"
            if text.startswith(prefix):
                return cls(kind, text[len(prefix) :])
        return cls(RepoKind.MODEL, text)

    def __str__(self) -> str:
        return self.name if self.kind is RepoKind.MODEL else f"{self.kind.plural}/{self.name}"

    @property
    def hub_path(self) -> str:
        """The path of the repository on a hub: ``org/name`` or ``datasets/org/name``."""
        return str(self)

    @property
    def api_path(self) -> str:
        """The path of the repository below ``/api/`` on a hub."""
        return f"{self.kind.plural}/{self.name}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a user writes on the command line: a repository and, after ``@``, a ref or commit."""

    repo: RepoId
    ref: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        name, at, ref = text.partition("@")
        return cls(RepoId.parse(name), check_ref(ref) if at else None)

    def __str__(self) -> str:
        return f"{self.repo}@{self.ref}" if self.ref else str(self.repo)


def _is_repo_segment(segment: str) -> bool:
    return bool(
        _SEGMENT.match(segment)
        and ".." not in segment
        and not segment.endswith((".", ".git", ".lock"))
        and not _is_device(segment)
    )


def _is_device(segment: str) -> bool:
    return segment.split(".", maxsplit=1)[0].rstrip().lower() in _DEVICES


def check_ref(ref: str) -> str:
    """`ref`, if git accepts it as a branch, tag or commit; else raises :class:`BadNameError`."""
    if not ref or len(ref) > MAX_REF or _BAD_REF.search(ref) or not ref.isprintable():
        raise BadNameError(f"not a ref: {ref!r}", hint="a ref is a branch, a tag or a commit id")
    if len(quote_ref(ref)) > MAX_SEGMENT:
        raise BadNameError(f"ref too long: {ref!r}", hint="use the commit id instead")
    return ref


def plain_ref(ref: str) -> str:
    """A branch or tag without git's prefix: ``refs/heads/main`` is ``main``."""
    for prefix in ("refs/heads/", "refs/tags/"):
        if ref.startswith(prefix):
            return ref[len(prefix) :]
    return ref


def quote_ref(ref: str) -> str:
    """`ref` as one file name; `unquote_ref` is its inverse."""
    quoted = quote(ref, safe="")
    if quoted.startswith(".") or _is_device(quoted):
        return f"%{ord(quoted[0]):02X}{quoted[1:]}"
    return quoted


def unquote_ref(name: str) -> str:
    return unquote(name)


def _segment_problem(segment: str) -> str | None:
    if segment in {"", ".", ".."}:
        return "an empty, '.' or '..' part"
    if len(segment.encode("utf-8", "surrogatepass")) > MAX_SEGMENT:
        return f"a part longer than {MAX_SEGMENT} bytes"
    if any(c in _FORBIDDEN or unicodedata.category(c) in {"Cc", "Cs"} for c in segment):
        return "a character that some file systems refuse"
    if segment[-1] in ". ":
        return "a part that ends in a dot or a space"
    if _is_device(segment):
        return "a device name"
    if segment.lower() == ".git":
        return "a '.git' folder"
    return None


def check_path(path: str) -> str:
    """`path` itself, if it is a relative path with forward slashes that is safe to create on any
    file system.
    """
    problem = "more than 1024 characters" if len(path) > MAX_PATH else None
    for segment in path.split("/"):
        problem = problem or _segment_problem(segment)
    if problem:
        raise BadNameError(
            f"unsafe file name {path[:200]!r}: {problem}",
            hint="such a file is refused; leave it out with --exclude",
        )
    return path


def fold(path: str) -> str:
    """`path` as a case-insensitive file system compares it: equal folds are one file there."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def check_paths(paths: Iterable[str]) -> None:
    """Checks each path, and that no two of them are the same file, or a file and a folder of the
    same name, on a case-insensitive file system.
    """
    files: dict[str, str] = {}
    for path in paths:
        check_path(path)
        twin = files.get(fold(path))
        if twin is not None:
            same = (
                "is listed twice" if twin == path else f"and {path!r} differ only in case or form"
            )
            raise BadNameError(
                f"the file name {twin!r} {same}", hint="leave one of them out with --exclude"
            )
        files[fold(path)] = path
    for folded, path in files.items():
        parts = folded.split("/")
        for depth in range(1, len(parts)):
            if (shadow := files.get("/".join(parts[:depth]))) is not None:
                raise BadNameError(
                    f"{shadow!r} is both a file and the folder of {path!r}",
                    hint="leave one of them out with --exclude",
                )
