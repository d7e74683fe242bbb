"""Where things are in an archive's folder."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DamagedRecordError, MalformedError, StorageError
from outlast.core.manifest import load_json
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.records.sealed import check_of

FORMAT = 3
"""Of archives whose small files carry checks. Format 2 has capsules, format 1 has neither; both
are read, and become format 3 with the first write.
"""
_MARKER_NAME = "outlast.json"
CAPSULE_SUFFIX = ".olc"
PARITY_SUFFIX = ".olp"
_MARKER_LIMIT = 4096


def marker_of(version: int) -> bytes:
    """The marker of a format from 3 on: JSON in which older versions find the number."""
    head = b'{"outlast-archive": %d' % version
    return b'%s, "check": "%s"}\n' % (head, check_of(_MARKER_NAME, head).encode())


MARKER = marker_of(FORMAT)


@dataclass(frozen=True, slots=True)
class Marker:
    """What the marker says, or else what follows from the rest of the archive. `problem` says why
    it cannot be read, and is empty where it can. `unfinished`: it is still that of an older format,
    but all small files have their checks.
    """

    version: int
    problem: str = ""
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one archive, described in docs/format/archive.md."""

    home: Path

    @property
    def marker(self) -> Path:
        return self.home / _MARKER_NAME

    @property
    def second(self) -> Path:
        """Below it, second copies of small files that follow from nothing else."""
        return self.home / "second"

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
    def sums(self) -> Path:
        """Of the pieces of plain blobs."""
        return self.home / "sums"

    @property
    def parity(self) -> Path:
        """Of the files that hold blobs, where the operator wants it (docs/format/parity.md)."""
        return self.home / "parity"

    @property
    def damage(self) -> Path:
        """What is known to be damaged."""
        return self.home / "damage"

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
    def trash(self) -> Path:
        return self.home / "trash"

    @property
    def unreadable(self) -> Path:
        return self.home / "unreadable"

    @property
    def unconfirmed(self) -> Path:
        return self.home / "unconfirmed"

    @property
    def equals(self) -> Path:
        return self.home / "equals"

    @property
    def holders(self) -> Path:
        return self.home / "holders"

    @property
    def seen(self) -> Path:
        """Which hubs listed revisions to this archive itself."""
        return self.home / "seen"

    @property
    def attestations(self) -> Path:
        """Signed statements, by the manifest that they are about."""
        return self.home / "attestations"

    @property
    def trust(self) -> Path:
        """What the operator trusts, and what follows from it. Public data alone."""
        return self.home / "trust"

    @property
    def accepted(self) -> Path:
        """What the operator vouches for, by manifest."""
        return self.trust / "accepted"

    @property
    def code_words(self) -> Path:
        """Which code of models the operator lets run, by model."""
        return self.trust / "code"

    @property
    def revoked(self) -> Path:
        """What is revoked, by manifest."""
        return self.trust / "revoked"

    @property
    def cached(self) -> Path:
        return self.home / "cached"

    @property
    def dropping(self) -> Path:
        return self.home / "dropping"

    @property
    def unverified(self) -> Path:
        return self.home / "unverified"

    @property
    def tmp(self) -> Path:
        return self.home / "tmp"

    def blob(self, digest: Digest) -> Path:
        return self.blobs / digest.hex[:2] / digest.hex

    def sums_of(self, digest: Digest) -> Path:
        return self.sums / digest.hex[:2] / digest.hex

    def capsule(self, digest: Digest) -> Path:
        return self.capsules / digest.hex[:2] / f"{digest.hex}{CAPSULE_SUFFIX}"

    def parity_of(self, payload: Path) -> Path:
        """Of the file that holds a blob, plain or as a capsule."""
        return self.parity / payload.parent.name / f"{payload.name}{PARITY_SUFFIX}"

    def copy(self, digest: Digest) -> Path:
        return self.copies / digest.hex[:2] / digest.hex

    def manifest(self, digest: Digest) -> Path:
        return self.manifests / f"{digest}.json"

    def folder_of(self, repo: RepoId) -> Path:
        """The relative folder that a repository has below refs/, drafts/ and the like."""
        return _repo_folder(repo)

    def repo_refs(self, repo: RepoId) -> Path:
        return self.refs / _repo_folder(repo)

    def repo_drafts(self, repo: RepoId) -> Path:
        return self.drafts / _repo_folder(repo)

    def draft(self, repo: RepoId, commit: GitOid) -> Path:
        return self.repo_drafts(repo) / f"{commit}.jsonl"

    def unconfirmed_mark(self, repo: RepoId, commit: GitOid) -> Path:
        return self.unconfirmed / _repo_folder(repo) / commit.hex

    def make_folders(self) -> None:
        """Makes the folders that every archive has; harmless where they exist."""
        for folder in (self.blobs, self.manifests, self.refs, self.partial, self.tmp):
            if not folder.is_dir():
                disk.make_dir(folder)

    def name_of(self, path: Path) -> str:
        """The path of a file in the archive, with slashes: what its check covers."""
        return path.relative_to(self.home).as_posix()

    def second_of(self, path: Path) -> Path:
        """Where the second copy of the file `path` is."""
        return self.second / path.relative_to(self.home)

    def check(self) -> None:
        """Refuses an archive of a newer format. A damaged marker does not keep from reading."""
        self.read_marker()

    def version(self) -> int:
        """The format of the archive, one that is known here."""
        return self.read_marker().version

    def read_marker(self) -> Marker:
        """Raises :class:`StorageError` of a newer format."""
        with disk.reporting(self.marker):
            data = _read(self.marker)
            if data == MARKER:
                return Marker(FORMAT)
            found = None if data is None else _version_of(data)
            if _read(self.second_of(self.marker)) == MARKER:
                if found is not None and found < FORMAT:
                    return Marker(FORMAT, unfinished=True)
                return Marker(FORMAT, "missing" if data is None else "damaged")
            if found is None:
                # Format 3 begins with the folder of second copies.
                likely = FORMAT if self.second.is_dir() else FORMAT - 1
                return Marker(likely, "missing" if data is None else "damaged")
        if found > FORMAT:
            raise StorageError(
                f"{self.home} is an archive of format {found}; this outlast knows {FORMAT}",
                hint="use the outlast that wrote it, or a newer one",
            )
        return Marker(found)

    def require_marker(self) -> Marker:
        """Refuses to write where the marker cannot be read. Raises :class:`DamagedRecordError`."""
        marker = self.read_marker()
        if marker.problem:
            raise DamagedRecordError(
                f"the file {self.marker} is {marker.problem}: the archive can be read, not changed",
                hint="'outlast doctor --mend' restores it",
            )
        return marker


def _read(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_MARKER_LIMIT)
    except FileNotFoundError:
        return None


def _version_of(data: bytes) -> int | None:
    """The format that a marker gives: 1 or 2 without a check, or a newer one with the right one."""
    try:
        document = load_json(data, _MARKER_LIMIT)
    except MalformedError:
        return None
    version = document.get("outlast-archive") if isinstance(document, dict) else None
    if type(version) is not int:
        return None
    if set(document) == {"outlast-archive"} and 1 <= version < FORMAT:
        return version
    head = b'{"outlast-archive": %d' % version
    has_check = document.get("check") == check_of(_MARKER_NAME, head)
    return version if has_check and version > FORMAT else None


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
