"""Choosing files by glob, as ``--include`` and ``--exclude`` do."""

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from outlast.core.errors import BadNameError
from outlast.core.manifest import FileEntry
from outlast.core.names import check_path, fold


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs over paths inside a repository, as `huggingface_hub` understands them: ``*`` crosses
    slashes, and a pattern that ends in a slash means all that is below.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

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


def acceptable(
    entries: Iterable[FileEntry], refused: Callable[[str], None] | None = None
) -> list[FileEntry]:
    """The entries whose names are safe to create beside each other; of twins the first stays.
    `refused` is told of the others.
    """
    kept: dict[str, FileEntry] = {}
    folders: set[str] = set()
    for entry in entries:
        folded = fold(entry.path)
        parts = folded.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        problem = _problem(entry.path)
        if folded in kept or folded in folders or above & kept.keys():
            problem = problem or f"the file name {entry.path!r} is taken by another file"
        if problem is None:
            kept[folded] = entry
            folders |= above
        elif refused is not None:
            refused(problem)
    return list(kept.values())


def _problem(path: str) -> str | None:
    try:
        check_path(path)
    except BadNameError as error:
        return str(error)
    return None
