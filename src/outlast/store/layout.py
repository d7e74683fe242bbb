"""Where things are in an archive's folder."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import StorageError
from outlast.core.manifest import load_json
from outlast.core.names import RepoId
from outlast.store import disk

FORMAT = 2
"""Of archives that hold capsules. One without is of format 1, which older versions read too."""
MARKER = b'{"outlast-archive": 1}\n'
CAPSULE_MARKER = b'{"outlast-archive": %d}\n' % FORMAT
CAPSULE_SUFFIX = ".olc"
_MARKER_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one archive, described in docs/format/archive.md."""

    home: Path

    @property
    def marker(self) -> Path:
        return self.home / "outlast.json"

    @property
    def lock(self) -> Path:
        return self.home / "lock"

    @property
    def index(self) -> Path:
        return self.home / "index.sqlite"

    @property
    def blobs(self) -> Path:
        return self.home / "blobs"

    @property
    def capsules(self) -> Path:
        return self.home / "capsules"

    @property
    def copies(self) -> Path:
        return self.home / "copies"

    @property
    def manifests(self) -> Path:
        return self.home / "manifests"

    @property
    def drafts(self) -> Path:
        return self.home / "drafts"

    @property
    def refs(self) -> Path:
        return self.home / "refs"

    @property
    def partial(self) -> Path:
        return self.home / "partial"

    @property
    def links(self) -> Path:
        return self.home / "links"

    @property
    def shared(self) -> Path:
        return self.home / "shared"

    @property
    def quarantine(self) -> Path:
        return self.home / "quarantine"

    @property
    def unverified(self) -> Path:
        return self.home / "unverified"

    @property
    def tmp(self) -> Path:
        return self.home / "tmp"

    def blob(self, digest: Digest) -> Path:
        return self.blobs / digest.hex[:2] / digest.hex

    def capsule(self, digest: Digest) -> Path:
        return self.capsules / digest.hex[:2] / f"{digest.hex}{CAPSULE_SUFFIX}"

    def copy(self, digest: Digest) -> Path:
        return self.copies / digest.hex[:2] / digest.hex

    def manifest(self, digest: Digest) -> Path:
        return self.manifests / f"{digest}.json"

    def repo_refs(self, repo: RepoId) -> Path:
        return self.refs / _repo_folder(repo)

    def repo_drafts(self, repo: RepoId) -> Path:
        return self.drafts / _repo_folder(repo)

    def draft(self, repo: RepoId, commit: GitOid) -> Path:
        return self.repo_drafts(repo) / f"{commit}.jsonl"

    def make_folders(self) -> None:
        """Makes the folders that every archive has; harmless where they exist."""
        for folder in (self.blobs, self.manifests, self.refs, self.partial, self.tmp):
            if not folder.is_dir():
                disk.make_dir(folder)

    def check(self) -> None:
        """Refuses a folder that is no archive, or one of a newer format."""
        self.version()

    def version(self) -> int:
        """The format of the archive, one that is known here."""
        with disk.reporting(self.marker), open(self.marker, "rb") as file:
            marker = load_json(file.read(_MARKER_LIMIT), _MARKER_LIMIT)
        version = marker.get("outlast-archive") if isinstance(marker, dict) else None
        if type(version) is not int or version not in range(1, FORMAT + 1):
            raise StorageError(
                f"{self.home} is an archive of format {version!r}; this outlast knows {FORMAT}",
                hint="use the outlast that wrote it, or a newer one",
            )
        return version


def _repo_folder(repo: RepoId) -> Path:
    # "-" cannot start a name, so it can stand for "no organisation".
    name = repo.name if "/" in repo.name else f"-/{repo.name}"
    return Path(repo.kind.plural, name)


def repo_of_folder(folder: Path | str) -> RepoId:
    """The inverse of the folder that a repository has below refs/ and drafts/."""
    return _repo_of(*os.fspath(folder).split(os.sep)[-3:])


@functools.lru_cache(maxsize=16384)
def _repo_of(plural: str, organisation: str, name: str) -> RepoId:
    name = name if organisation == "-" else f"{organisation}/{name}"
    return RepoId.parse(f"{plural}/{name}")
