"""Link: lay a revision out for other programs, without a second copy of its bytes.

Two shapes: the cache of `huggingface_hub` (``models--org--name/{blobs,refs,snapshots}``), which
works with HF_HUB_OFFLINE=1 and no server; and a plain folder with the files under their names.
"""

import errno
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from outlast.model.errors import NotArchivedError, StorageError
from outlast.model.manifest import FileEntry, Revision
from outlast.model.names import RepoId, Target
from outlast.store import disk
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Linked:
    """Where a revision was laid out. `snapshot` is the folder of its files inside `cache`."""

    revision: Revision
    cache: Path | None
    snapshot: Path | None
    folder: Path | None


def link(archive: Archive, target: Target, *, cache: Path | None, folder: Path | None) -> Linked:
    """Lays out the files of `target` that are here, in `cache`, in `folder`, or both.

    Existing files are left alone where they are already the right ones, and replaced where they
    are links of ours; anything else is an error.
    """
    revision = archive.revision(target.repo, target.ref)
    entries = [entry for entry in revision.files if archive.holds(entry)]
    if not entries:
        raise NotArchivedError(f"no file of {target} is here")
    refs = [r.name for r in archive.refs.list(target.repo) if r.commit == revision.id]
    snapshot = None
    with disk.reporting(cache or folder or archive.layout.home):
        if cache is not None:
            snapshot = _lay_out_cache(archive, revision, entries, refs, cache)
        if folder is not None:
            for entry in entries:
                _place(archive, entry, folder / entry.path)
    return Linked(revision, cache, snapshot, folder)


def cache_folder(repo: RepoId) -> str:
    """The folder of a repository inside a Hugging Face cache."""
    return "--".join((repo.kind.plural, *repo.name.split("/")))


def _lay_out_cache(
    archive: Archive, revision: Revision, entries: list[FileEntry], refs: list[str], cache: Path
) -> Path:
    root = cache / cache_folder(revision.repo)
    snapshot = root / "snapshots" / revision.id.hex
    for entry in entries:
        blob = root / "blobs" / entry.etag
        _place(archive, entry, blob)
        name = snapshot / entry.path
        name.parent.mkdir(parents=True, exist_ok=True)
        _replace(name, partial(os.symlink, os.path.relpath(blob, name.parent)))
    for ref in refs:
        path = root / "refs" / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(revision.id.hex)
    return snapshot


def _place(archive: Archive, entry: FileEntry, path: Path) -> None:
    """Makes `path` a name of the blob: a hard link, or a symbolic one to another file system."""
    if entry.sha256 is None:
        raise NotArchivedError(f"{entry.path!r} is not in the archive")
    blob = archive.path(entry.sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and os.path.samefile(path, blob):
        return
    if path.is_file() and not path.is_symlink() and os.stat(path).st_nlink == 1:
        raise StorageError(f"{path} exists and is not ours", hint="name an empty folder")

    def make(temp: str) -> None:
        try:
            os.link(blob, temp)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP}:
                raise
            os.symlink(blob.resolve(), temp)

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
