"""Pull: archive a model from hubs, mirrors and other nodes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import RefusedByRulesError, UsageError
from outlast.core.events import Event, FileMended, Note, Planned
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import Target
from outlast.core.policy import Action
from outlast.fetch.beside.questions import AskedBeside, ask_beside
from outlast.fetch.beside.statements import StatementSource, take_statements
from outlast.fetch.file_filter import Selection, admitted
from outlast.fetch.known_lists import as_archived
from outlast.fetch.known_names import by_known_names
from outlast.fetch.mending import mend_bases
from outlast.fetch.revision import (
    FetchContext,
    fetch_files,
    forget,
    mend_draft,
    note_facts,
    remember,
    seal,
    start_draft,
)
from outlast.fetch.transfer import Wishes
from outlast.intake.capsule_stream import held_bytes
from outlast.intake.content import Suspect
from outlast.intake.judging import require_listing
from outlast.intake.suspects import Refusal, Suspects, of_names, refuse, warn
from outlast.node.scope import Neighbourhood
from outlast.ops.pulling.naming import (
    find_target,
    name_of,
    named_before,
    spelled,
    tell_of_lookalike,
    tell_of_templates,
    trusted_with,
)
from outlast.ops.pulling.plan import (
    PullPlan,
    is_new,
    left_out_of,
    log_plan,
    make_plan,
    require_room,
    sealed_as,
    whole_again,
)
from outlast.p2p.coordinator import coordinator_for
from outlast.p2p.resolve import Found
from outlast.p2p.tuning import TUNING, Tuning
from outlast.sources.base import Listing, Source
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.evidence.acquisition import Acquisition
from outlast.store.records.draft_writer import DraftWriter
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pulled:
    """The result of a pull. `fetched` counts the bytes that came over the network, by source; the
    wanted files take `held` bytes of the disk. `manifest` is None in a dry run. `suspects` are not
    what their names say; in a dry run, as far as names and sizes tell.
    """

    plan: PullPlan
    manifest: Digest | None
    partial: bool
    fetched: dict[str, int] = field(default_factory=dict)
    held: int = 0
    suspects: tuple[Suspect, ...] = ()
    mended: tuple[FileMended, ...] = ()
    """Files that were here and damaged, and are right again."""


def pull(
    archive: Archive,
    target: Target,
    sources: Sequence[Source],
    *,
    selection: Selection,
    wishes: Wishes,
    control: Control,
    around: Neighbourhood | None = None,
    dry_run: bool = False,
    room: Path | None = None,
    found: Found | None = None,
    strict: bool = False,
    tuning: Tuning = TUNING,
) -> Pulled:
    """Archives `target` from `sources` and from the neighbourhood `around`. The first source that
    knows `target` decides its commit and files, or :func:`locate` says who else. If no source can
    be reached, files that are still missing of a commit that is here come from neighbours. `found`
    is the answer, if it is known. `room` is a folder on the disk that needs the space, if the
    archive does not exist yet.

    Raises the first source's error if no source knows `target`, :class:`DiskFullError` before the
    first byte if the disk has not enough space, and the first file's error if some files could not
    be fetched. Files that arrived are kept, and the same call resumes. Warns of files that are not
    what their names say; if `strict`, they do not become part of the revision, which is not sealed:
    raises :class:`SuspectContentError`, before the first byte where names and sizes tell.

    Raises :class:`RefusedByRulesError` where the archive's rules do not allow it, by what the
    source says before anything is fetched, and by the model's card when that is here.
    """
    if not sources and around is None:
        raise UsageError("no source to pull from", hint="name one with --from")
    ref = target.ref or "main"
    sources = by_known_names(archive, target.repo, sources)
    listing, teller = found or find_target(
        archive,
        replace(target, ref=ref),
        sources,
        around,
        selection=selection,
        patience=wishes.metadata_patience,
        control=control,
        keep=not dry_run,
        tuning=tuning,
    )
    listing, refused = admitted(spelled(archive, listing, target.repo, control), control.emit)
    require_listing(archive, Action.PULL, listing, name_of(teller))
    free = disk.free_bytes(room or archive.layout.home)
    if not dry_run:
        archive.cached.keep(listing.repo, listing.commit)  # from now on it is here by hand
        mend_draft(archive, listing.repo, listing.commit, control)
    listing = as_archived(archive, listing, control)
    plan = make_plan(archive, listing, ref, name_of(teller), selection, free=free)
    plan = replace(plan, refused=refused, left_out=left_out_of(archive, plan))
    _announce(archive, plan, target, control)
    refusal = None
    if dry_run or strict:
        foreseen = of_names(plan.wanted, plan.paths)
        if dry_run:
            warn(control, foreseen)
            return Pulled(plan, None, plan.partial, suspects=tuple(foreseen))
        refuse(foreseen)
        refusal = _refusal(archive, plan)
    require_room(archive, plan)
    mended: list[FileMended] = []
    before = named_before(archive, plan.repo, ref)
    beside = ask_beside(archive, listing, teller)
    with archive.writer() as writer:
        sealed = sealed_as(archive, plan)
        begun = archive.load(plan.repo, plan.commit) is not None
        fetched: dict[str, int] = {}
        if sealed is not None:
            _log.info("nothing to fetch: manifest %s has every wanted file", sealed[0])
        else:
            context = FetchContext(
                archive=archive,
                writer=writer,
                sources=trusted_with(sources, listing, teller, control),
                wishes=wishes,
                control=_collecting(control, mended),
                coordinator=coordinator_for(around, tuning),
                restricted=listing.facts.private or bool(listing.facts.gated),
            )
            if refusal is not None:
                context = replace(context, withholds=refusal.withholds)
            fetched = _fetch(context, plan, refusal, (listing, teller))
            if refusal is not None:
                refusal.check()
            sealed = _seal(archive, writer, plan, begun=begun)
        digest, partial = sealed
        if teller is not None:
            remember(archive, writer, listing, ref, teller, cancel=control.cancel)
    revision = archive.load(plan.repo, plan.commit)
    _record(archive, control, plan, digest, fetched=fetched, beside=beside)
    _take_statements(archive, revision, teller, control)
    suspects = _suspects(archive, plan, revision)
    warn(control, suspects)
    tell_of_templates(archive, before, revision, control)
    return Pulled(
        plan,
        digest,
        partial,
        fetched,
        _held(archive, plan, revision),
        tuple(suspects),
        tuple(mended),
    )


def _seal(
    archive: Archive, writer: WriteSession, plan: PullPlan, *, begun: bool
) -> tuple[Digest, bool]:
    """Seals the revision. Where its own card is against the rules, nothing of it stays that had not
    `begun` to be here before.
    """
    try:
        return seal(archive, writer, plan.repo, plan.commit, source=plan.source)
    except RefusedByRulesError:
        if not begun:
            forget(archive, plan.repo, plan.commit)
        raise


def _announce(archive: Archive, plan: PullPlan, target: Target, control: Control) -> None:
    log_plan(plan)
    control.emit(
        Planned("pull", str(target), len(plan.wanted), plan.total_bytes, plan.present_bytes)
    )
    tell_of_lookalike(archive, plan.repo, control)


def _take_statements(
    archive: Archive, revision: Revision | None, teller: object, control: Control
) -> None:
    """What the node or second home that told of a revision has of what was signed about it."""
    if revision is not None and isinstance(teller, StatementSource):
        take_statements(archive, revision, [teller], control)


def _record(
    archive: Archive,
    control: Control,
    plan: PullPlan,
    manifest: Digest,
    *,
    fetched: Mapping[str, int],
    beside: AskedBeside,
) -> None:
    """Keeps evidence of what was pulled, where a feature does."""
    revision = archive.load(plan.repo, plan.commit)
    if archive.recorder is None or revision is None:
        return
    commit, signatures = beside.hub_commit, beside.signatures
    acquired = Acquisition(
        manifest,
        revision,
        plan.ref,
        plan.source,
        plan.told_by,
        fetched,
        None if commit is None else commit.answer(control.cancel),
        () if signatures is None else signatures.answer(control.cancel) or (),
    )
    if said := archive.recorder.record(acquired):
        control.emit(Note(said))


def _collecting(control: Control, mended: list[FileMended]) -> Control:
    """The same, with an eye on what is mended."""

    def emit(event: Event) -> None:
        if isinstance(event, FileMended):
            mended.append(event)
        control.emit(event)

    return replace(control, emit=emit)


def _refusal(archive: Archive, plan: PullPlan) -> Refusal:
    """What is to judge the files that come; it has judged those that are here."""
    refusal = Refusal(archive, plan.paths)
    for entry in plan.here:
        refusal.withholds(entry)
    refusal.check()
    return refusal


def _suspects(archive: Archive, plan: PullPlan, revision: Revision | None) -> list[Suspect]:
    wanted = {entry.path for entry in plan.wanted}
    found = Suspects(archive).of(revision) if revision is not None else []
    return [suspect for suspect in found if suspect.path in wanted]


def _held(archive: Archive, plan: PullPlan, revision: Revision | None) -> int:
    paths = {entry.path for entry in plan.wanted}
    return held_bytes(archive, [e for e in revision.files if e.path in paths] if revision else ())


def _fetch(
    context: FetchContext,
    plan: PullPlan,
    refusal: Refusal | None,
    found: tuple[Listing, Source | None],
) -> dict[str, int]:
    archive, writer, control = context.archive, context.writer, context.control
    listing, teller = found
    if teller is not None:  # before peers can ask for arriving files
        note_facts(archive, writer, listing, teller.name)
    _start(context, plan, refusal)
    if teller is not None and refusal is None and is_new(archive, plan):
        # An interrupted pull knows then what to go on with. What may be refused has no name yet.
        remember(archive, writer, listing, plan.ref, teller, cancel=control.cancel)
    what = (plan.repo, plan.commit)
    with DraftWriter(
        archive, writer, what, control.emit, listed=bool(plan.told_by)
    ) as draft_writer:
        mend_bases(context, plan.to_fetch)
        missing = []
        for entry in plan.to_fetch:
            if (whole := whole_again(archive, plan, entry)) is not None:
                draft_writer.note(whole, already=True)
            else:
                missing.append(entry)
        for entry in plan.here:
            if entry.sha256 is not None and writer.lease(entry.sha256, entry.size):
                draft_writer.note(entry, already=True)
            else:  # garbage-collected since the plan was made
                missing.append(entry)
        return fetch_files(context, plan.repo, plan.commit, missing, draft_writer).received


def _start(context: FetchContext, plan: PullPlan, refusal: Refusal | None) -> None:
    excluded = {entry.path for entry in plan.excluded}

    def leaves_out(entry: FileEntry) -> bool:
        return refusal is not None and entry.path in excluded and refusal.leaves_out(entry)

    start_draft(
        context.archive,
        context.writer,
        plan.repo,
        plan.commit,
        (*plan.wanted, *plan.excluded),
        unlisted=plan.unlisted,
        told_by=plan.told_by,
        leaves_out=leaves_out,
    )
    # A mirror may have met it in between; now that there is a draft, none marks it any more.
    context.archive.cached.keep(plan.repo, plan.commit)
