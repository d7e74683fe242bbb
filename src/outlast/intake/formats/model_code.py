"""The Python files of a revision, which transformers may import, and the digest of all of them."""

from dataclasses import dataclass
from typing import Self

from outlast.core.digest import Digest
from outlast.core.manifest import Revision
from outlast.core.names import RepoId


@dataclass(frozen=True, slots=True)
class ModelCode:
    """`files`: paths and digests, by path; none where there is no code. `unknown`: those whose
    sha256 is not known while they are arriving.
    """

    repo: RepoId
    files: tuple[tuple[str, Digest], ...]
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, revision: Revision) -> Self:
        """That of a revision."""
        found = sorted((e for e in revision.files if is_python(e.path)), key=lambda e: e.path)
        known = tuple((e.path, e.sha256) for e in found if e.sha256 is not None)
        unknown = tuple(e.path for e in found if e.sha256 is None)
        return cls(revision.repo, known, unknown)

    @property
    def digest(self) -> Digest:
        """The sha256 of what `sha256sum` prints of the files, in the order of their paths."""
        return Digest.of("".join(f"{digest.hex}  {path}\n" for path, digest in self.files).encode())


def is_python(path: str) -> bool:
    """Whether a file is one that Python imports by its source."""
    return path.lower().endswith(".py")
