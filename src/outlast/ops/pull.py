"""Pull: archive a model from hubs and mirrors."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlast.codec.hashing import names_of
from outlast.model.cancel import Cancel
from outlast.model.control import Control
from outlast.model.digest import Digest, GitOid
from outlast.model.errors import (
    DiskFullError,
    MalformedError,
    NotFoundError,
    UsageError,
)
from outlast.model.events import Planned
from outlast.model.manifest import FileEntry, Revision
from outlast.model.names import RepoId, Target, check_paths
from outlast.ops.bases import Kinship, named_by, read_tags
from outlast.ops.encoding import Intake, held_bytes
from outlast.ops.gather import Gather
from outlast.ops.lanes import SOURCE_FAULTS
from outlast.ops.locate import Found, locate
from outlast.ops.neighbourhood import Neighbourhood
from outlast.ops.pool import interruptible
from outlast.ops.scribe import Scribe
from outlast.ops.select import Selection, acceptable
from outlast.ops.transfer import transfer
from outlast.ops.work import RESERVE, Watch, Wishes, Work
from outlast.sources.base import Listing, Source
from outlast.store import disk
from outlast.store.archive import MIN_PREFIX, Archive
from outlast.store.partials import present_bytes
from outlast.store.refs import About, Ref
from outlast.store.writer import Writer

_KIND_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pull would do. Sizes are in bytes; `resumed` is what interrupted downloads left."""

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

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.wanted)

    @property
    def fits(self) -> bool:
        return not self.to_fetch or self.fetch_bytes - self.resumed + RESERVE <= self.free


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did. `fetched` counts the bytes that came over the network, by source, `held`
    those of the files that hold what was wanted; `manifest` is None in a dry run.
    """

    plan: Plan
    manifest: Digest | None
    partial: bool
    fetched: dict[str, int] = field(default_factory=dict)
    held: int = 0


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
) -> Pulled:
    """Archives `target` from `sources`, the first of which that knows it says what it is, and from
    the neighbourhood `around`, which says it where none of them does; unless it is `found`.
    `room` is where the bytes will lie, if that is not (yet) the archive's folder.

    Raises what the first source said where none knows it, :class:`DiskFullError` before the first
    byte where it does not fit, and the first file's error where some files could not be had: what
    arrived is kept, and the same call resumes.
    """
    if not sources and around is None:
        raise UsageError("no source to pull from", hint="name one with --from")
    ref = target.ref or "main"
    listing, source = found or locate(sources, around, target.repo, ref, control)
    free = disk.free_bytes(room or archive.layout.home)
    plan = make_plan(archive, listing, ref, source.name, selection, free=free)
    control.emit(Planned("pull", str(target), len(plan.wanted), plan.total_bytes, _present(plan)))
    if dry_run:
        return Pulled(plan, None, bool(plan.excluded))
    _require_room(archive, plan)
    with archive.writer() as writer:
        sealed = _sealed(archive, plan)
        fetched: dict[str, int] = {}
        if sealed is None:
            crew = Crew(
                *(archive, writer, sources, wishes, control),
                named=read_tags(listing.facts.tags),
                around=around,
                restricted=listing.facts.private or bool(listing.facts.gated),
            )
            note_facts(archive, writer, listing)  # before others can ask for what comes
            fetched = _fetch(crew, plan)
            sealed = seal(archive, writer, plan.repo, plan.commit)
        digest, partial = sealed
        remember(archive, writer, listing, ref, source, cancel=control.cancel)
    held = _held(archive, plan)
    return Pulled(plan, digest, partial, fetched, held)


def _require_room(archive: Archive, plan: Plan) -> None:
    if not plan.fits:
        raise DiskFullError(
            f"{plan.repo} needs {plan.fetch_bytes - plan.resumed} more bytes; "
            f"{plan.free} are free in {archive.layout.home}"
        )


def _held(archive: Archive, plan: Plan) -> int:
    revision = archive.load(plan.repo, plan.commit)
    paths = {entry.path for entry in plan.wanted}
    return held_bytes(archive, [e for e in revision.files if e.path in paths] if revision else ())


def _present(plan: Plan) -> int:
    return sum(entry.size for entry in plan.here) + plan.resumed


def make_plan(
    archive: Archive, listing: Listing, ref: str, source: str, selection: Selection, *, free: int
) -> Plan:
    """Compares a listing with what is here. Unsafe names are refused, unless left out."""
    wanted, excluded = selection.split(listing.entries)
    if listing.entries and not wanted:
        raise NotFoundError(
            f"no file of {listing.repo} matches", hint="check --include and --exclude"
        )
    check_paths(entry.path for entry in wanted)
    _check_sizes(wanted)
    safe = acceptable((*wanted, *excluded))[len(wanted) :]
    held = {} if (old := archive.load(listing.repo, listing.commit)) is None else _by_path(old)
    here: list[FileEntry] = []
    to_fetch: list[FileEntry] = []
    for entry in wanted:
        known = held.get(entry.path) or archive.known(entry)
        if known is not None and archive.holds(known) and not _contradicts(known, entry):
            here.append(replace(known, path=entry.path))
        else:
            to_fetch.append(entry)
    resumed = {e.key: present_bytes(archive.layout, e.key, e.size) for e in to_fetch}
    return Plan(
        *(listing.repo, ref, listing.commit, source, tuple(wanted), tuple(safe)),
        *(tuple(here), tuple(to_fetch)),
        fetch_bytes=sum({e.key: e.size for e in to_fetch}.values()),
        resumed=sum(resumed.values()),
        free=free,
        unlisted=listing.unlisted,
    )


def _check_sizes(entries: Sequence[FileEntry]) -> None:
    """One content has one size."""
    sizes: dict[str, int] = {}
    for entry in entries:
        if sizes.setdefault(entry.key, entry.size) != entry.size:
            raise MalformedError(f"two sizes are declared for the bytes of {entry.path!r}")


def _by_path(revision: Revision) -> dict[str, FileEntry]:
    return {entry.path: entry for entry in revision.files}


def _contradicts(known: FileEntry, entry: FileEntry) -> bool:
    return (known.size, known.git_sha1) != (entry.size, entry.git_sha1) or (
        entry.sha256 is not None and known.sha256 != entry.sha256
    )


def _sealed(archive: Archive, plan: Plan) -> tuple[Digest, bool] | None:
    """The manifest that has all that is wanted already, and whether it is partial."""
    digests = archive.index.manifests_of(plan.repo, plan.commit)
    revision = archive.load(plan.repo, plan.commit)
    if plan.to_fetch or not digests or revision is None or revision.digest != digests[0]:
        return None
    if archive.drafts.exists(plan.repo, plan.commit):  # as complete, and sealing drops it
        return None
    if revision.unlisted:  # now somebody has listed the commit
        return None
    wanted = {entry.path for entry in plan.wanted}
    return (digests[0], revision.partial) if wanted <= _by_path(revision).keys() else None


@dataclass(frozen=True, slots=True)
class Crew:
    """Who does the fetching: from where, to where, how."""

    archive: Archive
    writer: Writer
    sources: Sequence[Source]
    wishes: Wishes
    control: Control
    named: Sequence[RepoId] = ()
    """The models that a source names as bases of what is fetched."""
    around: Neighbourhood | None = None
    restricted: bool = False
    """Whether what is fetched is private or gated."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought: files with all of their names, and the bytes received, by source."""

    files: tuple[FileEntry, ...]
    received: dict[str, int]


def _fetch(crew: Crew, plan: Plan) -> dict[str, int]:
    entries = (*plan.wanted, *plan.excluded)
    start_draft(crew.archive, crew.writer, plan.repo, plan.commit, entries, unlisted=plan.unlisted)
    what = (plan.repo, plan.commit)
    with Scribe(crew.archive, crew.writer, what, crew.control.emit) as scribe:
        missing = list(plan.to_fetch)
        for entry in plan.here:
            if entry.sha256 is not None and crew.writer.claim(entry.sha256, entry.size):
                scribe.note(entry, already=True)
            else:  # collected between the plan and now
                missing.append(entry)
        return fetch_files(crew, plan.repo, plan.commit, missing, scribe).received


def start_draft(
    archive: Archive,
    writer: Writer,
    repo: RepoId,
    commit: GitOid,
    entries: Sequence[FileEntry],
    *,
    unlisted: bool = False,
) -> None:
    """Writes down what a commit consists of, before the first file arrives. What an earlier,
    partial pull brought stays; what other revisions brought, and empty files, are here at once.
    """
    old = archive.load(repo, commit)
    held = {e.path: e for e in old.files if archive.holds(e)} if old else {}
    nothing = names_of(b"")
    for entry in entries:
        if entry.path in held:
            continue
        known = archive.known(entry)
        if entry.size == 0 and entry.mismatch(nothing) is None:
            archive.put(writer, b"", nothing)
            held[entry.path] = entry.with_names(nothing)
        elif known is not None and known.sha256 and writer.claim(known.sha256, known.size):
            held[entry.path] = known
    missing = [entry for entry in entries if entry.path not in held]
    draft = Revision.of(repo, commit, held.values(), missing, unlisted=unlisted)
    archive.drafts.start(writer, draft)


def fetch_files(
    crew: Crew,
    repo: RepoId,
    commit: GitOid,
    entries: Sequence[FileEntry],
    scribe: Scribe,
    *,
    watch: Watch | None = None,
) -> Fetched:
    """Fetches `entries`, each content once."""
    fetched: list[FileEntry] = []
    twins: dict[str, list[FileEntry]] = {}
    for entry in entries:
        twins.setdefault(entry.key, []).append(entry)
    twins_of = {same[0].path: same for same in twins.values()}

    def done(entry: FileEntry) -> None:
        for twin in twins_of[entry.path]:
            known = replace(twin, sha256=entry.sha256, merkle_root=entry.merkle_root)
            fetched.append(known)
            scribe.note(known)

    work = Work(
        Intake(crew.archive, crew.writer, crew.wishes.forms, _kinship(crew, repo, commit)),
        (repo, commit),
        crew.sources,
        wishes=crew.wishes,
        control=crew.control,
        done=done,
        watch=watch,
    )
    first = [same[0] for same in twins.values()]
    gather = None
    if crew.around is not None:
        gather = Gather(crew.around, work, restricted=_is_restricted(crew, repo))
        work.guide = gather
    errors = transfer(work, first, crew.wishes.connections) if first else []
    if errors:
        raise errors[0]
    received = {lane.name: lane.received for lane in work.lanes}
    return Fetched(tuple(fetched), received | (gather.shares() if gather is not None else {}))


def _is_restricted(crew: Crew, repo: RepoId) -> bool:
    """Whether a model is private or gated, as far as anybody said."""
    about = crew.archive.refs.about(repo)
    return crew.restricted or about.private or bool(about.gated)


def _kinship(crew: Crew, repo: RepoId, commit: GitOid) -> Kinship:
    """What the files of a commit may lean on; a card that is here already is asked too."""
    forms = crew.wishes.forms
    draft = crew.archive.load(repo, commit) if forms.leans else None
    named = [*crew.named, *(named_by(crew.archive, draft) if draft is not None else ())]
    return Kinship(crew.archive, crew.writer, forms, repo, named)


def seal(archive: Archive, writer: Writer, repo: RepoId, commit: GitOid) -> tuple[Digest, bool]:
    """Turns the draft of a commit into its manifest; its digest, and whether it is partial."""
    revision = archive.load(repo, commit)
    if revision is None:
        raise NotFoundError(f"{repo} at {commit} was removed while it was fetched")
    nameless = replace(revision, commit=None)
    if nameless.id == commit:  # it never was a commit: a node made the name from the files
        revision = nameless
    return archive.put_revision(writer, revision), revision.partial


def remember(
    archive: Archive,
    writer: Writer,
    listing: Listing,
    ref: str,
    source: Source,
    *,
    cancel: Cancel,
) -> None:
    """Notes where `ref` points, who said so and when; and what the source says of the model."""
    repo = listing.repo
    if len(ref) < MIN_PREFIX or not listing.commit.hex.startswith(ref):
        old = archive.refs.get(repo, ref)
        kind = (old.kind if old else "") or _kind_of(source, repo, ref, cancel)
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        whole = None if old is None else _last_complete(archive, repo, old, listing.commit)
        archive.refs.put(writer, repo, Ref(ref, listing.commit, source.name, now, kind, whole))
    note_facts(archive, writer, listing)


def note_facts(archive: Archive, writer: Writer, listing: Listing) -> None:
    """Keeps what a source says of a model. A node only knows whether it is restricted: then the
    rest stays as it was, and so does a restriction.
    """
    facts = listing.facts
    old = archive.refs.about(listing.repo)
    about = About(facts.private, facts.gated, facts.tags, {**old.link_facts, **facts.facts})
    if not facts.tags and not facts.facts:
        private, gated = facts.private or old.private, facts.gated or old.gated
        about = replace(old, private=private, gated=gated)
    archive.refs.put_about(writer, listing.repo, about)


def _last_complete(archive: Archive, repo: RepoId, old: Ref, commit: GitOid) -> GitOid | None:
    """The commit that a ref named last and of which everything is here, while the newest is not."""
    if old.commit == commit:
        return old.complete
    revision = archive.load(repo, old.commit)
    return old.complete if revision is None or revision.partial else old.commit


def _kind_of(source: Source, repo: RepoId, ref: str, cancel: Cancel) -> str:
    """Whether a ref is a branch or a tag. Nice to know, so a source that does not say is fine."""
    if ref == "main" or ref.startswith("refs/"):
        return "branch"
    try:
        found = interruptible(lambda: source.refs(repo, timeout=_KIND_TIMEOUT), cancel)
    except SOURCE_FAULTS:
        return ""
    kinds = {remote.name: remote.kind for remote in found}
    return "tag" if kinds.get(ref) == "tags" else "branch"
