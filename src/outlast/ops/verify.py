"""Verify: read every blob again and compare it with its name."""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, NotArchivedError, OutlastError, StorageError
from outlast.core.events import FileDone, FileProblem, Planned, Removed
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.intake.local_file import ingest
from outlast.ops.inspection import check_capsule
from outlast.store.archive import Archive, BlobInfo
from outlast.store.index import load_manifest

_READERS = 2


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and what is wrong with it."""

    blobs: int
    size: int
    problems: tuple[FileProblem, ...]


def verify(
    archive: Archive, targets: Iterable[Target], *, quarantine: bool, control: Control
) -> Verified:
    """Hashes the blobs of `targets`, or all blobs, in each form that they have; and checks
    manifests, drafts and refs.

    With `quarantine`, a damaged blob or manifest is moved out of the way, so that the next pull
    fetches it again; otherwise nothing is changed. A capsule stays that still reads, and one of
    which only the base is damaged.
    """
    job = _Verification(archive, control, quarantine=quarantine)
    chosen = [archive.revision(target.repo, target.ref) for target in targets]
    blobs = _blobs_of(archive, chosen) if chosen else job.whole_archive()
    job.absent(chosen or job.revisions)
    total = sum(blob.size for blob in blobs)
    control.emit(Planned("verify", "archive", len(blobs), total))
    with ThreadPoolExecutor(_READERS) as pool:
        for _ in pool.map(job.blob, blobs):
            control.cancel.check()
    return Verified(len(blobs), total, tuple(job.problems))


def _blobs_of(archive: Archive, revisions: Iterable[Revision]) -> list[BlobInfo]:
    found = {}
    for revision in revisions:
        for entry in revision.files:
            if entry.sha256 is not None and archive.holds(entry):
                found[entry.sha256] = BlobInfo(entry.sha256, entry.size)
    return sorted(found.values(), key=lambda blob: blob.digest)


class _Verification:
    def __init__(self, archive: Archive, control: Control, *, quarantine: bool) -> None:
        self._archive = archive
        self._control = control
        self._quarantines = quarantine
        self._lock = threading.Lock()
        self.problems: list[FileProblem] = []
        self.revisions: list[Revision] = []

    def _report(self, path: str, problem: str, code: str = CorruptError.code) -> None:
        event = FileProblem(path, problem, code)
        with self._lock:
            self.problems.append(event)
        self._control.emit(event)

    def whole_archive(self) -> list[BlobInfo]:
        """Checks what names the blobs, and returns all of them."""
        layout = self._archive.layout
        for path in sorted(layout.manifests.glob("*.json")):
            try:
                self.revisions.append(load_manifest(layout, Digest(path.stem)))
            except OutlastError as error:
                self._report(f"manifests/{path.name}", str(error))
                self._quarantine(path.name, path)
        try:
            self.revisions.extend(self._archive.drafts.all())
        except OutlastError as error:
            self._report("drafts", str(error))
        self._refs()
        self._unreadable()
        return list(self._archive.blobs())

    def _unreadable(self) -> None:
        for digest, form in self._archive.forms.capsules().items():
            if form is None:
                path = self._archive.layout.capsule(digest)
                self._report(str(path), "damaged: its trailers do not say what it is")
                self._quarantine(path.name, path)

    def _refs(self) -> None:
        known = {(revision.repo, revision.id) for revision in self.revisions}
        for repo in self._archive.refs.repos():
            try:
                for ref in self._archive.refs.list(repo):
                    if (repo, ref.commit) not in known:
                        self._report(f"{repo}@{ref.name}", f"{ref.commit} is not here", "absent")
            except OutlastError as error:
                self._report(str(repo), str(error))

    def absent(self, revisions: Iterable[Revision]) -> None:
        """Reports the files whose blobs should be here and are not."""
        for revision in revisions:
            for entry in revision.files:
                if not self._archive.holds(entry):
                    name = f"{revision.repo}@{revision.id.hex[:12]}: {entry.path}"
                    thin = entry.sha256 is not None and self._archive.forms.of(entry.sha256)
                    what = "what it leans on is gone" if thin else "its bytes are gone"
                    self._report(name, what, "absent")

    def blob(self, blob: BlobInfo) -> None:
        """Checks every form that a blob has."""
        layout = self._archive.layout
        if layout.blob(blob.digest).exists():
            self._plain(blob)
        if layout.capsule(blob.digest).exists():
            self._capsule(blob.digest)

    def _plain(self, blob: BlobInfo) -> None:
        path = self._archive.layout.blob(blob.digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # collected meanwhile
        except OSError as error:
            self._report(str(path), error.strerror or str(error))
            return
        try:
            names = ingest(fd, None, f"blob {blob.digest.short}", self._control)
            stat = os.fstat(fd)
        except OSError as error:  # the disk cannot read it back
            self._report(str(path), error.strerror or str(error))
            return
        finally:
            os.close(fd)
        root = self._archive.index.root_of(blob.digest)
        if names.sha256 != blob.digest or (root is not None and root != names.merkle_root):
            self._report(str(path), f"damaged: its sha256 is {names.sha256.short}…")
            self._quarantine(blob.digest.hex, path)
            return
        self._archive.index.note_checked(blob.digest, stat)
        self._control.emit(FileDone(str(path), blob.size, blob.digest.hex))

    def _capsule(self, digest: Digest) -> None:
        path = self._archive.layout.capsule(digest)
        try:
            found = check_capsule(self._archive, digest, self._control)
        except NotArchivedError as error:
            if path.exists():  # else it was collected meanwhile
                self._report(str(path), str(error), NotArchivedError.code)
            return
        except StorageError as error:  # the disk cannot read it back
            self._report(str(path), str(error))
            return
        if not found.problem:
            self._control.emit(FileDone(str(path), found.size, digest.hex))
            return
        self._report(str(path), found.problem)
        if not found.reads and not found.blameless:
            self._quarantine(path.name, path)

    def _quarantine(self, name: str, path: Path) -> None:
        if not self._quarantines:
            return
        self._archive.quarantine(path)
        self._control.emit(Removed("damaged", name, 0))
