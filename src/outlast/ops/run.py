"""Run: choose what to run in a revision, check it, and hand it to an engine."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from outlast.engines.choose import TRANSFORMERS, Choice, choose
from outlast.model.control import Control
from outlast.model.errors import CorruptError, EntryNotFoundError, NotArchivedError
from outlast.model.events import Planned
from outlast.model.manifest import FileEntry, Revision
from outlast.model.names import Target
from outlast.ops.ingest import ingest
from outlast.ops.link import link
from outlast.store import disk
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that is ready for an engine: `paths` are its files in the order of the choice (for
    llama.cpp), `folder` is where they lie under their own names (for transformers).
    """

    revision: Revision
    choice: Choice
    paths: tuple[Path, ...]
    folder: Path | None


def prepare(
    archive: Archive,
    target: Target,
    *,
    wanted: str | None,
    engine: str | None,
    recheck: bool,
    control: Control,
) -> Prepared:
    """Picks the files of `target` to run (`wanted` names one, or is a glob) and makes sure that
    they are what they were when they were archived. A file that was hashed before and whose inode
    has not changed is not read again, unless `recheck`.
    """
    revision = archive.revision(target.repo, target.ref)
    here = {e.path: e for e in revision.files if archive.holds(e)}
    _refuse_missing(revision, here, wanted)
    choice = choose([(path, e.size) for path, e in here.items()], wanted, engine)
    entries = [here[path] for path in choice.files]
    _check(archive, entries, recheck=recheck, control=control)
    folder = None
    if choice.engine == TRANSFORMERS:
        root = archive.layout.links / "run" / f"{revision.repo}" / revision.id.hex
        link(archive, Target(target.repo, revision.id.hex), cache=None, folder=root)
        folder = root / choice.folder
    paths = tuple(archive.path(entry.sha256) for entry in entries if entry.sha256 is not None)
    return Prepared(revision, choice, paths, folder)


def _refuse_missing(revision: Revision, here: dict[str, FileEntry], wanted: str | None) -> None:
    """Tells a file that is not archived from one that does not exist."""
    if wanted is None or wanted in here:
        return
    if any(entry.path == wanted for entry in (*revision.missing, *revision.files)):
        raise NotArchivedError(
            f"{wanted!r} is not archived", hint=f"outlast pull {revision.repo} --include {wanted!r}"
        )
    if not here:
        raise EntryNotFoundError(f"no file of {revision.repo} is here")


def _check(
    archive: Archive, entries: Iterable[FileEntry], *, recheck: bool, control: Control
) -> None:
    todo = []
    for entry in entries:
        if entry.sha256 is None:
            continue
        path = archive.path(entry.sha256)
        if recheck or not archive.index.is_checked(entry.sha256, path.stat()):
            todo.append((entry, path))
    if todo:
        total = sum(entry.size for entry, _ in todo)
        control.emit(Planned("check", todo[0][0].path, len(todo), total))
    for entry, path in todo:
        with disk.reporting(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            names = ingest(fd, None, entry.path, control)
            stat = os.fstat(fd)
        finally:
            os.close(fd)
        if entry.sha256 is None or names.sha256 != entry.sha256:
            raise CorruptError(f"{entry.path} is damaged: its sha256 is {names.sha256.short}…")
        archive.index.note_checked(entry.sha256, stat)
