"""Link: lay a revision out for other programs, without a second copy of its bytes.

Two shapes: the cache of `huggingface_hub` (``models--org--name/{blobs,refs,snapshots}``), which
works with HF_HUB_OFFLINE=1 and no server; and a plain folder with the files under their names.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from outlast.core.control import Control
from outlast.core.errors import NotArchivedError, StorageError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.intake.working_copies import Working
from outlast.store import disk
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Exported:
    """Where a revision was laid out. `snapshot` is the folder of its files inside `cache`."""

    revision: Revision
    cache: Path | None
    snapshot: Path | None
    folder: Path | None


def link(
    archive: Archive,
    target: Target,
    *,
    cache: Path | None,
    folder: Path | None,
    budget: int | None = None,
    control: Control | None = None,
) -> Exported:
    """Lays out the files of `target` that are here, in `cache`, in `folder`, or both. Working
    copies are made of what is held as capsules; together they have at most `budget` bytes.

    Existing files are left alone where they are already the right ones, and replaced where they
    are links of ours; anything else is an error.
    """
    revision = archive.revision(target.repo, target.ref)
    entries = [entry for entry in revision.files if archive.holds(entry)]
    if not entries:
        raise NotArchivedError(f"no file of {target} is here")
    refs = [r.name for r in archive.refs.list(target.repo) if r.commit == revision.id]
    snapshot = None
    with Working(archive, budget, control or Control()) as working:
        working.prepare(entries)
        with disk.reporting(cache or folder or archive.layout.home):
            if cache is not None:
                snapshot = _lay_out_cache(working, revision, entries, refs, cache)
            if folder is not None:
                lay_out(working, entries, folder)
    return Exported(revision, cache, snapshot, folder)


def lay_out(
    working: Working, entries: Iterable[FileEntry], folder: Path, *, hold: bool = True
) -> None:
    """Makes `folder` a folder of the files, which `working` must have prepared. Without `hold`
    working copies may go although they are linked.
    """
    for entry in entries:
        _place(working, entry, folder / entry.path, hold=hold)


def cache_folder(repo: RepoId) -> str:
    """The folder of a repository inside a Hugging Face cache."""
    return "--".join((repo.kind.plural, *repo.name.split("/")))


def _lay_out_cache(
    working: Working, revision: Revision, entries: list[FileEntry], refs: list[str], cache: Path
) -> Path:
    root = cache / cache_folder(revision.repo)
    snapshot = root / "snapshots" / revision.id.hex
    for entry in entries:
        blob = root / "blobs" / entry.etag
        _place(working, entry, blob)
        name = snapshot / entry.path
        name.parent.mkdir(parents=True, exist_ok=True)
        _replace(name, partial(os.symlink, os.path.relpath(blob, name.parent)))
    for ref in refs:
        path = root / "refs" / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(revision.id.hex)
    return snapshot


def _place(working: Working, entry: FileEntry, path: Path, *, hold: bool = True) -> None:
    """Makes `path` a name of the blob: a hard link, or a symbolic one to another file system."""
    blob = working.path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and os.path.samefile(path, blob):
        return
    if path.is_file() and not path.is_symlink() and os.stat(path).st_nlink == 1:
        raise StorageError(f"{path} exists and is not ours", hint="name an empty folder")

    def make(temp: str) -> None:
        if working.is_copy(entry) and not hold:
            os.symlink(blob.resolve(), temp)
            return
        try:
            os.link(blob, temp)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP}:
                raise
            os.symlink(blob.resolve(), temp)
            working.linked(entry, path)

    _replace(path, make)


def _replace(path: Path, make: Callable[[str], None]) -> None:
    """Puts what `make` creates at `path`, atomically."""
    temp = tempfile.mktemp(prefix=".outlast-", dir=path.parent)  # noqa: S306 - made by link(2), which never overwrites
    make(temp)
    try:
        os.replace(temp, path)
    except OSError:
        os.unlink(temp)
        raise
