"""Tells the keeper of evidence what came through a mirror, with what its hub says beside it."""

from collections.abc import Sequence

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.events import Note
from outlast.core.manifest import Revision
from outlast.fetch.beside.questions import AskedBeside, ask_beside
from outlast.sources.base import Listing, RepoClaims, Source
from outlast.store.archive import Archive
from outlast.store.evidence.acquisition import Acquisition
from outlast.store.records.file_list import entries_of, listing_digest


def record_came_through(
    archive: Archive,
    sources: Sequence[Source],
    control: Control,
    revision: Revision,
    manifest: Digest,
) -> None:
    """Keeps evidence of a revision whose last file came, and the text of its commit and the
    signatures beside it, where the hub that listed it is one of `sources` and gives them: asked
    with the operator's token, and for a few seconds at most. Whose files clients alone may read
    with tokens of their own have none.
    """
    if archive.recorder is None:
        return
    repo, commit = revision.repo, revision.id
    seen = archive.seen.get(repo)
    rows = () if seen is None else seen.of(commit, listing_digest(entries_of(revision)))
    hub = rows[0].hub if rows else ""
    beside = _asked(archive, sources, revision, hub)
    refs = [ref.name for ref in archive.refs.list(repo) if ref.commit == commit]
    text, signatures = beside.hub_commit, beside.signatures
    acquired = Acquisition(
        manifest,
        revision,
        refs[0] if refs else "",
        hub,
        hub_commit=None if text is None else text.answer(control.cancel),
        signatures=() if signatures is None else signatures.answer(control.cancel) or (),
    )
    if said := archive.recorder.record(acquired):
        control.emit(Note(said))


def _asked(
    archive: Archive, sources: Sequence[Source], revision: Revision, hub: str
) -> AskedBeside:
    source = next((one for one in sources if hub and one.name == hub), None)
    if source is None:
        return AskedBeside()
    about = archive.refs.about(revision.repo)
    facts = RepoClaims(private=about.private, gated=about.gated, tags=(), facts={})
    # A hub listed just these files: their list is its word.
    listing = Listing(revision.repo, revision.id, entries_of(revision), facts)
    return ask_beside(archive, listing, source)
