"""Doctor: find problems of this machine or archive, and how to fix each of them."""

import contextlib
import importlib.util
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import ExhaustedError, IntegrityError, OutlastError, StorageError
from outlast.core.events import Planned, Progress
from outlast.intake.local_file import ingest
from outlast.intake.suspects import Suspects
from outlast.ops.file_system import abilities, attempts
from outlast.ops.tuning import TUNING, Tuning
from outlast.store import disk
from outlast.store.archive import Archive, BlobInfo
from outlast.store.copies import Copy, all_copies
from outlast.store.garbage.evidence import gather
from outlast.store.garbage.trash import Trash
from outlast.store.index import load_manifest
from outlast.store.layout import Layout
from outlast.store.records.survey import survey
from outlast.store.soundness import sums
from outlast.store.uses import file_name
from outlast.store.writer import WriteSession, orphans

_log = logging.getLogger(__name__)

_MIN_SQLITE = (3, 37, 0)
_NAMED = 10
_ASIDE = "quarantine/"
"""Damaged small files that are named."""


class Health(StrEnum):
    """How bad a finding is: `WRONG` makes the exit status of `outlast doctor` 1."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, and how to fix what it found (`mend`)."""

    check: str
    health: Health
    text: str
    mend: str = ""


def examine(home: Path, tuning: Tuning = TUNING) -> Iterator[Finding]:
    """Checks this machine, then the archive at `home`; changes nothing."""
    for finding in _examine(home, tuning):
        _log.debug("checked %s: %s: %s", finding.check, finding.health.value, finding.text)
        yield finding


def _examine(home: Path, tuning: Tuning) -> Iterator[Finding]:
    yield _python()
    yield from _engines()
    layout = Layout(home)
    if not layout.marker.exists() and not layout.second_of(layout.marker).exists():
        text = f"no archive at {home} yet"
        yield Finding("archive", Health.NOTE, text, "'outlast pull' or 'outlast add' creates one")
        return
    try:
        layout.check()
    except OutlastError as error:
        yield Finding("archive", Health.WRONG, str(error), error.hint)
        return
    yield Finding("archive", Health.OK, str(home))
    yield _space(home, tuning.low_space)
    yield _file_system(layout)
    yield from _content(home)


def examine_folder(folder: Path) -> Iterator[Finding]:
    """Tries in `folder` what an archive needs of a file system; leaves nothing there. Raises
    :class:`NotFoundError` and :class:`StorageError` as `abilities` does.
    """
    for one in abilities(folder):
        bad = Health.WRONG if one.needed else Health.NOTE
        yield Finding(
            one.name, bad if one.problem else Health.OK, one.problem or "works", one.effect
        )


def rebuild(home: Path, control: Control | None = None) -> int:
    """Recreates the index from the archive's plain files, and the sums of blobs where they are
    missing or damaged: those are read wholly. Returns the number of manifests. Where it is
    cancelled, the index is lacking, and the next use of the archive makes it anew.
    """
    control = control or Control()
    layout = Layout(home)
    layout.check()
    with disk.reporting(layout.manifests):
        sizes = [path.stat().st_size for path in layout.manifests.glob("*.json")]
    control.emit(Planned("rebuild", "index", len(sizes), sum(sizes)))

    def read(size: int) -> None:
        control.cancel.check()
        control.emit(Progress("index", size))

    with Archive(home) as archive:
        count = archive.index.rebuild(read)
        archive.forms.capsules()  # reads their trailers
        for blob in archive.plain_blobs():
            if sums.is_needed(blob.size):
                _renew_sums(archive, blob, control)
        return count


def _renew_sums(archive: Archive, blob: BlobInfo, control: Control) -> None:
    """Hashes a plain blob whose sums are missing or damaged, and writes them. What is found not to
    be the blob is noted as damaged.
    """
    layout, digest = archive.layout, blob.digest
    if sums.load(layout.sums_of(digest), digest, blob.size) is not None:
        return
    control.emit(Planned("check", f"blob {digest.short}", 1, blob.size))
    with contextlib.suppress(FileNotFoundError), open(layout.blob(digest), "rb") as file:
        stat = os.fstat(file.fileno())  # before the bytes, so that a write meanwhile shows
        names = ingest(file.fileno(), None, f"blob {digest.short}", control)
        archive.soundness.judge(digest, stat, names, "doctor")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sqlite3.sqlite_version_info < _MIN_SQLITE:
        text = f"Python {version} with SQLite {sqlite3.sqlite_version}"
        return Finding("python", Health.WRONG, text, "outlast needs SQLite 3.37 or newer")
    return Finding("python", Health.OK, f"{version}, SQLite {sqlite3.sqlite_version}")


def _engines() -> Iterator[Finding]:
    for package, extra, what in (
        ("xllamacpp", "run", "GGUF models"),
        ("transformers", "transformers", "safetensors models"),
    ):
        if importlib.util.find_spec(package) is None:
            mend = f"pip install '.[{extra}]' in a checkout of outlast"
            yield Finding(f"run {what}", Health.NOTE, f"{package} is not installed", mend)
        else:
            from importlib.metadata import version  # noqa: PLC0415 - all features import this

            found = version(package)
            yield Finding(f"run {what}", Health.OK, f"{package} {found}")


def _space(home: Path, low: int) -> Finding:
    free = disk.free_bytes(home)
    health = Health.OK if free >= low else Health.NOTE
    mend = "" if free >= low else "'outlast gc --now' deletes bytes that no revision needs"
    return Finding("room", health, f"{free / 1e9:.1f} GB free", mend)


def _file_system(layout: Layout) -> Finding:
    """Tries the operations that outlast needs: durable writes, locks, links."""
    try:
        # In the folder of a session: garbage collection takes others for those of dead processes.
        with WriteSession(layout) as session:
            session.require_one_disk()
            failed = [one for one in attempts(session.folder) if one.problem]
    except StorageError as error:
        return Finding("file system", Health.WRONG, str(error), error.hint)
    except (OSError, ExhaustedError) as error:
        return Finding(
            "file system", Health.NOTE, f"not tried: {error}", ExhaustedError.default_hint
        )
    if not failed:
        return Finding("file system", Health.OK, "writes, locks and links work")
    health = Health.WRONG if any(one.needed for one in failed) else Health.NOTE
    text = "; ".join(f"{one.name}: {one.problem}" for one in failed)
    return Finding("file system", health, text, "; ".join(one.effect for one in failed))


def _content(home: Path) -> Iterator[Finding]:
    try:
        with Archive(home) as archive:
            yield from _records(archive)
            yield from _manifests(archive)
            yield _index(archive)
            yield from _damage(archive)
            yield from _capsules(archive)
            yield from _copies(archive)
            yield from _unreadable(archive)
            yield _drafts(archive)
            yield _refs(archive)
            yield _leftovers(archive)
            yield _suspects(archive)
    except IntegrityError as error:
        yield Finding("index", Health.WRONG, str(error), "outlast doctor --rebuild")
    except ExhaustedError as error:  # it says nothing about the archive
        yield Finding("archive", Health.NOTE, f"not examined to the end: {error}", error.hint)
    except OutlastError as error:
        yield Finding("archive", Health.WRONG, str(error), error.hint)


def _records(archive: Archive) -> Iterator[Finding]:
    found = survey(archive)
    if not found.damaged:
        yield Finding("records", Health.OK, f"{found.count} small files pass their checks")
    mend = "'outlast doctor --mend' restores it, or sets it aside and says what is lost"
    for damage in found.damaged[:_NAMED]:
        yield Finding("records", Health.WRONG, damage.text, mend)
    more = len(found.damaged) - _NAMED
    if more > 0:
        text = f"{more} more are damaged ('outlast verify' lists them)"
        yield Finding("records", Health.WRONG, text, mend)


def _manifests(archive: Archive) -> Iterator[Finding]:
    folder = archive.layout.manifests
    paths = [folder / name for name in disk.listed(folder) if name.endswith(".json")]
    bad = absent = 0
    for path in paths:
        try:
            with disk.reporting(path):
                revision = load_manifest(archive.layout, _digest(path))
        except (IntegrityError, StorageError):
            bad += path.exists()  # else another process replaced it
            continue
        absent += sum(not archive.lies_here(entry) for entry in revision.files)
    if bad:
        mend = "'outlast verify --quarantine' moves them away; then pull again"
        yield Finding(
            "manifests", Health.WRONG, f"{bad} of {len(paths)} are damaged or cannot be read", mend
        )
    else:
        yield Finding("manifests", Health.OK, f"{len(paths)} read")
    if absent:
        mend = "'outlast verify' lists the files; pull the models again"
        yield Finding("blobs", Health.WRONG, f"the bytes of {absent} files are missing", mend)
    else:
        yield Finding("blobs", Health.OK, "none is missing ('outlast verify' re-hashes them)")


def _damage(archive: Archive) -> Iterator[Finding]:
    """What was seen by those who read blobs."""
    known = archive.damage.all()
    mend = "'outlast scrub' mends it, or pull the models again ('outlast ls' names them)"
    for blob in sorted(known)[:_NAMED]:
        what = "; ".join(f"{one.describe()}, seen by {one.by} {one.seen}" for one in known[blob])
        name = file_name(archive, blob)
        yield Finding("damage", Health.WRONG, f"{name} (blob {blob.short}…): {what}", mend)
    if len(known) > _NAMED:
        text = f"{len(known) - _NAMED} more blobs are damaged"
        yield Finding("damage", Health.WRONG, text, mend)


def _suspects(archive: Archive) -> Finding:
    """Reads the heads of files whose names promise weights or data."""
    judge, found = Suspects(archive), []
    for summary in archive.summaries():
        try:
            revision = archive.load(summary.repo, summary.revision)
            suspects = judge.of(revision) if revision is not None else []
        except OutlastError:  # found by the other checks
            continue
        where = f"{summary.repo}@{summary.revision.hex[:12]}"
        found += [f"{where}: {suspect.path}: {suspect.reason}" for suspect in suspects]
    if not found:
        return Finding("content", Health.OK, "the files are what their names say")
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    mend = "'outlast show' lists them; pull the models again if their hub has better files"
    return Finding("content", Health.NOTE, "; ".join(found[:3]) + more, mend)


def _capsules(archive: Archive) -> Iterator[Finding]:
    capsules = archive.forms.capsules()
    held = archive.forms.held()
    bad = sum(form is None for form in capsules.values())
    lost = [d for d, form in held.items() if not archive.forms.lies_here(d, form.size)]
    if bad:
        text = f"the trailers of {bad} of {len(capsules)} are damaged"
        mend = "'outlast verify --quarantine' moves them away; then pull again"
        yield Finding("capsules", Health.WRONG, text, mend)
    if lost:
        text = f"the bases of {len(lost)} are missing: {', '.join(d.short for d in lost[:3])}"
        mend = "pull the base models, or the models again; 'outlast verify' lists the files"
        yield Finding("capsules", Health.WRONG, text, mend)
    doubled = len(capsules) - bad - len(held)
    if doubled:
        text = f"{doubled} exist beside the plain file"
        yield Finding(
            "capsules", Health.NOTE, text, "'outlast pack' or 'outlast gc' deletes one of the two"
        )
    if held and not bad and not lost:
        deltas = sum(bool(form.bases) for form in held.values())
        saved = sum(form.size - form.stored_bytes for form in held.values())
        kinds = f"{len(held)}, {deltas} of them deltas" if deltas else str(len(held))
        text = f"{kinds}, save {saved / 1e9:.1f} GB"
        yield Finding("capsules", Health.OK, text)


def _copies(archive: Archive) -> Iterator[Finding]:
    """Working copies, as far as their inodes tell."""
    copies = list(all_copies(archive.layout))
    if not copies:
        return
    changed = [copy for copy in copies if not _is_unchanged(archive, copy)]
    if changed:
        names = ", ".join(f"{copy.digest.short}…" for copy in changed[:3])
        text = f"{len(changed)} of {len(copies)} changed since they were hashed: {names}"
        mend = "'outlast verify' hashes them again; with --quarantine it deletes the damaged ones"
        yield Finding("working copies", Health.NOTE, text, mend)
    else:
        text = f"{len(copies)}, unchanged since they were hashed"
        yield Finding("working copies", Health.OK, text)


def _is_unchanged(archive: Archive, copy: Copy) -> bool:
    """True also where the blob is plain: what is noted is of that file, and the copy is unused."""
    try:
        stat = os.stat(copy.path)
    except FileNotFoundError:  # dropped meanwhile
        return True
    plain = archive.layout.blob(copy.digest).exists()
    return plain or archive.index.is_checked(copy.digest, stat)


def _digest(path: Path) -> Digest:
    return Digest(path.stem)


def _index(archive: Archive) -> Finding:
    _log.debug("comparing the index with %s", archive.layout.manifests)
    if archive.index.differs():
        text = "the index is not what the manifests say, or was damaged"
        return Finding("index", Health.WRONG, text, "outlast doctor --rebuild")
    return Finding("index", Health.OK, f"{len(archive.index.summaries())} revisions")


def _unreadable(archive: Archive) -> Iterator[Finding]:
    """Records that keep blobs from being collected."""
    here = {blob.digest.hex for blob in archive.blobs()}
    records = gather(archive.layout, here).unreadable
    if records:
        names = ", ".join(f"{record.path} ({record.reason})" for record in records[:3])
        text = f"{len(records)} cannot be relied on, and 'outlast gc' keeps what they may name: "
        mend = "pull the models again, or 'outlast gc --discard RECORD' gives one up"
        # What was set aside was seen, and is mended as far as it can be.
        aside = all(record.path.startswith(_ASIDE) for record in records)
        yield Finding("records", Health.NOTE if aside else Health.WRONG, text + names, mend)
    waiting = Trash(archive.layout).size()
    if waiting:
        text = f"{waiting / 1e9:.1f} GB wait to be deleted"
        mend = "'outlast gc --now' deletes them, 'outlast gc --undo' puts them back"
        yield Finding("trash", Health.NOTE, text, mend)


def _drafts(archive: Archive) -> Finding:
    states = archive.drafts.states()
    drafts = [state.revision for state in states if state.revision is not None]
    if not drafts:
        return Finding("unfinished", Health.OK, "no interrupted pull")
    names = ", ".join(f"{draft.repo}@{draft.id.hex[:12]}" for draft in drafts[:3])
    mend = "pull again to resume, or remove them with 'outlast rm'"
    return Finding("unfinished", Health.NOTE, f"{len(drafts)}: {names}", mend)


def _refs(archive: Archive) -> Finding:
    lost = []
    for repo in archive.refs.repos():
        refs = archive.refs.list(repo)  # first: what one names is here before it
        commits = set(archive.commits(repo))
        lost += [f"{repo}@{ref.name}" for ref in refs if ref.commit not in commits]
    if lost:
        text = f"the revisions of {len(lost)} are missing: {', '.join(lost[:3])}"
        return Finding(
            "refs", Health.WRONG, text, "pull the model again, or remove the ref with 'outlast rm'"
        )
    return Finding("refs", Health.OK, "every ref points to a revision")


def _leftovers(archive: Archive) -> Finding:
    dead = orphans(archive.layout)
    if dead:
        text = f"{dead} folders of processes that died"
        return Finding("tmp", Health.NOTE, text, "'outlast gc' deletes them")
    return Finding("tmp", Health.OK, "nothing left behind")
