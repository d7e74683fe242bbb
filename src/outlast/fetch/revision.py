"""The files of one revision: its draft, the transfer, the manifest, and what is noted of it."""

import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from outlast.codec.hashing import names_of
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DamagedRecordError, NotFoundError, OutlastError, TakenDownError
from outlast.core.events import Note
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.core.policy import Action, enforce
from outlast.core.threads import interruptible
from outlast.fetch.job import Watch
from outlast.fetch.known_lists import confirmed, is_doubted, names_itself
from outlast.fetch.scheduler import transfer
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.fetch.transfer import Claim, Coordinator, Wishes, Work
from outlast.fetch.tuning import TUNING
from outlast.fetch.withdrawals import noting_withdrawals
from outlast.intake.base_finder import BaseFinder
from outlast.intake.base_names import is_card
from outlast.intake.capsule_stream import Intake
from outlast.intake.judging import judge, require_revision
from outlast.sources.base import AccessSource, Listing, Source
from outlast.sources.kinds import is_hub
from outlast.store.archive import MIN_PREFIX, Archive
from outlast.store.records.draft_writer import DraftWriter
from outlast.store.records.facts import About
from outlast.store.records.file_list import listing_digest
from outlast.store.records.refs import Ref
from outlast.store.records.seen import SeenRevision, SeenRevisions
from outlast.store.records.unconfirmed import Told
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)

MakeCoordinator: TypeAlias = Callable[[Work, bool], Coordinator]
"""Makes the coordinator of a transfer, given whether that is restricted."""


@dataclass(frozen=True, slots=True)
class FetchContext:
    """From where to fetch, to where, and how."""

    archive: Archive
    writer: WriteSession
    sources: Sequence[Source]
    wishes: Wishes
    control: Control
    coordinator: MakeCoordinator | None = None
    restricted: bool = False
    """Whether what is fetched is private or gated."""
    withholds: Callable[[FileEntry], bool] = lambda _entry: False
    """Whether a verified file is not to be part of the revision; called from several threads."""
    claim: Claim = lambda _size: True
    """Asked before more of the disk is used than the files take."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The files with all of their names, and the bytes received, by source."""

    files: tuple[FileEntry, ...]
    received: dict[str, int]


def start_draft(
    archive: Archive,
    writer: WriteSession,
    repo: RepoId,
    commit: GitOid,
    entries: Sequence[FileEntry],
    *,
    unlisted: bool = False,
    told_by: str = "",
    leaves_out: Callable[[FileEntry], bool] = lambda _entry: False,
) -> None:
    """Writes down the files of a commit before the first of them comes. Files that are here
    already, from an earlier pull or another revision, and empty ones are noted at once, but for
    those that `leaves_out` says.

    `told_by`: the node on the LAN whose word alone the list is; what it says is marked. Without it
    the list takes the place of one that is so marked.
    """
    old = archive.load(repo, commit)
    held = {e.path: e for e in old.files if archive.holds(e)} if old else {}
    doubted = is_doubted(archive, repo, commit, told_by)
    if doubted:
        held = confirmed(archive, held, entries)
    nothing, ownership = names_of(b""), archive.ownership()
    for entry in entries:
        if entry.path in held:
            continue
        known = None if doubted and entry.sha256 is None else archive.known(entry)
        if leaves_out(known or entry):
            continue
        if entry.size == 0 and entry.mismatch(nothing) is None:
            archive.put(writer, b"", nothing)
            held[entry.path] = entry.with_names(nothing)
        elif (
            known is not None
            and known.sha256
            and writer.lease(known.sha256, known.size)
            and ownership.is_free_for(repo, known.sha256)
        ):
            held[entry.path] = known
    missing = [entry for entry in entries if entry.path not in held]
    draft = Revision.of(repo, commit, held.values(), missing, unlisted=unlisted)
    if doubted:
        archive.relist(writer, draft)
        return
    is_first = old is None or old.unlisted
    if told_by and is_first and not names_itself(repo, commit, entries):
        archive.unconfirmed.put(writer, repo, commit, Told(told_by, _now()))
    archive.drafts.start(writer, draft)


def fetch_files(
    context: FetchContext,
    repo: RepoId,
    commit: GitOid,
    entries: Sequence[FileEntry],
    draft_writer: DraftWriter,
    *,
    watch: Watch | None = None,
) -> Fetched:
    """Fetches `entries`, each content once. Where some do not come, raises the first error when all
    others are here; at once when cancelled, or when the disk or outlast itself fails.
    """
    with noting_withdrawals(context.archive, repo, context.control.emit) as emit:
        context = replace(context, control=replace(context.control, emit=emit))
        return _fetch_files(context, repo, commit, entries, draft_writer, watch=watch)


def _fetch_files(
    context: FetchContext,
    repo: RepoId,
    commit: GitOid,
    entries: Sequence[FileEntry],
    draft_writer: DraftWriter,
    *,
    watch: Watch | None,
) -> Fetched:
    fetched: list[FileEntry] = []
    base_finder = _base_finder(context, repo, commit)
    entries = sorted(entries, key=lambda entry: not is_card(entry.path, entry.size))
    twins: dict[str, list[FileEntry]] = {}
    for entry in entries:
        twins.setdefault(entry.key, []).append(entry)
    twins_of = {same[0].path: same for same in twins.values()}

    def done(entry: FileEntry) -> None:
        for twin in twins_of[entry.path]:
            known = replace(twin, sha256=entry.sha256, merkle_root=entry.merkle_root)
            if context.withholds(known):
                continue
            fetched.append(known)
            base_finder.names.learn_file(known)
            draft_writer.note(known)

    received: Counter[str] = Counter()
    errors: list[OutlastError] = []
    coordinator = _coordinator(context, repo, commit)
    for group, alone in _groups(context, repo, [same[0] for same in twins.values()]):
        work = Work(
            Intake(context.archive, context.writer, context.wishes.forms, base_finder),
            (repo, commit),
            context.sources,
            wishes=context.wishes,
            control=context.control,
            done=done,
            watch=watch,
            claim=context.claim,
        )
        if coordinator is not None and not alone:
            work.coordinator = coordinator(work, _is_restricted(context, repo))
        # Files that did not come keep no others back: what stops everything is raised at once.
        errors += transfer(work, group)
        received.update({source.name: source.received for source in work.sources})
        received.update(work.coordinator.shares() if work.coordinator is not None else {})
    if errors:
        raise errors[0]
    return Fetched(tuple(fetched), dict(received))


def _groups(
    context: FetchContext, repo: RepoId, entries: Sequence[FileEntry]
) -> list[tuple[list[FileEntry], bool]]:
    """The files, in those that neighbours may send and those that must come from the sources
    alone: what is here for private or gated models only. Where the source serves them as files of
    `repo`, they are that; a neighbour that trusts this node proves nothing by sending them.
    """
    archive, ownership = context.archive, context.archive.ownership()
    groups: tuple[list[FileEntry], list[FileEntry]] = ([], [])
    for entry in entries:
        blob = entry.sha256
        here = blob is not None and bool(context.sources) and archive.holds(entry)
        is_claimed = here and blob is not None and not ownership.is_free_for(repo, blob)
        groups[is_claimed].append(entry)
    return [(group, bool(alone)) for alone, group in enumerate(groups) if group]


def _coordinator(context: FetchContext, repo: RepoId, commit: GitOid) -> MakeCoordinator | None:
    """What brings in the neighbours. None for a model that the operator has stopped giving out, or
    that the rules do not allow to be shared: who takes part in a swarm gives. Raises
    :class:`TakenDownError` or :class:`RefusedByRulesError` where it has no other source.
    """
    if context.coordinator is None:
        return None
    if not context.archive.refs.about(repo).is_stopped:
        return context.coordinator if _may_share(context, repo, commit) else None
    if not context.sources:
        raise TakenDownError(
            f"{repo} is not given out, so nodes are not asked for it",
            hint="name a hub or mirror with --from; 'outlast withdraw --undo' lifts the notice",
        )
    return None


def _may_share(context: FetchContext, repo: RepoId, commit: GitOid) -> bool:
    """Whether the rules allow to share a revision. Raises where it cannot come without that."""
    revision = None if context.archive.rules.is_open else context.archive.load(repo, commit)
    if revision is None:
        return True
    verdict = judge(context.archive, Action.SHARE, revision)
    if not context.sources:
        enforce(Action.SHARE, repo, verdict)
    return verdict.allowed


def _is_restricted(context: FetchContext, repo: RepoId) -> bool:
    """Whether a model is private or gated, as far as is known."""
    about = context.archive.refs.about(repo)
    return context.restricted or about.private or bool(about.gated)


def _base_finder(context: FetchContext, repo: RepoId, commit: GitOid) -> BaseFinder:
    """Finds the bases of the files of a commit, also by the cards that are here already."""
    forms = context.wishes.forms
    base_finder = BaseFinder(context.archive, context.writer, forms, repo, commit)
    draft = context.archive.load(repo, commit) if forms.uses_bases else None
    if draft is not None:
        base_finder.names.learn_revision(draft)
    return base_finder


def seal(
    archive: Archive, writer: WriteSession, repo: RepoId, commit: GitOid, *, source: str = ""
) -> tuple[Digest, bool]:
    """Turns the draft of a commit into its manifest; its digest, and whether it is partial. Asks
    the rules once more: the card and the licence of the model are here now, which say more than
    the `source` did. Raises :class:`RefusedByRulesError`: then the draft stays.
    """
    revision = archive.load(repo, commit)
    if revision is None:
        raise NotFoundError(f"{repo} at {commit} was removed while it was fetched")
    nameless = replace(revision, commit=None)
    if nameless.id == commit:  # it never was a commit: a node made the name from the files
        revision = nameless
    require_revision(archive, Action.PULL, revision, source=source)
    return archive.put_revision(writer, revision, drafted=True), revision.partial


def forget(archive: Archive, repo: RepoId, commit: GitOid) -> None:
    """Drops a revision that was begun and may not stay, with the refs that name it. Its blobs stay
    until they are collected.
    """
    for ref in archive.refs.read(repo).refs:
        if ref.commit == commit:
            archive.refs.delete(repo, ref.name)
    archive.delete_revision(repo, commit)


def remember(
    archive: Archive,
    writer: WriteSession,
    listing: Listing,
    ref: str,
    source: Source,
    *,
    cancel: Cancel,
) -> None:
    """Notes where `ref` points, as which source said when; and what that says of the model."""
    repo = listing.repo
    note_facts(archive, writer, listing, source.name)  # first: it compares with the refs so far
    if len(ref) < MIN_PREFIX or not listing.commit.hex.startswith(ref):
        old = _known_ref(archive, repo, ref)
        kind = (old.kind if old else "") or _kind_of(source, repo, ref, cancel)
        whole = None if old is None else _last_complete(archive, repo, old, listing.commit)
        told = bool(listing.told_by)
        noted = Ref(ref, listing.commit, source.name, _now(), kind, whole, unconfirmed=told)
        archive.refs.put(writer, repo, noted)
    about = archive.refs.about(repo)
    if listing.commit.hex.startswith(ref) and isinstance(source, AccessSource):
        about = about.with_pinned(source.name, listing.commit)
    archive.refs.put_about(writer, repo, about.without_withdrawn(source.name))
    if is_hub(source.name) and listing.is_hubs_own:
        _note_seen(archive, writer, listing, source.name)


def _note_seen(archive: Archive, writer: WriteSession, listing: Listing, hub: str) -> None:
    """Keeps that a hub listed a commit to this archive itself: a ref moves on."""
    seen = archive.seen.get(listing.repo) or SeenRevisions()
    files = listing_digest(listing.entries)
    noted = seen.with_one(SeenRevision(listing.commit, hub, _now(), files))
    if noted != seen:
        archive.seen.put(writer, listing.repo, noted)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _known_ref(archive: Archive, repo: RepoId, ref: str) -> Ref | None:
    """A ref as it is noted. One that is damaged is about to be replaced."""
    try:
        return archive.refs.get(repo, ref)
    except DamagedRecordError as error:
        _log.warning("%s", error)
        return None


def mend_draft(archive: Archive, repo: RepoId, commit: GitOid, control: Control) -> None:
    """Sets the draft of a commit aside if it is damaged, and keeps what can be read of it: the
    list of its files comes from a source again.
    """
    state = archive.drafts.state(repo, commit)
    if state is None or state.error is None:
        return
    with archive.writer() as writer:
        if archive.drafts.salvage(writer, repo, commit) is not None:
            control.emit(Note(f"{state.error}; it is set aside and written anew"))


def may_open(archive: Archive, repo: RepoId, source: str) -> bool:
    """Whether `source` may say that a private or gated model has become public: all refs that are
    here came from it, and all commits of hubs without one. Another source may call something else
    by the same name.
    """
    read = archive.refs.read(repo)
    tellers = {ref.source for ref in read.refs} | archive.refs.about(repo).pinned.keys()
    return not read.damaged and tellers <= {source, ""}


def note_facts(archive: Archive, writer: WriteSession, listing: Listing, source: str) -> None:
    """Keeps what the source of this name says of a model. Nodes only know whether it is restricted:
    then the rest stays as it was. Nodes never lift a restriction, nor do sources that what is here
    did not come from.
    """
    facts = listing.facts
    old = archive.refs.about(listing.repo)
    about = About(facts.private, facts.gated, facts.tags, {**old.notes, **facts.facts})
    is_bare = not facts.tags and not facts.facts
    if is_bare or not (old.is_open or may_open(archive, listing.repo, source)):
        kept = old if is_bare else about
        private, gated = facts.private or old.private, facts.gated or old.gated
        about = replace(kept, private=private, gated=gated)
    archive.refs.put_about(writer, listing.repo, about)


def _last_complete(archive: Archive, repo: RepoId, old: Ref, commit: GitOid) -> GitOid | None:
    """The commit that a ref named last and of which everything is here, while the newest is not.
    What a node on the LAN said alone is none.
    """
    if old.commit == commit or old.unconfirmed or archive.unconfirmed.get(repo, old.commit):
        return old.complete
    try:
        revision = archive.load(repo, old.commit)
    except DamagedRecordError:  # so it is not complete
        revision = None
    return old.complete if revision is None or revision.partial else old.commit


def _kind_of(source: Source, repo: RepoId, ref: str, cancel: Cancel) -> str:
    """Whether a ref is a branch or a tag. Nice to know, so a source that does not say is fine."""
    if ref == "main" or ref.startswith("refs/"):
        return "branch"
    try:
        found = interruptible(lambda: source.refs(repo, timeout=TUNING.kind_timeout), cancel)
    except SOURCE_FAULTS:
        return ""
    kinds = {remote.name: remote.kind for remote in found}
    return "tag" if kinds.get(ref) == "tags" else "branch"
