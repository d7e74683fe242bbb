"""What was learned of the world outside about a model: a small record for each, below a folder of
its own. Most may be lost without harm: they have no second copy, and one that is damaged says
nothing until it is written anew.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Generic, Protocol, Self, TypeVar

from outlast.core.errors import BadNameError, CorruptError, DamagedRecordError
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.layout import repo_of_folder
from outlast.store.records.records import Records
from outlast.store.writer import WriteSession

_DEPTH: Final = ("*",) * 3


class Learned(Protocol):
    """What such a record says."""

    def encode(self) -> bytes:
        """As JSON, a line."""

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""


T = TypeVar("T", bound=Learned)


class PerModel(Generic[T]):
    """The records of one `kind`, below `folder`; with `twice`, each has a second copy. Thread-safe;
    what two processes write at the same time, the later one has said.
    """

    def __init__(
        self, records: Records, folder: Path, kind: type[T], *, twice: bool = False
    ) -> None:
        self._records = records
        self._folder = folder
        self._kind = kind
        self._twice = twice

    @disk.reported
    def get(self, repo: RepoId) -> T | None:
        """What was learned of a model; None if nothing was, or it cannot be read."""
        path = self.path(repo)
        try:
            return self._kind.decode(self._records.read(path))
        except (FileNotFoundError, DamagedRecordError, CorruptError):
            body = self._records.read_second(path) if self._twice else None
        try:
            return None if body is None else self._kind.decode(body)
        except CorruptError:
            return None

    @disk.reported
    def put(self, writer: WriteSession, repo: RepoId, learned: T) -> None:
        """Takes the place of what was learned before."""
        write = self._records.write_twice if self._twice else self._records.write
        write(writer, self.path(repo), learned.encode())

    @disk.reported
    def put_all(self, writer: WriteSession, learned: Mapping[RepoId, T]) -> None:
        """The same for several models: records with a second copy are written together."""
        bodies = {self.path(repo): said.encode() for repo, said in learned.items()}
        if self._twice:
            self._records.write_all_twice(writer, bodies)
            return
        for path, body in bodies.items():
            self._records.write(writer, path, body)

    @disk.reported
    def delete(self, repo: RepoId) -> None:
        """Harmless if there is none."""
        path = self.path(repo)
        if self._records.delete(path):
            disk.remove_empty_parents(path, self._folder)

    def all(self) -> Iterator[tuple[RepoId, T]]:
        """All of them that can be read, by name."""
        for path in disk.matching(self._folder, *_DEPTH):
            try:
                repo = repo_of_folder(path)
            except BadNameError:  # not ours
                continue
            if (found := self.get(repo)) is not None:
                yield repo, found

    def path(self, repo: RepoId) -> Path:
        """The file of a model's record."""
        return self._folder / self._records.layout.folder_of(repo)
