"""Choosing files: by glob, as ``--include`` and ``--exclude`` do, and by what names are safe."""

import fnmatch
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from outlast.core.errors import BadNameError
from outlast.core.events import Emit, Note
from outlast.core.manifest import FileEntry
from outlast.core.names import MAX_PATH, check_path, folders_above
from outlast.sources.base import Listing

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs over paths inside a repository, as `huggingface_hub` understands them: ``*`` crosses
    slashes, and a pattern that ends in a slash means all that is below.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    written_as: str = "--include and --exclude"
    """What the user wrote them as, for messages."""

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            patterns = [p + "*" if p.endswith("/") else p for p in getattr(self, name)]
            object.__setattr__(self, name, tuple(patterns))

    def wants(self, path: str) -> bool:
        if self.include and not _any(path, self.include):
            return False
        return not _any(path, self.exclude)

    def split(self, entries: Iterable[FileEntry]) -> tuple[list[FileEntry], list[FileEntry]]:
        """The entries that are wanted, and the others."""
        wanted: list[FileEntry] = []
        others: list[FileEntry] = []
        for entry in entries:
            (wanted if self.wants(entry.path) else others).append(entry)
        return wanted, others


def _any(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def admitted(listing: Listing, emit: Emit) -> tuple[Listing, tuple[str, ...]]:
    """The listing of a source without the files that no archive can have by their names, and the
    names of those. Such a listing may lack files: what is made of it is partial. `emit` is told.
    Raises :class:`BadNameError` where no file is left.
    """
    problems: dict[str, str] = {}
    kept = acceptable(listing.entries, problems.__setitem__)
    if not problems:
        return listing, ()
    first, count = next(iter(problems.values())), len(problems)
    if not kept:
        raise BadNameError(f"no file of {listing.repo} can be kept: {first}")
    for problem in problems.values():
        _log.debug("left out of %s: %s", listing.repo, problem)
    files = "1 file is" if count == 1 else f"{count:,} files are"
    emit(Note(f"{files} left out of {listing.repo}, which stays partial: {first}"))
    refused = tuple(path[:MAX_PATH] for path in problems)
    return replace(listing, entries=kept, unlisted=True), refused


def acceptable(
    entries: Iterable[FileEntry], refused: Callable[[str, str], None]
) -> list[FileEntry]:
    """The entries whose names are safe and can be beside each other; of two that cannot, the first
    stays. `refused` is told the names of the others, and why.
    """
    kept: dict[str, FileEntry] = {}
    folders: set[str] = set()
    for entry in entries:
        path = entry.path
        problem = _problem(path)
        above = folders_above(path) if problem is None else []
        if path in kept or path in folders or not kept.keys().isdisjoint(above):
            problem = f"the name {path!r} is taken by another file or folder"
        if problem is None:
            kept[path] = entry
            folders.update(above)
        else:
            refused(path, problem)
    return list(kept.values())


def _problem(path: str) -> str | None:
    try:
        check_path(path)
    except BadNameError as error:
        return str(error)
    return None
