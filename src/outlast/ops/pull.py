"""Pull: archive a model from hubs, mirrors and other nodes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    DiskFullError,
    MalformedError,
    NotFoundError,
    OutlastError,
    RefusedByRulesError,
    TransientError,
    UsageError,
    WithdrawnError,
)
from outlast.core.events import Event, FileMended, Note, Planned
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.core.policy import Action
from outlast.core.sizes import human_size
from outlast.fetch.beside.questions import AskedBeside, ask_beside
from outlast.fetch.beside.statements import StatementSource, take_statements
from outlast.fetch.file_filter import Selection, admitted
from outlast.fetch.known_lists import (
    as_archived,
    confirmed,
    is_doubted,
    not_noted,
    unfinished,
)
from outlast.fetch.known_names import by_known_names
from outlast.fetch.lookalikes import lookalike_warning
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
from outlast.fetch.source_state import Patience
from outlast.fetch.transfer import Wishes
from outlast.fetch.tuning import TUNING as FETCH_TUNING
from outlast.fetch.withdrawals import noting_withdrawals
from outlast.intake.capsule_stream import held_bytes
from outlast.intake.content import Suspect
from outlast.intake.formats.chat_templates import changes, templates_of
from outlast.intake.judging import require_listing
from outlast.intake.suspects import Refusal, Suspects, of_names, refuse, warn
from outlast.node.scope import Neighbourhood
from outlast.p2p.coordinator import coordinator_for
from outlast.p2p.resolve import Found, locate
from outlast.p2p.tuning import TUNING, Tuning
from outlast.sources.base import AccessSource, Listing, Source, without_token
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.evidence.acquisition import Acquisition
from outlast.store.garbage.trash import room_hint
from outlast.store.partials import present_bytes
from outlast.store.records.draft_writer import DraftWriter
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What a pull will do. Sizes are in bytes; interrupted downloads left `resumed` of them.
    `refused` are names in the listing that no archive can have: those files are left out. Of the
    files that globs exclude, the revision lacks those that are `left_out`: it gets those whose
    bytes are in the archive already.
    """

    repo: RepoId
    ref: str
    commit: GitOid
    source: str
    wanted: tuple[FileEntry, ...]
    excluded: tuple[FileEntry, ...]
    here: tuple[FileEntry, ...]
    to_fetch: tuple[FileEntry, ...]
    fetch_bytes: int
    resumed: int
    free: int
    unlisted: bool = False
    refused: tuple[str, ...] = ()
    left_out: tuple[FileEntry, ...] = ()
    told_by: str = ""
    """The node on the LAN whose word alone all of this is, if it is."""

    @property
    def partial(self) -> bool:
        """Whether files of the commit are left out, or may be."""
        return self.unlisted or bool(self.left_out)

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.wanted)

    @property
    def fits(self) -> bool:
        return (
            not self.to_fetch or self.fetch_bytes - self.resumed + FETCH_TUNING.reserve <= self.free
        )


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
    listing, teller = found or _locate(
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
    listing, refused = admitted(_spelled(archive, listing, target.repo, control), control.emit)
    require_listing(archive, Action.PULL, listing, _name_of(teller))
    free = disk.free_bytes(room or archive.layout.home)
    if not dry_run:
        archive.cached.keep(listing.repo, listing.commit)  # from now on it is here by hand
        mend_draft(archive, listing.repo, listing.commit, control)
    listing = as_archived(archive, listing, control)
    plan = make_plan(archive, listing, ref, _name_of(teller), selection, free=free)
    plan = replace(plan, refused=refused, left_out=_left_out(archive, plan))
    _announce(archive, plan, target, control)
    refusal = None
    if dry_run or strict:
        foreseen = of_names(plan.wanted, _paths(plan))
        if dry_run:
            warn(control, foreseen)
            return Pulled(plan, None, plan.partial, suspects=tuple(foreseen))
        refuse(foreseen)
        refusal = _refusal(archive, plan)
    _require_room(archive, plan)
    mended: list[FileMended] = []
    before = _named_before(archive, plan.repo, ref)
    beside = ask_beside(archive, listing, teller)
    with archive.writer() as writer:
        sealed = _sealed(archive, plan)
        begun = archive.load(plan.repo, plan.commit) is not None
        fetched: dict[str, int] = {}
        if sealed is not None:
            _log.info("nothing to fetch: manifest %s has every wanted file", sealed[0])
        else:
            context = FetchContext(
                archive=archive,
                writer=writer,
                sources=_trusted_with(sources, listing, teller, control),
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
    _tell_of_templates(archive, before, revision, control)
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
    _log_plan(plan)
    control.emit(Planned("pull", str(target), len(plan.wanted), plan.total_bytes, _present(plan)))
    _tell_of_lookalike(archive, plan.repo, control)


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


def _locate(
    archive: Archive,
    target: Target,
    sources: Sequence[Source],
    around: Neighbourhood | None,
    *,
    selection: Selection,
    patience: Patience,
    control: Control,
    keep: bool,
    tuning: Tuning,
) -> tuple[Listing, Source | None]:
    """What the target is, and who says so: None if no source can be reached, and files are missing
    of a commit that is here. If `keep`, it is noted what sources withdrew.
    """
    repo, ref = archive.refs.spelling(target.repo), target.ref or "main"
    try:
        with noting_withdrawals(archive, repo, control.emit, keep=keep) as emit:
            asking = replace(control, emit=emit)
            return locate(
                sources, around, target.repo, ref, asking, patience=patience, tuning=tuning
            )
    except (TransientError, WithdrawnError) as error:
        known = None if around is None else unfinished(archive, repo, ref, selection)
        if known is None:
            raise
        text = f"{error}; nodes are asked for the files of {known.commit.hex[:12]} that are missing"
        control.emit(Note(text))
        return known, None


def _name_of(teller: Source | None) -> str:
    return teller.name if teller is not None else "this archive"


def _spelled(archive: Archive, listing: Listing, asked: RepoId, control: Control) -> Listing:
    """The listing of the model under the one name that the archive has for it: its own spelling, or
    that of the source.
    """
    listing = replace(listing, repo=archive.refs.spelling(listing.repo))
    if listing.repo != asked:
        control.emit(Note(f"{asked} is archived as {listing.repo}: they are the same model"))
    return listing


def _tell_of_lookalike(archive: Archive, repo: RepoId, control: Control) -> None:
    """Warns of a model that is new here, and may be taken for one that is known."""
    if archive.commits(repo):
        return
    if said := lookalike_warning(archive, repo):
        control.emit(Note(f"warning: {said}"))


def _named_before(archive: Archive, repo: RepoId, ref: str) -> GitOid | None:
    """The commit that a ref names before the pull; None where that cannot be read."""
    try:
        return archive.find_commit(repo, ref)
    except OutlastError:
        return None


def _tell_of_templates(
    archive: Archive, before: GitOid | None, revision: Revision | None, control: Control
) -> None:
    """Tells where the ref named another commit `before`, with another chat template."""
    if revision is None or before is None or before == revision.id:
        return
    old = archive.load(revision.repo, before)
    if old is None:
        return
    if any(changes(templates_of(archive, old), templates_of(archive, revision))):
        name = f"{revision.repo}@{revision.id.hex[:12]}"
        control.emit(
            Note(
                "the chat template changed: "
                f"'outlast show {name} --template-diff {before.hex[:12]}' shows how"
            )
        )


def _paths(plan: PullPlan) -> set[str]:
    """All paths of the commit, also those that are left out."""
    return {entry.path for entry in (*plan.wanted, *plan.excluded)}


def _refusal(archive: Archive, plan: PullPlan) -> Refusal:
    """What is to judge the files that come; it has judged those that are here."""
    refusal = Refusal(archive, _paths(plan))
    for entry in plan.here:
        refusal.withholds(entry)
    refusal.check()
    return refusal


def _suspects(archive: Archive, plan: PullPlan, revision: Revision | None) -> list[Suspect]:
    wanted = {entry.path for entry in plan.wanted}
    found = Suspects(archive).of(revision) if revision is not None else []
    return [suspect for suspect in found if suspect.path in wanted]


def _trusted_with(
    sources: Sequence[Source], listing: Listing, teller: Source | None, control: Control
) -> Sequence[Source]:
    """The sources of a pull. What no hub but a neighbour calls public is asked of the hubs as
    everybody may ask: files that only the user's token opens do not become public by its word.
    """
    is_open = not listing.facts.private and not listing.facts.gated
    carry = [source for source in sources if isinstance(source, AccessSource) and source.has_token]
    if not is_open or not carry or any(teller is source for source in sources):
        return sources
    text = f"only {_name_of(teller)} calls {listing.repo} public: hubs are asked without your token"
    control.emit(Note(text))
    return [without_token(source) for source in sources]


def _log_plan(plan: PullPlan) -> None:
    """Says what the pull was decided to be, and why the result is partial where it is."""
    named = f"{plan.repo}@{plan.ref}"
    _log.info(
        "%s is commit %s, as %s says: it was the first to know it", named, plan.commit, plan.source
    )
    _log.info(
        "%d files are wanted: %d are in the archive, %d must be fetched (%d bytes, %d of them left "
        "by an interrupted download); %d bytes are free",
        len(plan.wanted),
        len(plan.here),
        len(plan.to_fetch),
        plan.fetch_bytes,
        plan.resumed,
        plan.free,
    )
    for entry in plan.to_fetch:
        _log.debug("fetch %s: no intact copy with its digest is in the archive", entry.path)
    if plan.left_out:
        left_out = len(plan.left_out)
        _log.info("the revision is partial: --include and --exclude leave out %d files", left_out)
    if plan.unlisted:
        _log.info("the revision is partial: %s gave no whole list of files", plan.source)


def _require_room(archive: Archive, plan: PullPlan) -> None:
    if not plan.fits:
        raise DiskFullError(
            f"{plan.repo} needs {human_size(plan.fetch_bytes - plan.resumed)} more, and "
            f"{human_size(FETCH_TUNING.reserve)} have to stay free; {human_size(plan.free)} are "
            f"free in {archive.layout.home}",
            hint=room_hint(archive.layout),
        )


def _held(archive: Archive, plan: PullPlan, revision: Revision | None) -> int:
    paths = {entry.path for entry in plan.wanted}
    return held_bytes(archive, [e for e in revision.files if e.path in paths] if revision else ())


def _present(plan: PullPlan) -> int:
    return sum(entry.size for entry in plan.here) + plan.resumed


def make_plan(
    archive: Archive, listing: Listing, ref: str, source: str, selection: Selection, *, free: int
) -> PullPlan:
    """Compares a listing, which has safe names alone, with the archive."""
    wanted, excluded = selection.split(listing.entries)
    if listing.entries and not wanted:
        raise NotFoundError(
            f"no file of {listing.repo} matches", hint=f"check {selection.written_as}"
        )
    _check_sizes(wanted)
    held = {} if (old := archive.load(listing.repo, listing.commit)) is None else _by_path(old)
    doubted = is_doubted(archive, listing.repo, listing.commit, listing.told_by)
    if doubted:
        held = confirmed(archive, held, wanted)
    here: list[FileEntry] = []
    to_fetch: list[FileEntry] = []
    ownership = archive.ownership()
    for entry in wanted:
        known = held.get(entry.path)
        if known is None and not (doubted and entry.sha256 is None):
            known = archive.known(entry)
        if (
            known is not None
            and archive.holds(known)
            and not _contradicts(known, entry)
            and known.sha256 is not None
            and (entry.path in held or ownership.is_free_for(listing.repo, known.sha256))
        ):
            here.append(replace(known, path=entry.path))
        else:
            to_fetch.append(entry)
    resumed = {e.key: present_bytes(archive.layout, e.key, e.size) for e in to_fetch}
    return PullPlan(
        repo=listing.repo,
        ref=ref,
        commit=listing.commit,
        source=source,
        wanted=tuple(wanted),
        excluded=tuple(excluded),
        here=tuple(here),
        to_fetch=tuple(to_fetch),
        fetch_bytes=sum({e.key: e.size for e in to_fetch}.values()),
        resumed=sum(resumed.values()),
        free=free,
        unlisted=listing.unlisted,
        told_by=listing.told_by,
    )


def _left_out(archive: Archive, plan: PullPlan) -> tuple[FileEntry, ...]:
    """Which of the excluded files the revision will lack. (`strict` may leave out more of them.)"""
    if not plan.excluded:
        return ()
    known = archive.load(plan.repo, plan.commit)
    if known is not None and _sealed(archive, plan) is not None:
        return tuple(entry for entry in plan.excluded if entry.path not in _by_path(known))
    return tuple(not_noted(archive, plan.repo, plan.commit, plan.excluded, plan.told_by))


def _check_sizes(entries: Sequence[FileEntry]) -> None:
    """Refuses a listing that gives one digest two sizes."""
    sizes: dict[str, int] = {}
    for entry in entries:
        if sizes.setdefault(entry.key, entry.size) != entry.size:
            raise MalformedError(f"the listing gives two sizes for the bytes of {entry.path!r}")


def _by_path(revision: Revision) -> dict[str, FileEntry]:
    return {entry.path: entry for entry in revision.files}


def _contradicts(known: FileEntry, entry: FileEntry) -> bool:
    return (known.size, known.git_sha1) != (entry.size, entry.git_sha1) or (
        entry.sha256 is not None and known.sha256 != entry.sha256
    )


def _sealed(archive: Archive, plan: PullPlan) -> tuple[Digest, bool] | None:
    """The manifest that lists every wanted file already, and whether it is partial."""
    digests = archive.index.manifests_of(plan.repo, plan.commit)
    revision = archive.load(plan.repo, plan.commit)
    if plan.to_fetch or not digests or revision is None or revision.digest != digests[0]:
        return None
    if archive.drafts.exists(plan.repo, plan.commit):  # sealing drops the draft
        return None
    if revision.unlisted or is_doubted(archive, plan.repo, plan.commit, plan.told_by):
        return None  # the source has listed the commit now
    wanted = {entry.path for entry in plan.wanted}
    return (digests[0], revision.partial) if wanted <= _by_path(revision).keys() else None


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
    if teller is not None and refusal is None and _is_new(archive, plan):
        # An interrupted pull knows then what to go on with. What may be refused has no name yet.
        remember(archive, writer, listing, plan.ref, teller, cancel=control.cancel)
    what = (plan.repo, plan.commit)
    with DraftWriter(
        archive, writer, what, control.emit, listed=bool(plan.told_by)
    ) as draft_writer:
        mend_bases(context, plan.to_fetch)
        missing = []
        for entry in plan.to_fetch:
            if (whole := _whole_again(archive, plan, entry)) is not None:
                draft_writer.note(whole, already=True)
            else:
                missing.append(entry)
        for entry in plan.here:
            if entry.sha256 is not None and writer.lease(entry.sha256, entry.size):
                draft_writer.note(entry, already=True)
            else:  # garbage-collected since the plan was made
                missing.append(entry)
        return fetch_files(context, plan.repo, plan.commit, missing, draft_writer).received


def _whole_again(archive: Archive, plan: PullPlan, entry: FileEntry) -> FileEntry | None:
    """A file whose bytes are here after all, because what they depend on was mended."""
    known = archive.known(entry)
    if known is None or known.sha256 is None or not archive.holds(known):
        return None
    doubted = is_doubted(archive, plan.repo, plan.commit, plan.told_by)
    if doubted or _contradicts(known, entry) or not archive.is_free_for(plan.repo, known.sha256):
        return None
    return replace(known, path=entry.path)


def _is_new(archive: Archive, plan: PullPlan) -> bool:
    """Whether the archive has nothing by this name yet."""
    known = archive.refs.read(plan.repo)
    return not known.damaged and archive.find_commit(plan.repo, plan.ref) is None


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
