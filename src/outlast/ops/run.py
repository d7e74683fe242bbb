"""Run: choose the files of a revision to run, check them, and prepare them for an engine."""

import contextlib
import logging
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from outlast.core.control import Control
from outlast.core.errors import (
    CodeNotAllowedError,
    CorruptError,
    EntryNotFoundError,
    NotArchivedError,
)
from outlast.core.events import Planned
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import Target
from outlast.core.policy import Action
from outlast.engines.choose import TRANSFORMERS, EngineChoice, choose
from outlast.engines.transformers import CodeFile
from outlast.intake.file_names import names_in
from outlast.intake.formats.code_files import is_code
from outlast.intake.formats.model_code import ModelCode
from outlast.intake.formats.withheld import unsafe_files
from outlast.intake.judging import allowed
from outlast.intake.local_file import ingest
from outlast.intake.vouched import FindAssessor, require_vouched
from outlast.intake.working_copies import Working
from outlast.ops.export import lay_out
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.forms import stamp_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that is ready for an engine: `paths` are its files in the order of `choice` (for
    llama.cpp), `folder` has them under their own names (for transformers). The files stay until
    `Prepared` is closed. `refs` are the names of the revision: its id and the refs to it. `code`:
    the files of code that were allowed, by their path in `folder`.
    `compared` are the stamps of the files as they were when they were compared.
    """

    revision: Revision
    refs: tuple[str, ...]
    choice: EngineChoice
    paths: tuple[Path, ...]
    folder: Path | None
    working: Working
    compared: Mapping[Path, str]
    code: Mapping[str, CodeFile]

    def confirm(self) -> None:
        """Call this once the engine has its files open, and before it answers: what it has are the
        files that were compared. Raises :class:`CorruptError` where one of them is another.
        """
        for path, stamp in self.compared.items():
            with disk.reporting(path):
                found = stamp_of(path.stat())
            if found != stamp:
                raise CorruptError(
                    f"{path.name[:12]}… changed while the engine loaded it",
                    hint="run the same command again: it compares the files anew",
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.working.close()


def prepare(
    archive: Archive,
    target: Target,
    *,
    wanted: str | None,
    engine: str | None,
    recheck: bool,
    budget: int | None = None,
    assessor: FindAssessor = lambda: None,
    code: ModelCode | None = None,
    control: Control,
) -> Prepared:
    """Chooses the files of `target` to run (`wanted` names one, or is a glob) and checks that they
    are still right: by the sums of their pieces; with `recheck`, by their sha256. What was compared
    since it changed is not read again, unless `recheck`. Files that are stored as capsules are
    decoded to working copies, of at most `budget` bytes together. Close the result. Raises
    :class:`~outlast.core.errors.RevokedError` for what is not to be used any more, and
    :class:`~outlast.core.errors.UnvouchedError` for what nothing speaks for, where no rules weigh
    claims: `assessor` gives what checks them. `code`: what the engine may import.
    """
    revision = archive.revision(target.repo, target.ref)
    verdict = allowed(archive, Action.RUN, revision)
    archive.revocations.refuse(revision)
    if not verdict.weighs_claims:
        require_vouched(archive, revision, shlex.quote(str(target)), assessor)
    archive.cached.keep(revision.repo, revision.id)
    here = {e.path: e for e in revision.files if archive.lies_here(e)}
    _refuse_missing(revision, here, wanted)
    choice = choose([(path, e.size) for path, e in here.items()], wanted, engine)
    entries = [here[path] for path in choice.files]
    imported = _imported(code, revision, here, choice)
    checked = [*entries, *imported.values()]
    _log.info("runs %s with %s: %s", ", ".join(choice.files), choice.engine, choice.why)
    before = _stamps(archive.layout.blob(e.sha256) for e in checked if e.sha256 is not None)
    working = Working(archive, budget, control)
    try:
        working.prepare(checked)
        _check(archive, working, checked, recheck=recheck, control=control)
        after = _stamps(working.path(e) for e in checked if e.sha256 is not None)
        folder = None
        if choice.engine == TRANSFORMERS:
            folder = _folder(archive, working, revision, entries, choice.folder)
        paths = tuple(working.path(entry) for entry in entries if entry.sha256 is not None)
    except BaseException:
        working.close()
        raise
    named = [ref.name for ref in archive.refs.list(target.repo) if ref.commit == revision.id]
    compared = {**after, **{path: stamp for path, stamp in before.items() if path in after}}
    names = (*named, revision.id.hex)
    files = {
        path: CodeFile(str(working.path(entry)), entry.sha256.hex)
        for path, entry in imported.items()
        if entry.sha256 is not None
    }
    return Prepared(revision, names, choice, paths, folder, working, compared, files)


def _imported(
    code: ModelCode | None,
    revision: Revision,
    here: Mapping[str, FileEntry],
    choice: EngineChoice,
) -> dict[str, FileEntry]:
    """The files of code below the folder of the model, by their path in it. Raises
    :class:`NotArchivedError`, and :class:`CodeNotAllowedError` where the name has come to mean
    another revision since the code was looked at.
    """
    if code is None or choice.engine != TRANSFORMERS:
        return {}
    if code != ModelCode.of(revision):
        raise CodeNotAllowedError(f"the code of {revision.repo} changed meanwhile")
    inner = f"{choice.folder}/" if choice.folder else ""
    paths = [path for path, _ in code.files if path.startswith(inner)]
    for path in paths:
        if path not in here:
            raise NotArchivedError(
                f"{path!r} is not archived", hint=f"outlast pull {code.repo} --include {path!r}"
            )
    return {path.removeprefix(inner): here[path] for path in paths}


def _stamps(paths: Iterable[Path]) -> dict[Path, str]:
    """Of those that are there. Names that a file gets or loses meanwhile do not count."""
    found = {}
    for path in paths:
        with disk.reporting(path), contextlib.suppress(FileNotFoundError):
            found[path] = stamp_of(path.stat())
    return found


def _folder(
    archive: Archive, working: Working, revision: Revision, entries: list[FileEntry], inner: str
) -> Path:
    """The folder `inner` below one with `entries`, some of which are in `inner` itself, and all
    other files of the revision that are stored plain, but for pickles and code.
    """
    root = archive.layout.links / "run" / f"{revision.repo}" / revision.id.hex
    plain = [e for e in revision.files if e.sha256 and archive.forms.plain_size(e.sha256) == e.size]
    unsafe = unsafe_files(archive, plain)
    plain = [e for e in plain if e.path not in unsafe and not is_code(e.path)]
    working.prepare(plain)
    shown = {e.path: e for e in (*plain, *entries)}
    # Copies get symbolic links, so that a run does not keep them for ever.
    with disk.reporting(root):
        names = names_in(root, shown)
        lay_out(working, shown.values(), root, names, hold=False)
    one = next((e.path for e in entries if e.path.rpartition("/")[0] == inner), None)
    return root / (names[one].rpartition("/")[0] if one is not None else inner)


def _refuse_missing(revision: Revision, here: dict[str, FileEntry], wanted: str | None) -> None:
    """Raises if `wanted` is a file that the archive does not hold."""
    if wanted is None or wanted in here:
        return
    if any(entry.path == wanted for entry in (*revision.missing, *revision.files)):
        raise NotArchivedError(
            f"{wanted!r} is not archived", hint=f"outlast pull {revision.repo} --include {wanted!r}"
        )
    if not here:
        raise EntryNotFoundError(f"no file of {revision.repo} is in the archive")


def _check(
    archive: Archive,
    working: Working,
    entries: Iterable[FileEntry],
    *,
    recheck: bool,
    control: Control,
) -> None:
    todo = []
    for entry in entries:
        if entry.sha256 is None:
            continue
        stat = working.path(entry).stat()
        changed = working.is_copy(entry) and not archive.index.is_checked(entry.sha256, stat)
        if recheck or changed:
            why = "--recheck" if recheck else "it changed since it was last hashed, or never was"
            _log.info("hashing %s again: %s", entry.path, why)
            todo.append(entry)
    if todo:
        control.emit(Planned("check", todo[0].path, len(todo), sum(e.size for e in todo)))
    for entry in todo:
        problem = _damage(archive, working.path(entry), entry, control)
        if problem and working.is_copy(entry):
            _log.warning("%s; making the working copy again", problem)
            working.drop(entry)
            working.prepare([entry])  # verified while it is made
        elif problem:
            raise CorruptError(problem)


def _damage(archive: Archive, path: Path, entry: FileEntry, control: Control) -> str:
    """What is wrong with the file of an entry; empty if it is intact."""
    with disk.reporting(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stat = os.fstat(fd)  # before the bytes, so that a write meanwhile shows
        names = ingest(fd, None, entry.path, control)
    finally:
        os.close(fd)
    if entry.sha256 is not None and path == archive.layout.blob(entry.sha256):
        archive.soundness.judge(entry.sha256, stat, names, "run")
    if entry.sha256 is None or names.sha256 != entry.sha256:
        return f"{entry.path} is damaged: its sha256 is {names.sha256.short}…"
    archive.index.note_checked(entry.sha256, stat)
    return ""
