"""What a second home has, as its list and its manifests say; no file of a model is read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from outlast.bucket.home import SecondHome, Stored
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import IntegrityError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId


@dataclass(frozen=True, slots=True)
class HomeRevision:
    """A revision in a second home: `files` of `size` bytes as clients see them, of which `missing`
    have no bytes there, or too few. What holds them has `stored` bytes there. `problem`: why its
    manifest cannot be read; then nothing else is known.
    """

    repo: RepoId
    revision: GitOid
    refs: tuple[str, ...]
    files: int = 0
    size: int = 0
    stored: int = 0
    missing: int = 0
    partial: bool = False
    capsules: int = 0
    problem: str = ""

    @property
    def complete(self) -> bool:
        return not (self.missing or self.partial or self.problem)


def listing(home: SecondHome, patterns: Sequence[str] = ()) -> Iterator[HomeRevision]:
    """The revisions of models that match one of the globs `patterns`, or of all, by name."""
    home.require()
    files = home.files()
    for repo in home.repos():
        if patterns and not any(fnmatchcase(str(repo), pattern) for pattern in patterns):
            continue
        refs = home.refs(repo)
        for commit in home.commits(repo):
            names = tuple(sorted(ref.name for ref in refs if ref.commit == commit))
            try:
                revision = home.load(repo, commit)
            except IntegrityError as error:
                yield HomeRevision(repo, commit, names, problem=str(error))
                continue
            if revision is not None:  # else it went between the list and the question
                yield _line(revision, names, files)


def _line(
    revision: Revision, refs: tuple[str, ...], files: Mapping[Digest, Sequence[Stored]]
) -> HomeRevision:
    entries = {entry.sha256: entry for entry in revision.files if entry.sha256 is not None}
    held = {digest: files[digest] for digest in entries if files.get(digest)}
    missing = sum(
        not any(one.capsule or one.size == entry.size for one in held.get(digest, ()))
        for digest, entry in entries.items()
    )
    return HomeRevision(
        repo=revision.repo,
        revision=revision.id,
        refs=refs,
        files=len(revision.files),
        size=revision.size,
        stored=sum(one.size for found in held.values() for one in found),
        missing=missing,
        partial=revision.partial,
        capsules=sum(all(one.capsule for one in found) for found in held.values()),
    )
