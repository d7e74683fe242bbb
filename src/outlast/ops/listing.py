"""List and show: the figures behind ``outlast ls`` and ``outlast show``."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DamagedRecordError, OutlastError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.core.records.lineage import LineageRecord
from outlast.intake.content import Suspect
from outlast.intake.suspects import Suspects
from outlast.store.archive import Archive
from outlast.store.forms import StoredForm
from outlast.store.index import Summary
from outlast.store.records.equals import Equal, Equals
from outlast.store.records.facts import About
from outlast.store.records.lineage import FamilyMember, family_of, lineage_of
from outlast.store.records.refs import Ref, RefsRead
from outlast.store.records.unconfirmed import Told


class Order(Enum):
    """By the name of the model, by the size of the files (the largest first), or by date (the
    newest first); in each case by name then.
    """

    NAME = "name"
    SIZE = "size"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class RevisionLine:
    """A revision with its refs. `stored` are the bytes that its blobs take on the disk, each blob
    once, and bases of other models not counted. Of those, `own` are in no line before this one, so
    that they add up to what all lines take. `capsules` of its files are compressed, `thin` of those
    are deltas; `bases` names the models that they are deltas against. `observed` is when a source
    last said that one of the refs names the revision (ISO 8601; None if none said so), `date` the
    same, or else when the revision's record was written. `unconfirmed`: a node on the LAN alone
    said which files it has, or that a ref is this revision. `about`: what is known of the model.
    """

    summary: Summary
    refs: tuple[str, ...]
    stored: int
    own: int
    date: dt.datetime
    observed: str | None = None
    capsules: int = 0
    thin: int = 0
    bases: tuple[str, ...] = ()
    unconfirmed: bool = False
    about: About = field(default_factory=About)
    damaged: int = 0
    """Blobs of it that are known to be damaged, or depend on one that is."""


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A ref or a draft that cannot be read, and its file in the archive."""

    repo: RepoId
    revision: GitOid | None
    ref: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Family:
    """What a revision was made from, by its own `record`, and the `tree` of its bases and what was
    made of them, as far as they are here. `fault`: why its record cannot be read.
    """

    record: LineageRecord | None = None
    tree: FamilyMember | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """One revision in full. `shared` counts bytes that other revisions have too; `absent` lists
    files whose bytes are lost. `forms` maps each blob to its representation, `bases` each base to
    the models that it belongs to, `spaces` each blob to its bytes on the disk, `firsts` each blob
    to the first path that has it. `suspects` are not what their names say.
    """

    revision: Revision
    manifest: Digest | None
    refs: tuple[Ref, ...]
    about: About
    shared: int
    absent: tuple[FileEntry, ...]
    forms: Mapping[Digest, StoredForm]
    bases: Mapping[Digest, tuple[str, ...]]
    spaces: Mapping[Digest, int]
    firsts: Mapping[Digest, str]
    damaged_refs: Mapping[str, DamagedRecordError] = field(default_factory=dict)
    is_known: bool = True
    """Whether what is known of the model can be read; else it counts as private."""
    suspects: tuple[Suspect, ...] = ()
    told: Told | None = None
    """Who on the LAN alone said which files it has, and since when that is not confirmed."""
    equals: tuple[Equal, ...] = ()
    """Models of other places that have files of it, as `locate` saw."""
    damaged: Mapping[Digest, str] = field(default_factory=dict)
    """Its blobs that are known to be damaged, and in which way, for people."""
    family: Family = field(default_factory=Family)

    @property
    def stored(self) -> int:
        """Bytes that its blobs take on the disk, each blob once."""
        return sum(self.spaces.values())


@dataclass(frozen=True, slots=True)
class Contents:
    """The revisions of an archive, and the records that cannot be read."""

    lines: tuple[RevisionLine, ...]
    damaged: tuple[DamagedLine, ...]


def list_revisions(
    archive: Archive,
    patterns: Sequence[str] = (),
    *,
    order: Order = Order.NAME,
    reverse: bool = False,
    partial: bool = False,
) -> Contents:
    """Every revision whose model matches one of the globs `patterns`, in an order; with `partial`
    only those that lack files. And the refs and drafts of such models that cannot be read.
    """
    refs: dict[RepoId, RefsRead] = {}
    abouts: dict[RepoId, About] = {}
    summaries = archive.summaries()
    marked = archive.unconfirmed.all()
    named = []
    for summary in summaries:
        repo = summary.repo
        if not _matches(repo, patterns) or (partial and not summary.partial):
            continue
        if repo not in refs:
            refs[repo] = archive.refs.read(repo)
            abouts[repo] = archive.refs.about(repo)
        told = (repo, summary.revision) in marked
        named.append(_named(archive, summary, refs[repo], abouts[repo], told=told))
    named = _sorted(named, order, reverse=reverse)
    stored = _Stored(archive, summaries)
    lines = tuple(stored.line(each) for each in named)
    others = (repo for repo in archive.refs.repos() if repo not in refs)
    refs |= {repo: archive.refs.read(repo) for repo in others if _matches(repo, patterns)}
    return Contents(lines, _damaged(archive, patterns, refs))


def _damaged(
    archive: Archive, patterns: Sequence[str], refs: Mapping[RepoId, RefsRead]
) -> tuple[DamagedLine, ...]:
    found = [
        DamagedLine(state.repo, state.commit, None, str(state.error))
        for state in archive.drafts.states()
        if state.error is not None and _matches(state.repo, patterns)
    ]
    found += [
        DamagedLine(repo, None, name, str(error))
        for repo, read in refs.items()
        for name, error in read.damaged.items()
    ]
    return tuple(sorted(found, key=lambda line: (line.repo, line.problem)))


@dataclass(frozen=True, slots=True)
class _Named:
    """A revision with the refs that name it, its date, whether a node on the LAN alone told of it,
    and what is known of its model.
    """

    summary: Summary
    refs: tuple[str, ...]
    date: dt.datetime
    observed: str | None
    unconfirmed: bool
    about: About


def _named(
    archive: Archive, summary: Summary, read: RefsRead, about: About, *, told: bool
) -> _Named:
    refs = [ref for ref in read.refs if ref.commit == summary.revision]
    observed = max((ref.observed for ref in refs if ref.observed), default=None)
    names = tuple(ref.name for ref in refs)
    moment = _moment(observed) or _written(archive, summary)
    unconfirmed = told or any(ref.unconfirmed for ref in refs)
    return _Named(summary, names, moment, observed, unconfirmed, about)


def _moment(text: str | None) -> dt.datetime | None:
    with contextlib.suppress(ValueError):
        found = dt.datetime.fromisoformat(text or "")
        return found.astimezone(dt.UTC) if found.tzinfo is not None else None
    return None


def _written(archive: Archive, summary: Summary) -> dt.datetime:
    """When the manifest was written, or a draft last. 1970 where it is gone by now."""
    layout, digest = archive.layout, summary.digest
    draft = layout.draft(summary.repo, summary.revision)
    path = draft if digest is None else layout.manifest(digest)
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except (OSError, ValueError, OverflowError):  # or a time that no calendar has
        return dt.datetime.fromtimestamp(0, dt.UTC)


def _sorted(found: Iterable[_Named], order: Order, *, reverse: bool) -> list[_Named]:
    """In order; they are sorted by name already."""
    keys: dict[Order, Callable[[_Named], float]] = {
        Order.NAME: lambda _: 0.0,
        Order.SIZE: lambda each: -each.summary.size,
        Order.DATE: lambda each: -each.date.timestamp(),
    }
    placed = sorted(found, key=keys[order])
    return placed[::-1] if reverse else placed


def _matches(repo: RepoId, patterns: Sequence[str]) -> bool:
    """Whether a model is to be listed; without patterns, all are."""
    return not patterns or any(fnmatchcase(str(repo), pattern) for pattern in patterns)


class _Stored:
    """How much space each revision of an archive takes. Asks the file system for the size of every
    blob, reads the rest from the index, and opens only capsules that the index does not know.
    """

    def __init__(self, archive: Archive, summaries: Sequence[Summary]) -> None:
        self._archive = archive
        self._held = archive.forms.held()
        self._spaces = archive.forms.spaces()
        sealed = [summary.digest for summary in summaries if summary.digest is not None]
        self._blobs = archive.index.blobs_of(sealed)
        self._counted: set[Digest] = set()
        self._damaged = archive.damaged_blobs()
        base_digests = {b.sha256 for form in self._held.values() for b in form.bases}
        self._owners = owners(archive, base_digests, summaries)

    def _blobs_of(self, summary: Summary) -> list[Digest]:
        if summary.digest is not None:
            return self._blobs.get(summary.digest, [])
        draft = self._archive.load(summary.repo, summary.revision)
        return [e.sha256 for e in draft.files if e.sha256] if draft is not None else []

    def line(self, named: _Named) -> RevisionLine:
        summary = named.summary
        files = self._blobs_of(summary)
        forms = [self._held[digest] for digest in files if digest in self._held]
        blobs = set(files)
        own = blobs - self._counted
        self._counted |= own
        thin = [form for form in forms if form.bases]
        names = {n for form in thin for b in form.bases for n in self._owners.get(b.sha256, ())}
        return RevisionLine(
            summary=summary,
            refs=named.refs,
            stored=sum(self._spaces.get(digest, 0) for digest in blobs),
            own=sum(self._spaces.get(digest, 0) for digest in own),
            date=named.date,
            observed=named.observed,
            capsules=len(forms),
            thin=len(thin),
            bases=tuple(sorted(names - {str(summary.repo)} or names)),
            unconfirmed=named.unconfirmed,
            about=named.about,
            damaged=len(blobs & self._damaged),
        )


def owners(
    archive: Archive, blobs: Iterable[Digest], summaries: Iterable[Summary]
) -> dict[Digest, tuple[str, ...]]:
    """The models with a manifest that has the blob, by blob."""
    repos = {summary.digest: str(summary.repo) for summary in summaries}
    found: dict[Digest, set[str]] = {}
    for manifest, blob in archive.index.uses(blobs):
        if manifest in repos:
            found.setdefault(blob, set()).add(repos[manifest])
    return {blob: tuple(sorted(names)) for blob, names in found.items()}


def show(archive: Archive, target: Target) -> Details:
    """Everything that the archive knows about one revision."""
    revision = archive.revision(target.repo, target.ref)
    digests = [e.sha256 for e in revision.files if e.sha256 is not None]
    sizes = {e.key: e.size for e in revision.files}
    drafted = archive.drafts.exists(revision.repo, revision.id)
    users = archive.index.users(set(digests))
    shared = sum(sizes[name] for name, count in users.items() if count > (0 if drafted else 1))
    read = archive.refs.read(revision.repo)
    refs = [ref for ref in read.refs if ref.commit == revision.id]
    forms = {digest: form for digest in digests if (form := archive.forms.of(digest)) is not None}
    base_digests = {base.sha256 for form in forms.values() for base in form.bases}
    return Details(
        revision=revision,
        manifest=None if drafted else revision.digest,
        refs=tuple(refs),
        about=archive.refs.about(revision.repo),
        shared=shared,
        absent=tuple(e for e in revision.files if not archive.lies_here(e)),
        damaged=_damage(archive, digests),
        forms=forms,
        bases=owners(archive, base_digests, archive.summaries()) if base_digests else {},
        damaged_refs=read.damaged,
        is_known=archive.refs.is_known(revision.repo),
        firsts={e.sha256: e.path for e in reversed(revision.files) if e.sha256 is not None},
        spaces={digest: archive.forms.space_of(digest) for digest in forms},
        suspects=tuple(Suspects(archive).of(revision)),
        told=archive.unconfirmed.get(revision.repo, revision.id),
        equals=_equals(archive, revision),
        family=Family() if drafted else _family(archive, revision),
    )


def _family(archive: Archive, revision: Revision) -> Family:
    try:
        return Family(lineage_of(archive, revision), family_of(archive, revision))
    except OutlastError as error:
        return Family(fault=str(error))


def _damage(archive: Archive, digests: Iterable[Digest]) -> dict[Digest, str]:
    known, damaged = archive.damage.all(), archive.damaged_blobs()
    return {
        digest: "; ".join(one.describe() for one in known.get(digest, ())) or "its base is damaged"
        for digest in digests
        if digest in damaged
    }


def _equals(archive: Archive, revision: Revision) -> tuple[Equal, ...]:
    known = (archive.equals.get(revision.repo) or Equals()).known
    return tuple(one for one in known if one.commit == revision.id)
