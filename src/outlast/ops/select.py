"""Choosing files by glob, as ``--include`` and ``--exclude`` do."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from outlast.model.manifest import FileEntry


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
