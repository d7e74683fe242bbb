"""Import: what a bundle holds becomes part of an archive, verified file by file."""

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from outlast.codec import merkle
from outlast.codec.bundle.contents import (
    ATTESTATIONS,
    BundledBlob,
    BundledModel,
    BundledRef,
    Record,
)
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import (
    DiskFullError,
    IntegrityError,
    MalformedError,
    NotArchivedError,
    NotFoundError,
    OutlastError,
    RefusedByRulesError,
)
from outlast.core.events import FileDone, FileProblem, Planned
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.core.policy import Action
from outlast.core.sizes import human_size
from outlast.features.bundle.buffers import Buffers
from outlast.features.bundle.ordered import InOrder
from outlast.features.bundle.spare_blocks import SpareBlocks
from outlast.features.bundle.take_catalogues import take_catalogues
from outlast.features.bundle.take_payload import Received, keep, receive
from outlast.features.bundle.tuning import TUNING, Tuning
from outlast.fetch.revision import forget, seal, start_draft
from outlast.fetch.tuning import TUNING as FETCH_TUNING
from outlast.intake.judging import require_listing
from outlast.intake.recording import record_acquired
from outlast.sources.base import Listing, RepoClaims
from outlast.sources.bundle.opened import OpenBundle
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.garbage.trash import room_hint
from outlast.store.index import load_manifest
from outlast.store.records.attestations import MAX_ATTESTATION, MOST_FROM_OTHERS, SUFFIX
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)
_BATCH: Final = 64
"""Files that are acknowledged together."""
_LARGE: Final = 64 * 1024 * 1024
"""Bytes of a file that is acknowledged at once."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something of a bundle that was not taken: a file, a revision, a ref or a whole model."""

    what: str
    reason: str
    code: str


@dataclass(slots=True)
class Imported:
    """What became of one bundle. `revisions` are those that are whole in the archive now, with
    those of them that are `new`; of the refs, `moved` name another commit than before or are new,
    `kept` stayed although the bundle says something else. `statements`: signed ones that are new;
    `catalogues`: those that came along, which prove nothing yet.
    """

    bundle: OpenBundle
    revisions: list[Revision] = field(default_factory=list)
    new: list[Revision] = field(default_factory=list)
    unfinished: list[Revision] = field(default_factory=list)
    new_blobs: int = 0
    new_bytes: int = 0
    had_files: int = 0
    moved: list[str] = field(default_factory=list)
    kept: list[Refused] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    repaired: int = 0
    statements: int = 0
    catalogues: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether everything of it is in the archive."""
        return not self.refused and not self.unfinished


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file of a revision whose blob is still to come."""

    repo: RepoId
    commit: GitOid
    entry: FileEntry


def import_bundle(
    archive: Archive, bundle: OpenBundle, control: Control, tuning: Tuning = TUNING
) -> Imported:
    """Takes what the archive lacks of a bundle. What cannot be taken is noted, and the rest goes
    on; what came stays, and another call goes on from there. Raises :class:`DiskFullError` before
    the first byte where there is no room for it.
    """
    with archive.writer() as writer:
        job = _Import(archive, writer, bundle, control, tuning)
        with SpareBlocks(writer.temp(), bundle.geometry.layout.block) as spare:
            bundle.blocks.spare = spare
            try:
                job.run()
            finally:
                bundle.blocks.spare = None
    job.result.repaired = bundle.blocks.repaired
    job.record()
    return job.result


@dataclass(frozen=True, slots=True)
class _Came:
    """A payload that was received, or why it could not be."""

    payload: BundledBlob
    found: Received | OutlastError

    def close(self) -> None:
        if isinstance(self.found, Received):
            self.found.close()


class _Import:
    def __init__(
        self,
        archive: Archive,
        writer: WriteSession,
        bundle: OpenBundle,
        control: Control,
        tuning: Tuning,
    ) -> None:
        self._archive = archive
        self._writer = writer
        self._bundle = bundle
        self._control = control
        self._tuning = tuning
        self._source = f"bundle:{bundle.id.short}"
        self._wanted: dict[Digest, list[_Wanted]] = {}
        self._pending: dict[tuple[RepoId, GitOid], list[FileEntry]] = {}
        self._begun: list[tuple[BundledModel, RepoId, Revision]] = []
        self._buffers = Buffers(merkle.PIECE, tuning.under_way)
        self.result = Imported(bundle)

    def run(self) -> None:
        for model in self._bundle.contents.models:
            self._begin(model)
        payloads = self._needed()
        self._require_room(payloads)
        files = sum(map(len, self._wanted.values()))
        size = sum(payload.length for payload in payloads)
        self._control.emit(Planned("import", self._source, files, size))
        # One payload is decoded, synced and published while the next comes from the medium.
        keeping = InOrder[_Came](self._keep, "keep", after=_Came.close, most=1)
        try:
            for payload in payloads:
                self._control.cancel.check()
                keeping.put(self._receive(payload))
            keeping.settle()
        finally:
            keeping.abandon()
            self._acknowledge()
        self._finish()
        for name, fault in take_catalogues(self._archive, self._bundle):
            if fault is None:
                self.result.catalogues.append(name)
            else:
                self._refuse(f"catalogue {name}", fault)

    # Revisions

    def _begin(self, model: BundledModel) -> None:
        """Notes what is known of a model, then the files of its revisions, before any comes."""
        try:
            repo = self._archive.refs.spelling(model.repo)
            self._archive.refs.refuse_twin(repo)
            revisions = [*self._revisions(model, repo)]
            if revisions:
                self._note_about(model, repo)
        except OutlastError as error:
            self._refuse(str(model.repo), error)
            return
        for revision in revisions:
            try:
                self._start(repo, revision)
            except OutlastError as error:
                self._refuse(f"{repo} at {revision.id.hex[:12]}", error)
            else:
                self._begun.append((model, repo, revision))

    def _revisions(self, model: BundledModel, repo: RepoId) -> Iterator[Revision]:
        """Those that the bundle has; those that it only assumes must be here."""
        for digest in model.manifests:
            try:
                revision = self._bundle.manifest(digest)
                if revision is None:
                    self.result.revisions.append(self._assumed(digest))
                    continue
                if revision.repo.folded != model.repo.folded:
                    raise IntegrityError(f"the manifest is that of {revision.repo}")
            except OutlastError as error:
                self._refuse(f"{repo}: manifest {digest.short}", error)
                continue
            revision = replace(revision, repo=repo)
            try:
                self._require_allowed(model, revision)
            except RefusedByRulesError as error:
                self._refuse(f"{repo} at {revision.id.hex[:12]}", error)
                continue
            yield revision

    def _require_allowed(self, model: BundledModel, revision: Revision) -> None:
        """Raises :class:`RefusedByRulesError` where the rules do not allow a revision, as far as
        the bundle tells.
        """
        entries = (*revision.files, *revision.missing)
        facts = RepoClaims(model.private, model.gated, model.tags, dict(model.facts))
        listing = Listing(revision.repo, revision.id, entries, facts, revision.unlisted)
        require_listing(self._archive, Action.PULL, listing, self._source)

    def _assumed(self, digest: Digest) -> Revision:
        """A revision that came with an earlier bundle, or some other way."""
        if not self._archive.layout.manifest(digest).exists():
            since = self._bundle.contents.since
            what = f"bundle {since.digest.short}" if since and since.sequence else "another bundle"
            raise NotArchivedError(f"it came with {what}", hint="import that one first")
        return load_manifest(self._archive.layout, digest)

    def _start(self, repo: RepoId, revision: Revision) -> None:
        entries = (*revision.files, *revision.missing)
        old = self._archive.load(repo, revision.id)
        _refuse_other_list(old, revision)
        if old is not None and not old.partial and self._holds_all(revision):
            self.result.had_files += len(revision.files)
            return
        start_draft(
            self._archive,
            self._writer,
            repo,
            revision.id,
            entries,
            unlisted=revision.unlisted,
        )
        draft = self._archive.load(repo, revision.id)
        held = {entry.path for entry in draft.files} if draft is not None else set()
        for entry in revision.files:
            assert entry.sha256 is not None
            if entry.path in held:
                self.result.had_files += 1
            elif (known := self._known(repo, entry)) is not None:
                self.result.had_files += 1
                self._pending.setdefault((repo, revision.id), []).append(known)
            else:
                wanted = _Wanted(repo, revision.id, entry)
                self._wanted.setdefault(entry.sha256, []).append(wanted)

    def _known(self, repo: RepoId, entry: FileEntry) -> FileEntry | None:
        """A file of a draft that was begun before, if its bytes have come some other way since."""
        known = self._archive.known(entry)
        if known is None or known.sha256 is None:
            return None
        is_here = self._writer.lease(known.sha256, known.size)
        return known if is_here and self._archive.is_free_for(repo, known.sha256) else None

    def _holds_all(self, revision: Revision) -> bool:
        return all(map(self._archive.holds, revision.files))

    def _note_about(self, model: BundledModel, repo: RepoId) -> None:
        """What is private or gated, here or there, is so from now on. Notes of an operator do not
        travel, in neither direction.
        """
        old = self._archive.refs.about(repo)
        said = About(facts=dict(model.facts))
        facts = {key: text for key, text in model.facts.items() if key not in said.notes}
        about = About(
            old.private or model.private,
            old.gated or model.gated,
            model.tags or old.tags,
            {**old.facts, **facts},
        )
        self._archive.refs.put_about(self._writer, repo, about)

    # Payloads

    def _needed(self) -> list[BundledBlob]:
        """The payloads to take, bases first, each with all that it depends on."""
        payloads = self._bundle.payloads
        needed: set[Digest] = set()
        stack = [blob for blob in self._wanted if blob in payloads]
        while stack:
            blob = stack.pop()
            if blob in needed:
                continue
            needed.add(blob)
            stack.extend(
                base
                for base in payloads[blob].bases
                if base in payloads and not self._writer.lease(base, payloads[base].size)
            )
        for blob in self._wanted.keys() - payloads.keys():
            for wanted in self._wanted[blob]:
                reason = "it is not in the bundle, which builds on another one"
                self._refuse_file(wanted, reason, NotArchivedError.code)
        return [found for found in self._bundle.contents.payloads if found.blob in needed]

    def _require_room(self, payloads: Sequence[BundledBlob]) -> None:
        size = sum(payload.length for payload in payloads)
        home = self._archive.layout.home
        free = disk.free_bytes(home)
        if payloads and size + FETCH_TUNING.reserve > free:
            raise DiskFullError(
                f"the bundle needs {human_size(size)}, and {human_size(FETCH_TUNING.reserve)} have "
                f"to stay free; {human_size(free)} are free in {home}",
                hint=room_hint(self._archive.layout),
            )

    def _receive(self, payload: BundledBlob) -> "_Came":
        try:
            return _Came(
                payload,
                receive(
                    self._writer.temp(),
                    self._bundle,
                    payload,
                    self._buffers,
                    control=self._control,
                    tuning=self._tuning,
                ),
            )
        except (IntegrityError, NotFoundError) as error:
            return _Came(payload, error)

    def _keep(self, came: "_Came") -> None:
        """In a thread of its own, which alone changes what is noted of files until it ends."""
        payload, found = came.payload, came.found
        wanted = self._wanted.get(payload.blob, [])
        try:
            if isinstance(found, OutlastError):
                raise found
            names = keep(self._archive, self._writer, found, self._control)
        except (IntegrityError, NotFoundError) as error:
            for one in wanted:
                self._refuse_file(one, str(error), error.code)
            return
        self.result.new_blobs += 1
        self.result.new_bytes += payload.length
        for one in wanted:
            self._note(one, names)

    def _note(self, wanted: _Wanted, names: Names) -> None:
        if problem := wanted.entry.mismatch(names):
            self._refuse_file(wanted, problem, "integrity")
            return
        pending = self._pending.setdefault((wanted.repo, wanted.commit), [])
        pending.append(wanted.entry.with_names(names))
        if sum(map(len, self._pending.values())) >= _BATCH or names.size >= _LARGE:
            self._acknowledge()

    def _acknowledge(self) -> None:
        for (repo, commit), entries in self._pending.items():
            self._archive.acknowledge(self._writer, repo, commit, entries)
            for entry in entries:
                self._control.emit(FileDone(entry.path, entry.size, entry.key))
        self._pending.clear()

    def record(self) -> None:
        """Keeps evidence of the revisions that came. After the session's end: it has its own."""
        for revision in self.result.new:
            record_acquired(self._archive, self._control, revision, self._source)

    # What follows from them

    def _finish(self) -> None:
        whole: set[tuple[RepoId, GitOid]] = set()
        for _, repo, revision in self._begun:
            known = self._archive.load(repo, revision.id)
            paths = {entry.path for entry in known.files} if known is not None else set()
            if not paths.issuperset(entry.path for entry in revision.files):
                self.result.unfinished.append(revision)
                continue
            if self._archive.drafts.load(repo, revision.id) is not None:
                try:
                    seal(self._archive, self._writer, repo, revision.id, source=self._source)
                except RefusedByRulesError as error:
                    self._refuse(f"{repo} at {revision.id.hex[:12]}", error)
                    forget(self._archive, repo, revision.id)
                    continue
                self.result.new.append(revision)
            self.result.revisions.append(revision)
            whole.add((repo, revision.id))
        for record in self._bundle.contents.records:
            if record.path.startswith(ATTESTATIONS):
                self._take_statement(record)
        for model in self._bundle.contents.models:
            repo = self._archive.refs.spelling(model.repo)
            for ref in model.refs:
                if (repo, ref.commit) in whole or self._is_sealed(repo, ref.commit):
                    self._move(repo, ref)

    def _take_statement(self, record: Record) -> None:
        """Keeps a signed statement about a manifest that is here now. Who signed it, is asked when
        claims are.
        """
        manifest, _, name = record.path.removeprefix(ATTESTATIONS).partition("/")
        if not Digest.is_valid(manifest) or name != f"{record.sha256}{SUFFIX}":
            return
        try:
            if record.size > MAX_ATTESTATION:
                raise MalformedError("a signed statement that is too large")
            data = self._bundle.record(record)
            add = self._archive.attestations.add
            if add(self._writer, Digest(manifest), data, most=MOST_FROM_OTHERS) is not None:
                self.result.statements += 1
        except NotArchivedError:
            _log.info("%s is about a manifest that is not here", record.path)
        except OutlastError as error:
            self._refuse(record.path, error)

    def _is_sealed(self, repo: RepoId, commit: GitOid) -> bool:
        """Whether an earlier bundle, or a pull, brought a revision."""
        sealed = self._archive.index.manifests_of(repo, commit)
        return bool(sealed) and self._archive.drafts.load(repo, commit) is None

    def _move(self, repo: RepoId, said: BundledRef) -> None:
        """Points a ref at its commit, unless the archive saw it later, or cannot tell."""
        try:
            old = self._archive.refs.get(repo, said.name)
            if old is not None and old.commit == said.commit and old.observed >= said.observed:
                return
            if old is not None and (reason := _stays(old, said)):
                self.result.kept.append(Refused(f"{repo}@{said.name}", reason, "policy"))
                return
            complete = None if old is None else old.complete
            new = Ref(said.name, said.commit, self._source, said.observed, said.kind, complete)
            self._archive.refs.put(self._writer, repo, new)
        except OutlastError as error:
            self._refuse(f"{repo}@{said.name}", error)
        else:
            self.result.moved.append(f"{repo}@{said.name}")

    def _refuse(self, what: str, error: OutlastError) -> None:
        _log.info("%s is refused: %s", what, error)
        self.result.refused.append(Refused(what, str(error), error.code))
        self._control.emit(FileProblem(what, str(error), error.code))

    def _refuse_file(self, wanted: _Wanted, reason: str, code: str) -> None:
        what = f"{wanted.repo}: {wanted.entry.path}"
        self.result.refused.append(Refused(what, reason, code))
        self._control.emit(FileProblem(what, reason, code))


def _refuse_other_list(old: Revision | None, new: Revision) -> None:
    """What is here of a commit stays as it is: a bundle may complete it, and change nothing."""
    if old is None:
        return
    here = {entry.path: entry for entry in (*old.files, *old.missing)}
    for entry in (*new.files, *new.missing):
        known = here.get(entry.path)
        if known is None:
            if not old.unlisted:
                raise IntegrityError(f"the archive knows this commit without {entry.path!r}")
            continue
        both = known.sha256 is not None and entry.sha256 is not None
        if known.size != entry.size or (both and known.sha256 != entry.sha256):
            raise IntegrityError(f"the archive knows another {entry.path!r} of this commit")


def _stays(old: Ref, said: BundledRef) -> str:
    """Why a ref does not move; empty if it does."""
    if not old.observed or not said.observed:
        return "" if old.commit == said.commit else "which commit is the newer one is not known"
    if dt.datetime.fromisoformat(old.observed) >= dt.datetime.fromisoformat(said.observed):
        return f"the archive saw it at {old.observed}, the bundle at {said.observed}: it is older"
    return ""
