"""A source that knows a model by another name than the user does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from outlast.core.digest import GitOid
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.base import AccessSource, Listing, RangeReader, RemoteRef, Source


def renamed(source: Source, name: str) -> Source:
    """`source`, asked for `name` whatever model is asked for; itself if `name` is empty."""
    if not name:
        return source
    there = RepoId.parse(name)
    if isinstance(source, AccessSource):
        return _RenamedAccessSource(source, there)
    return _RenamedSource(source, there)


class _RenamedSource:
    """Answers for the one model that is called `there` in its source. Nothing follows from the
    names: what comes is checked against the digests that are asked for.
    """

    def __init__(self, source: Source, there: RepoId) -> None:
        self._source = source
        self._there = there

    @property
    def name(self) -> str:
        return f"{self._source.name}={self._there}"

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        return replace(self._source.describe(self._there, ref, timeout), repo=repo)

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        del repo
        return self._source.refs(self._there, timeout)

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        del repo
        return self._source.open(self._there, commit, entry, start, stop)


class _RenamedAccessSource(_RenamedSource):
    """The same of a source that decides who may read what."""

    def __init__(self, source: AccessSource, there: RepoId) -> None:
        super().__init__(source, there)
        self._access = source

    @property
    def has_token(self) -> bool:
        return self._access.has_token

    def with_token(self, token: str | None) -> Self:
        return type(self)(self._access.with_token(token), self._there)

    def check_access(self, repo: RepoId, timeout: float | None = None) -> None:
        del repo
        self._access.check_access(self._there, timeout)
