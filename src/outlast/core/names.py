"""Names from outside: models, refs and the paths of files, checked before they touch a disk.

The names of models and refs are safe as file names on Linux, macOS and Windows. The path of a file
inside a model is data to an archive, whose files are named by digests. So it is kept as its hub has
it if it is *safe*: it cannot lead out of a folder. Where it becomes a path on a disk that wants
*portable* names, :func:`portable_names` escapes it.
"""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self
from urllib.parse import quote, unquote

from outlast.core.errors import BadNameError, one_line

MAX_PATH = 1024
MAX_SEGMENT = 255
ADAPTER_MARK = "+"
"""Between a base and an adapter, which are run together."""
MAX_REF = 200

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}\Z")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789\u00b9\u00b2\u00b3"]
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of characters, which no text holds."""
_FORBIDDEN: Final = re.compile(r'[<>:"|?*\\]')
"""What Windows refuses in a name, or takes for something else."""
_ESCAPE: Final = re.compile(r"%(?=[0-9A-Fa-f]{2}|sha256-)")
"""A percent sign that would read as an escape of ours."""
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9!#$&'()+,.;=@\[\]^_`{}~ -]")
"""What a file system could take for another character, or is escaped anyway."""
_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,16}\Z")
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
    def folded(self) -> "RepoId":
        """The same for all spellings: for hubs, names that differ only in case are one model."""
        return RepoId(self.kind, self.name.lower())

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
        repo = RepoId.parse(name)
        if at and not ref:
            raise BadNameError(
                f"a ref is missing after {one_line(text, 100)}", hint="leave the @ out for main"
            )
        return cls(repo, check_ref(ref) if at else None)

    def __str__(self) -> str:
        return f"{self.repo}@{self.ref}" if self.ref else str(self.repo)


@dataclass(frozen=True, slots=True)
class RunTarget:
    """What a user writes to run: ``org/base``, ``org/adapter`` or ``org/base+org/adapter``."""

    model: Target
    adapter: Target | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises :class:`BadNameError`. A + in a ref, as in ``org/name@v1+cpu``, belongs to it."""
        base, mark, adapter = text.rpartition(ADAPTER_MARK)
        if not mark or "/" not in adapter:
            return cls(Target.parse(text))
        return cls(Target.parse(base), Target.parse(adapter))

    def __str__(self) -> str:
        return f"{self.model}{ADAPTER_MARK}{self.adapter}" if self.adapter else str(self.model)


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
    """Why a part of a path is not safe."""
    if segment in {"", ".", ".."}:
        return "an empty, '.' or '..' part"
    if len(segment.encode("utf-8", "surrogatepass")) > MAX_SEGMENT:
        return f"a part longer than {MAX_SEGMENT} bytes"
    if _CONTROL.search(segment):
        return "a control character"
    if segment.lower() == ".git":
        return "a '.git' folder"
    return None


def check_path(path: str) -> str:
    """`path` itself, if it is safe: relative, with forward slashes, of parts that lead nowhere else
    on the systems that git knows, and of text. Raises :class:`BadNameError`.
    """
    problem = f"more than {MAX_PATH} characters" if len(path) > MAX_PATH else None
    if problem := problem or next(filter(None, map(_segment_problem, path.split("/"))), None):
        raise BadNameError(
            f"unsafe file name {path[:200]!r}: {problem}",
            hint="no archive can have such a file; leave it out",
        )
    return path


def folders_above(path: str) -> list[str]:
    """The folders that `path` lies in, the topmost first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def check_paths(paths: Iterable[str]) -> None:
    """Checks that each path is safe, that none comes twice, and that no file is a folder too."""
    found: set[str] = set()
    for path in paths:
        check_path(path)
        if path in found:
            raise BadNameError(f"the file name {path!r} is listed twice")
        found.add(path)
    for path in found:
        for folder in folders_above(path):
            if folder in found:
                raise BadNameError(
                    f"{folder!r} is both a file and the folder of {path!r}",
                    hint="leave one of them out with --exclude",
                )


# Portable paths


def fold(path: str) -> str:
    """`path` as a case-insensitive file system compares it: equal folds are one file there."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def are_portable(paths: Iterable[str]) -> bool:
    """Whether safe `paths` are also names on Windows and macOS as they are, each of another file
    where case and Unicode forms do not count.
    """
    names = {path: path for path in paths}
    return all(map(_is_portable, names)) and next(_clashes(names), None) is None


def portable_names(paths: Iterable[str]) -> dict[str, str]:
    """For each of the safe `paths`, one that every file system takes, and that no other has on any.

    A character in the way is written as ``%`` and the two hex digits of each byte of its UTF-8, as
    in URLs; so is a percent sign that would read as that. Of files and folders that differ only in
    case or Unicode form, everything is written so but lower-case ASCII. A part that gets too long
    becomes ``%sha256-`` and its digest. The names depend on the set of paths alone, not on their
    order, and files that are in one folder stay so; percent-decoding gives back the path.
    """
    ordered = sorted(paths)
    twins: set[str] = set()
    while True:
        names = {path: _escaped(path, twins) for path in ordered}
        found = {part for one, other in _clashes(names) for part in _parting(one, other)}
        if found <= twins:  # names of which everything is escaped do not clash, so this ends
            return names
        twins |= found


def _is_portable(path: str) -> bool:
    return not _FORBIDDEN.search(path) and not any(
        part[-1] in ". " or _is_device(part) for part in path.split("/")
    )


def _clashes(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Paths whose `names` are one file, or a file and a folder, where case does not count."""
    files: dict[str, str] = {}
    for path, name in names.items():
        first = files.setdefault(fold(name), path)
        if first != path:
            yield first, path
    for folded, path in files.items():
        for folder in folders_above(folded):
            if folder in files:
                yield files[folder], path


def _parting(one: str, other: str) -> tuple[str, str]:
    """The files or folders in which two paths begin to differ."""
    pairs = zip((*folders_above(one), one), (*folders_above(other), other), strict=False)
    return next((a, b) for a, b in pairs if a != b)


def _escaped(path: str, twins: Collection[str]) -> str:
    """`path` with the parts escaped; everything of those that are among the `twins`."""
    places = (*folders_above(path), path)
    return "/".join(
        _escaped_part(place.rpartition("/")[2], everything=place in twins) for place in places
    )


def _escaped_part(part: str, *, everything: bool) -> str:
    if everything:
        text = _NOT_PLAIN.sub(_encoded, part)
    else:
        text = _FORBIDDEN.sub(_encoded, _ESCAPE.sub("%25", part))
    if text[-1] in ". ":
        text = f"{text[:-1]}%{ord(text[-1]):02X}"
    if _is_device(text):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    if len(text.encode()) <= MAX_SEGMENT:
        return text
    suffix = _SUFFIX.search(part)
    digest = hashlib.sha256(part.encode()).hexdigest()
    return f"%sha256-{digest}{suffix[0] if suffix else ''}"


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


@dataclass(frozen=True, slots=True)
class KnownName:
    """`name`: ``org/name``, or an organisation alone. `where`: what knows it, in words, as "listed
    by acme". `trusted`: the operator named it; others may list what they like.
    """

    name: str
    where: str
    trusted: bool = False


class KnownNames(Protocol):
    """Thread-safe; asks no network."""

    def stamp(self) -> object:
        """Another value whenever the names may be others."""

    def names(self) -> Iterable[KnownName]:
        """All of them."""
