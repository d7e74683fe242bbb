"""A source that is asked for bytes by their digests, and not what a name stands for."""

from collections.abc import Sequence
from typing import NoReturn, Self

from outlast.core.digest import GitOid
from outlast.core.errors import RepoNotFoundError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.base import AccessSource, Listing, RangeReader, RemoteRef, Source


def bytes_alone(source: Source) -> Source:
    """`source`, whose names are not those that are asked for: it opens files, and says nothing of
    models. That a model there has the same name proves nothing, and least of all while a hub that
    was named before it does not answer.
    """
    if isinstance(source, AccessSource):
        return _AccessBytesAlone(source)
    return _BytesAlone(source)


class _BytesAlone:
    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        return self._source.name

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        del ref, timeout
        self._say_nothing(repo)

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        del timeout
        self._say_nothing(repo)

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        return self._source.open(repo, commit, entry, start, stop)

    def _say_nothing(self, repo: RepoId) -> NoReturn:
        raise RepoNotFoundError(
            f"{self.name} is asked for bytes, and not what {repo} is: another source is named "
            "before it",
            hint=f"where its word is what you want, name it first: --from {self.name}",
        )


class _AccessBytesAlone(_BytesAlone):
    """The same of a source that decides who may read what: not who may read a model of the others
    that has the same name.
    """

    def __init__(self, source: AccessSource) -> None:
        super().__init__(source)
        self._access = source

    @property
    def has_token(self) -> bool:
        return self._access.has_token

    @property
    def takes_clients(self) -> bool:
        return self._access.takes_clients

    def with_token(self, token: str | None) -> Self:
        return type(self)(self._access.with_token(token))

    def check_access(self, repo: RepoId, timeout: float | None = None) -> None:
        del timeout
        self._say_nothing(repo)
