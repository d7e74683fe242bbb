"""Export (`outlast link`): expose a revision to other programs by links into the archive.

There are two layouts. The cache of `huggingface_hub` (``models--org--name/{blobs,refs,snapshots}``)
works with HF_HUB_OFFLINE=1 and no server. A plain folder has the files under their names. Names
that the file system of a layout refuses are escaped there.
"""

import datetime as dt
import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from outlast.core.control import Control
from outlast.core.errors import NotArchivedError, QuarantinedError, StorageError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.core.policy import Action
from outlast.intake.file_names import escaped, names_in
from outlast.intake.formats.allowed import AllowedUnsafe
from outlast.intake.formats.withheld import unsafe_files, withheld
from outlast.intake.judging import require_revision
from outlast.intake.working_copies import Working
from outlast.store import disk
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Exported:
    """Where a revision was exported to. `snapshot` is its folder inside `cache`. `escaped` has, for
    `snapshot` and `folder`, the names of the files that do not have their own there, by path.
    `withheld`: why files are not there, by path.
    """

    revision: Revision
    cache: Path | None
    snapshot: Path | None
    folder: Path | None
    escaped: Mapping[Path, Mapping[str, str]] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)


def link(
    archive: Archive,
    target: Target,
    *,
    cache: Path | None,
    folder: Path | None,
    portable: bool = False,
    allow_unsafe: bool = False,
    budget: int | None = None,
    control: Control | None = None,
) -> Exported:
    """Exports the archived files of `target` to `cache`, to `folder`, or both. Files that are
    stored as capsules are decoded to working copies, of at most `budget` bytes together. With
    `portable`, names in `folder` are such as every file system takes.

    Pickles, and what may have some inside, are left out: programs that load them run what is in
    them. `allow_unsafe` allows those of this revision, for good. Raises :class:`QuarantinedError`
    where nothing is left.

    Links that an earlier export made are kept or replaced; any other file in the way is an error.
    Raises :class:`~outlast.core.errors.RevokedError` for what is not to be used any more.
    """
    revision = archive.revision(target.repo, target.ref)
    require_revision(archive, Action.EXPORT, revision)
    archive.revocations.refuse(revision)
    archive.cached.keep(revision.repo, revision.id)  # links to it must not come to nothing
    entries = [entry for entry in revision.files if archive.lies_here(entry)]
    if not entries:
        raise NotArchivedError(f"no file of {target} is in the archive")
    if allow_unsafe:
        _allow(archive, revision.repo, entries)
    unsafe = withheld(archive, entries)
    entries = [entry for entry in entries if entry.path not in unsafe]
    if not entries:
        path, why = next(iter(unsafe.items()))
        raise QuarantinedError(f"all files of {target} are in quarantine: {path}: {why}")
    refs = [r.name for r in archive.refs.list(target.repo) if r.commit == revision.id]
    snapshot, paths = None, [entry.path for entry in entries]
    changed: dict[Path, dict[str, str]] = {}
    with Working(archive, budget, control or Control()) as working:
        working.prepare(entries)
        with disk.reporting(cache or folder or archive.layout.home):
            if cache is not None:
                root = cache / cache_folder(revision.repo)
                snapshot = root / "snapshots" / revision.id.hex
                names = names_in(snapshot, paths)
                _lay_out_cache(working, entries, names, root, snapshot)
                _note_refs(root, refs, revision)
                changed[snapshot] = escaped(names)
            if folder is not None:
                names = names_in(folder, paths, portable=portable)
                lay_out(working, entries, folder, names)
                changed[folder] = escaped(names)
    changed = {place: names for place, names in changed.items() if names}
    left_out = {path: str(reason) for path, reason in unsafe.items()}
    return Exported(revision, cache, snapshot, folder, changed, left_out)


def _allow(archive: Archive, repo: RepoId, entries: Iterable[FileEntry]) -> None:
    """Remembers what is unsafe among these files as allowed."""
    entries = list(entries)
    unsafe = unsafe_files(archive, entries)
    allowed = [
        (entry.sha256, f"{repo} {entry.path}")
        for entry in entries
        if entry.path in unsafe and entry.sha256 is not None
    ]
    today = dt.datetime.now(dt.UTC).date()
    AllowedUnsafe(archive.layout.home).allow(allowed, today)


def lay_out(
    working: Working,
    entries: Iterable[FileEntry],
    folder: Path,
    names: Mapping[str, str],
    *,
    hold: bool = True,
) -> None:
    """Links the files of `entries`, which `working` must have prepared, into `folder`, under the
    `names` that their paths have there. Without `hold`, working copies may be deleted although they
    are linked.
    """
    for entry in entries:
        _place(working, entry, folder / names[entry.path], hold=hold)


def cache_folder(repo: RepoId) -> str:
    """The folder of a repository inside a Hugging Face cache."""
    return "--".join((repo.kind.plural, *repo.name.split("/")))


def _lay_out_cache(
    working: Working,
    entries: Iterable[FileEntry],
    names: Mapping[str, str],
    root: Path,
    snapshot: Path,
) -> None:
    for entry in entries:
        blob = root / "blobs" / entry.etag
        _place(working, entry, blob)
        name = snapshot / names[entry.path]
        name.parent.mkdir(parents=True, exist_ok=True)
        _replace(name, partial(os.symlink, os.path.relpath(blob, name.parent)))


def _note_refs(root: Path, refs: Iterable[str], revision: Revision) -> None:
    for ref in refs:
        path = root / "refs" / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(revision.id.hex)


def _place(working: Working, entry: FileEntry, path: Path, *, hold: bool = True) -> None:
    """Makes `path` a hard link of the blob, or a symbolic link to another file system."""
    blob = working.path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and os.path.samefile(path, blob):
        return
    if path.is_file() and not path.is_symlink() and os.stat(path).st_nlink == 1:
        raise StorageError(
            f"{path} exists and is not a link of outlast", hint="name an empty folder"
        )

    def make(temp: str) -> None:
        if working.is_copy(entry) and not hold:
            os.symlink(blob.resolve(), temp)
            return
        try:
            os.link(blob, temp)
        except OSError as error:
            if error.errno not in {errno.EXDEV, *disk.NO_LINKS}:
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
