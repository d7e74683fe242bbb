"""The cache folder of `huggingface_hub`: revisions that are already on this machine.

Layout: ``models--org--name/{blobs,refs,snapshots}``; a snapshot is a folder of links to blobs,
which are named by their ETag: the sha256 of an LFS file, the git blob id of any other.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.core.names import RepoId, RepoKind


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of a snapshot, where its bytes are, and what its blob's name claims them to be.
    `claim` is None where the name says nothing.
    """

    path: str
    real: Path
    claim: Digest | GitOid | None


@dataclass(frozen=True, slots=True)
class CachedRevision:
    """A snapshot of a cache, with the refs that point at it."""

    repo: RepoId
    commit: GitOid
    refs: tuple[str, ...]
    files: tuple[CachedFile, ...]


def scan(cache: Path) -> Iterator[CachedRevision]:
    """Every revision in a cache folder; other folders are ignored."""
    for folder in sorted(path for path in cache.iterdir() if path.is_dir()):
        repo = _repo_of(folder.name)
        snapshots = folder / "snapshots"
        if repo is None or not snapshots.is_dir():
            continue
        refs = _refs(folder / "refs")
        for snapshot in sorted(snapshots.iterdir()):
            if snapshot.is_dir() and GitOid.is_valid(snapshot.name):
                names = tuple(name for name, commit in refs if commit == snapshot.name)
                files = tuple(_files(snapshot))
                if files:
                    yield CachedRevision(repo, GitOid(snapshot.name), names, files)


def _repo_of(name: str) -> RepoId | None:
    plural, _, rest = name.partition("--")
    kinds = {kind.plural: kind for kind in RepoKind}
    try:
        return RepoId(kinds[plural], rest.replace("--", "/"))
    except (KeyError, OutlastError):
        return None


def _refs(folder: Path) -> list[tuple[str, str]]:
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and path.stat().st_size < 1000:
            commit = path.read_text(errors="replace").strip()
            found.append((path.relative_to(folder).as_posix(), commit))
    return found


def _files(snapshot: Path) -> Iterator[CachedFile]:
    for root, _, names in os.walk(snapshot):
        for name in sorted(names):
            path = Path(root, name)
            real = Path(os.path.realpath(path))
            if real.is_file():
                claim = _claim(real.name) if path.is_symlink() else None
                yield CachedFile(path.relative_to(snapshot).as_posix(), real, claim)


def _claim(name: str) -> Digest | GitOid | None:
    if Digest.is_valid(name):
        return Digest(name)
    return GitOid(name) if GitOid.is_valid(name) else None
