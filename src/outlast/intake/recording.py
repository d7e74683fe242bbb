"""Tells the keeper of evidence, where there is one, how a revision came into the archive."""

from collections.abc import Mapping

from outlast.core.control import Control
from outlast.core.events import Note
from outlast.core.manifest import Revision
from outlast.store.archive import Archive
from outlast.store.evidence.acquisition import Acquisition


def record_acquired(
    archive: Archive,
    control: Control,
    revision: Revision,
    source: str,
    *,
    ref: str = "",
    fetched: Mapping[str, int] | None = None,
) -> None:
    """Keeps evidence of a revision that is here under its manifest. Nothing is undone where that
    fails: it is said.
    """
    if archive.recorder is None:
        return
    digest = revision.digest
    if not archive.layout.manifest(digest).exists():  # files of it are still to come
        return
    acquired = Acquisition(digest, revision, ref, source, fetched=fetched or {})
    if said := archive.recorder.record(acquired):
        control.emit(Note(said))
