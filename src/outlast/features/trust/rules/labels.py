"""The operator's labels: a TOML file that gives models, by globs, words that rules ask for."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from outlast.core.names import RepoId
from outlast.features.trust.rules.data_files import parse_toml, read_bounded


class _LabelsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: dict[str, list[str]] = {}


class Labels:
    """What models are labelled."""

    def __init__(self, by_pattern: Mapping[str, tuple[str, ...]]) -> None:
        self._by_pattern = by_pattern

    def of(self, repo: RepoId) -> tuple[str, ...]:
        """The labels of all patterns that match, sorted."""
        name = str(repo).lower()
        found = {
            label
            for pattern, labels in self._by_pattern.items()
            if fnmatchcase(name, pattern)
            for label in labels
        }
        return tuple(sorted(found))


def read_labels(path: Path | None) -> Labels:
    """The labels in the file `path`. Raises :class:`BadConfigError`."""
    if path is None:
        return Labels({})
    document = parse_toml(_LabelsFile, read_bounded(path, "labels"), str(path))
    return Labels({pattern.lower(): tuple(of) for pattern, of in document.labels.items()})
