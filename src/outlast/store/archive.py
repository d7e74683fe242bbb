"""An archive: the folder that holds models, and the only way in and out of it."""

import contextlib
import datetime as dt
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.core.closing import Closing
from outlast.core.digest import Digest, GitOid, Names
from outlast.core.errors import (
    CorruptError,
    NotArchivedError,
    NotFoundError,
    RevisionNotFoundError,
    StorageError,
    UsageError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, plain_ref
from outlast.core.policy import OPEN, ArchiveRules, Gate
from outlast.store import disk, locks, reading
from outlast.store.cached.holds import Holds
from outlast.store.cached.marks import CachedMarks
from outlast.store.evidence.removed import MOST_MANIFEST, RemovedManifests
from outlast.store.evidence.statements import is_evidence
from outlast.store.forms import MAX_LINKS, Forms, StoredForm, stamp_of
from outlast.store.index import Index, Summary
from outlast.store.layout import CAPSULE_SUFFIX, FORMAT, Layout
from outlast.store.manifests import Manifests, merge
from outlast.store.ownership import Ownership
from outlast.store.partials import CAPSULE, Partial
from outlast.store.reading import BlobReader
from outlast.store.records.attestations import Attestations
from outlast.store.records.drafts import Drafts
from outlast.store.records.equals import Equals
from outlast.store.records.holders import SeenHolders
from outlast.store.records.lineage import note_lineage
from outlast.store.records.per_model import PerModel
from outlast.store.records.records import Records
from outlast.store.records.refs import Refs
from outlast.store.records.seen import SeenRevisions
from outlast.store.records.set_aside import set_aside
from outlast.store.records.shares import Shares
from outlast.store.records.unconfirmed import Unconfirmed
from outlast.store.records.upgrade import upgrade
from outlast.store.soundness.checks import Soundness, damaged
from outlast.store.soundness.damage import DamageNotes
from outlast.store.words.accepted import AcceptedManifests
from outlast.store.words.allowed_code import CodeWords
from outlast.store.words.revocations import Revocations
from outlast.store.writer import WriteSession
from outlast.store.writer import create as create_archive

if TYPE_CHECKING:
    from outlast.core.claims import Weigher
    from outlast.core.names import KnownNames
    from outlast.store.evidence.acquisition import Recorder

MIN_PREFIX = 7
_NOT_WRITTEN = {errno.EROFS, errno.EACCES}


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as it lies on the disk."""

    digest: Digest
    size: int


class Archive(Closing):
    """The store. Thread-safe; several processes may use one archive at once. `rules` are its
    operator's: it asks none itself, and what acts on it does. `recorder`: what keeps evidence of
    pulls, if anything does. `weigher`: what weighs statements that nodes send, if anything does:
    else none is taken. `known_names`: names beside those that are archived, which new ones are
    compared with.
    """

    def __init__(self, home: Path, *, create: bool = False, gate: Gate = OPEN) -> None:
        self.layout = Layout(home)
        self.rules = ArchiveRules(gate)
        self.recorder: Recorder | None = None
        self.weigher: Weigher | None = None
        self.known_names: KnownNames | None = None
        locks.forget(self.layout.lock)
        if create:
            create_archive(self.layout)
        elif not (
            _exists(self.layout.marker) or _exists(self.layout.second_of(self.layout.marker))
        ):
            raise NotFoundError(
                f"no archive at {home}",
                hint="'outlast pull' or 'outlast add' makes one; --home or OUTLAST_HOME names it",
            )
        self.layout.check()
        if create:
            self.layout.require_marker()
        with contextlib.suppress(OSError):  # a copy may lack empty folders; one may be read-only
            self.layout.make_folders()
        self.records = Records(self.layout)
        self.refs = Refs(self.records, lambda repo: bool(self.commits(repo)))
        self.drafts = Drafts(self.records, self.refs)
        self.shares = Shares(self.records)
        self.unconfirmed = Unconfirmed(self.records)
        self.equals = PerModel(self.records, self.layout.equals, Equals)
        self.holders = PerModel(self.records, self.layout.holders, SeenHolders)
        self.seen = PerModel(self.records, self.layout.seen, SeenRevisions)
        self.attestations = Attestations(self.layout)
        self.removed = RemovedManifests(self.layout)
        self.revocations = Revocations(self.records)
        self.accepted = AcceptedManifests(self.records)
        self.code_words = PerModel(self.records, self.layout.code_words, CodeWords, twice=True)
        self.cached = CachedMarks(self.records, lambda repo, commit: commit in self.commits(repo))
        self.in_use = Holds(self.cached, self.layout.lock)
        with disk.reporting(self.layout.index):
            self.index = Index(self.layout)
        self.damage = DamageNotes(self.layout, lambda: WriteSession(self.layout))
        self.forms = Forms(self.layout, self.index, self.damage.of)
        self.soundness = Soundness(self.layout, self.index, self.damage, self._write_derived)
        self._manifests = Manifests(self.layout, self.index)

    def close(self) -> None:
        self.soundness.close()
        self.index.close()

    def _write_derived(self, path: Path, data: bytes) -> None:
        with WriteSession(self.layout) as session:
            session.write(path, data)

    def writer(self) -> WriteSession:
        """A write session; close it once a manifest or draft refers to what it put. The first one
        brings an archive of an older format up to date. Raises :class:`DamagedRecordError` where
        the marker of the archive cannot be read, :class:`StorageError` where a folder of it is on
        another file system.
        """
        marker = self.layout.require_marker()
        if marker.version < FORMAT or marker.unfinished:
            upgrade(self.records, lambda: {summary.repo for summary in self.index.summaries()})
        session = WriteSession(self.layout, self.forms, self.soundness)
        try:
            session.require_one_disk()
        except BaseException:
            session.close()
            raise
        return session

    @disk.reported
    def lock_fault(self) -> str:
        """Why locks keep no other process out of this archive; empty where they do, and where
        nothing may be written: as on a read-only file system, from which one can still serve.
        """
        try:
            return locks.fault(self.layout.lock)
        except OSError as error:
            if error.errno in _NOT_WRITTEN:
                return ""
            raise

    def require_locks(self) -> None:
        """For a server, which others may join on this folder. Raises :class:`StorageError` where
        locks would not keep them apart.
        """
        if reason := self.lock_fault():
            home = self.layout.home
            raise StorageError(
                f"{home}: {reason}, so a second server on this folder could not be noticed",
                hint="end all other servers of this archive, on every machine, and use --alone; "
                f"or mount with locks ('outlast doctor {home}' tells more)",
            )

    # Blobs

    @disk.reported
    def has(self, digest: Digest, size: int) -> bool:
        """Whether a blob is here, in either form, with every base that it depends on."""
        return self.forms.is_here(digest, size)

    @disk.reported
    def holds(self, entry: FileEntry) -> bool:
        """Whether the bytes of `entry` are here."""
        return entry.sha256 is not None and self.has(entry.sha256, entry.size)

    @disk.reported
    def refuse_damaged(self, digest: Digest) -> None:
        """Raises :class:`DamagedError` where a blob is known to be damaged."""
        if found := self.damage.of(digest):
            raise damaged(found)

    @disk.reported
    def lies_here(self, entry: FileEntry) -> bool:
        """Whether the bytes of `entry` are here, damaged or not."""
        return entry.sha256 is not None and self.forms.lies_here(entry.sha256, entry.size)

    @disk.reported
    def damaged_blobs(self) -> frozenset[Digest]:
        """The blobs that are known to be damaged, and those that depend on one of them."""
        found = set(self.damage.all())
        if found:
            held = self.forms.held()
            for _ in range(MAX_LINKS):
                found |= {d for d, f in held.items() if any(b.sha256 in found for b in f.bases)}
        return frozenset(found)

    @disk.reported
    def open_blob(self, digest: Digest, *, by: str = "read") -> BlobReader:
        """The bytes of a blob, whatever form it has. Close it. `by` says who reads, where damage is
        found and noted. Raises :class:`DamagedError` where it is known to be damaged.
        """
        return reading.open_blob(self.soundness, digest, by=by)

    @disk.reported
    def open(self, digest: Digest) -> BinaryIO:
        """The same as a file object."""
        return self.open_blob(digest).stream()

    @disk.reported
    def form_of(self, digest: Digest) -> StoredForm:
        """How a blob is held."""
        form = self.forms.of(digest)
        if form is None:
            raise NotArchivedError(f"blob {digest.short}… is not in the archive")
        return form

    @disk.reported
    def path(self, digest: Digest) -> Path:
        """The file that holds the plain bytes of a blob."""
        path = self.layout.blob(digest)
        if not path.exists():
            hint = "'outlast unpack' makes it plain" if self.forms.capsule(digest) else ""
            raise NotArchivedError(f"blob {digest.short}… is not here as a plain file", hint=hint)
        return path

    def blobs(self) -> Iterator[BlobInfo]:
        """Every blob, by name, in either form."""
        found = {d: form.size for d, form in self.forms.capsules().items() if form is not None}
        found |= {blob.digest: blob.size for blob in self.plain_blobs()}
        yield from (BlobInfo(digest, found[digest]) for digest in sorted(found))

    def plain_blobs(self) -> Iterator[BlobInfo]:
        """Every plain file, by name."""
        with disk.reporting(self.layout.blobs):
            shards = sorted(path for path in self.layout.blobs.iterdir() if path.is_dir())
        for shard in shards:
            with disk.reporting(shard):
                names = sorted(filter(Digest.is_valid, os.listdir(shard)))
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # collected meanwhile
                    yield BlobInfo(Digest(name), os.stat(shard / name).st_size)

    @disk.reported
    def take_capsule(
        self, writer: WriteSession, temp: Path, digest: Digest, size: int, tree: Tree | None = None
    ) -> bool:
        """Takes a synced temp file from elsewhere as the capsule of a blob: decodes all of it
        first, and compares its sha256. `tree` is that of the capsule's bytes, where each of its
        pieces was checked. Raises :class:`CorruptError`, and as `publish_capsule` does.
        """
        with reading.open_capsule(self.soundness, digest, temp) as blob:
            if blob.size != size or blob.sha256() != digest:
                raise CorruptError(f"what came as the capsule of {digest.short}… restores another")
        return writer.publish_capsule(temp, digest, size, tree)

    @disk.reported
    def open_unverified(self, digest: Digest, temp: Path) -> BlobReader:
        """What a capsule from elsewhere, in the file `temp`, restores as the blob `digest`. It is
        not believed: a caller that keeps it compares all of its bytes. Raises
        :class:`MalformedError`, and :class:`NotArchivedError` where a base of it is not here.
        """
        return reading.open_capsule(self.soundness, digest, temp)

    def put(self, writer: WriteSession, data: bytes | bytearray, names: Names) -> None:
        """Stores a small blob whose `names` were computed from `data`."""
        temp = writer.temp()
        with disk.reporting(self.layout.blob(names.sha256)):
            disk.write_temp(temp, data, disk.READ_ONLY)
            writer.publish_blob(temp, names.sha256, names.size, names.sums)
        self.note_names(names)

    @disk.reported
    def note_names(self, names: Names) -> None:
        """Remembers the tree of a blob that is here, from hashing its plain bytes."""
        if names.merkle_root is not None:
            tree = Tree(names.size, names.merkle_root, names.layer)
            self.forms.note_tree(names.sha256, Form.PLAIN, tree)

    @disk.reported
    def tree(self, digest: Digest, form: Form) -> Tree | None:
        """The tree of the plain bytes or the capsule of a blob, where it was noted and the file
        has not changed since; hashes nothing.
        """
        return self.forms.tree(digest, form)

    def partial(self, entry: FileEntry, payload: Payload | None = None) -> Partial:
        """The download in progress of `entry`, or of the capsule that is to restore it."""
        if payload is None or payload.is_plain:
            return Partial(self.layout, entry.key, entry.size)
        return Partial(self.layout, payload.blob.hex + CAPSULE, payload.size)

    def ownership(self) -> Ownership:
        """Whose the blobs here are, for the questions of one operation."""
        return Ownership(self.index, self.drafts, self.refs)

    def is_free_for(self, repo: RepoId, blob: Digest) -> bool:
        """The same question as :meth:`Ownership.is_free_for`, of one blob."""
        return self.ownership().is_free_for(repo, blob)

    def known(self, entry: FileEntry) -> FileEntry | None:
        """`entry` with all of its names, if a manifest of this archive knows its content. An entry
        that has both digests is known if a manifest has both: else a lie could pair them.
        """
        if entry.sha256 is not None:
            root = self.index.root_of(entry.sha256) or entry.merkle_root
            if root is None and entry.size:
                return None
            if entry.git_sha1 is not None and entry.size:
                found = self.index.by_git_sha1(entry.git_sha1, entry.size)
                if found is None or found[0] != entry.sha256:
                    return None
            return replace(entry, merkle_root=root)
        if entry.git_sha1 is not None:
            found = self.index.by_git_sha1(entry.git_sha1, entry.size)
            if found is not None:
                return replace(entry, sha256=found[0], merkle_root=found[1])
        return None

    # Revisions

    @disk.reported
    def put_revision(
        self, writer: WriteSession, revision: Revision, *, drafted: bool = False
    ) -> Digest:
        """Writes the manifest of `revision`, with what other processes noted in its draft
        meanwhile, and drops the draft and the less complete manifests that it replaces. Where a
        more complete manifest is here already, that one stays. Returns the digest of what stands.
        Its blobs must be here. `drafted`: it was read from its draft, so the draft alone counts.
        """
        draft_path = self.layout.draft(revision.repo, revision.id)
        self.refs.introduce(writer, revision.repo)
        while True:
            before = _signature(draft_path)
            draft = self.drafts.load(revision.repo, revision.id)
            if drafted:
                sealed = self.index.manifests_of(revision.repo, revision.id)
                if draft is None and sealed:  # another process did it
                    return sealed[0]
                merged = revision if draft is None else replace(draft, commit=revision.commit)
            else:
                merged = revision if draft is None else merge(revision, draft)
            better, worse = self._manifests.compare(merged)
            path = self.layout.manifest(better or merged.digest)
            with disk.reporting(path):
                temp = writer.stage(merged.to_bytes(), disk.READ_ONLY)
            with disk.reporting(path), disk.locked(self.layout.lock, exclusive=True):
                if _signature(draft_path) != before:
                    continue  # another process noted a file: it must be in the manifest
                if better is None:
                    disk.publish(temp, path)
                for other in worse:
                    disk.remove(self.layout.manifest(other))
                if merged.partial and self.drafts.is_doubtful(revision.repo, revision.id):
                    set_aside(self.layout, draft_path)  # what it named beside that is not known
                self.drafts.delete(revision.repo, revision.id)
                disk.touch(self.layout.manifests)
            if better is None:
                note_lineage(self, writer, merged)
            return better or merged.digest

    @disk.reported
    def relist(self, writer: WriteSession, listed: Revision) -> None:
        """Puts the draft of `listed` in place of all that is here of its commit, and takes its mark
        away: a node on the LAN alone had said what that consists of, and now a hub has. Blobs that
        nothing refers to any more stay until they are collected.
        """
        repo, commit = listed.repo, listed.id
        self.refs.introduce(writer, repo)
        renewed = self.drafts.renewal(writer, listed)
        with disk.locked(self.layout.lock, exclusive=True):
            renewed()
            self._keep_evidence(repo, commit)
            self._manifests.delete(repo, commit)
            self.unconfirmed.delete(repo, commit)
        disk.touch(self.layout.manifests)
        disk.touch(self.layout.drafts)

    @disk.reported
    def acknowledge(
        self,
        writer: WriteSession,
        repo: RepoId,
        commit: GitOid,
        entries: Sequence[FileEntry],
        *,
        listed: bool = False,
    ) -> None:
        """Notes files as archived, durably: in the draft of their commit, which is begun again
        where another process has sealed it meanwhile. `listed`: only those that the draft lists.
        """
        while True:
            try:
                self.drafts.add(repo, commit, entries, listed=listed)
            except RevisionNotFoundError:
                sealed = self.load(repo, commit)
                if sealed is None:
                    raise
                if set(entries) <= set(sealed.files):
                    return
                self.drafts.start(writer, sealed)
            else:
                return

    @disk.reported
    def quarantine(self, path: Path, stamp: str | None = None) -> bool:
        """Moves a damaged file out of the way, so that it can be fetched again; nothing that was
        moved before is overwritten. With a `stamp` only the file that was read with it: False where
        another process put another one there meanwhile, or took it away.
        """
        with (
            disk.reporting(self.layout.quarantine),
            disk.locked(self.layout.lock, exclusive=True),
        ):
            try:
                if stamp is not None and stamp_of(os.stat(path)) != stamp:
                    return False
                self._put_aside(path)
            except FileNotFoundError:
                return False
        name = path.name.removesuffix(CAPSULE_SUFFIX)
        if Digest.is_valid(name):  # what is gone is not damaged
            self.damage.clear(Digest(name), Form.PLAIN if name == path.name else Form.CAPSULE)
        return True

    def _put_aside(self, path: Path) -> None:
        """Moves a file to the quarantine, with the archive's lock held exclusively."""
        final, number = self.layout.quarantine / path.name, 0
        while os.path.lexists(final):
            number += 1
            final = self.layout.quarantine / f"{path.name}.{number}"
        disk.move(path, final)

    def quarantine_blob(self, digest: Digest) -> None:
        """The same of what holds a blob, in whatever form."""
        for path in (self.layout.blob(digest), self.layout.capsule(digest)):
            self.quarantine(path)

    @disk.reported
    def delete_revision(self, repo: RepoId, revision: GitOid) -> None:
        """Forgets a revision, complete or draft. Its blobs stay until they are collected. Of what
        the index calls its manifests, only those go that say so themselves; one that cannot
        be read is quarantined, because the index may be wrong.
        """
        self._keep_evidence(repo, revision)
        self._manifests.delete(repo, revision, damaged=self.quarantine)
        disk.touch(self.layout.manifests)
        self.drafts.delete(repo, revision)
        self.unconfirmed.delete(repo, revision)
        self.cached.keep(repo, revision)  # if it comes back, it may be by hand
        self.refs.tidy(repo)

    def _keep_evidence(self, repo: RepoId, commit: GitOid) -> None:
        """Keeps the manifests of a revision that goes, where there is evidence of how it came."""
        for digest in self.index.manifests_of(repo, commit):
            if any(is_evidence(one.data) for one in self.attestations.of(digest)):
                data = disk.read_plain(self.layout.manifest(digest), MOST_MANIFEST)
                if data is not None and Digest.of(data) == digest:
                    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
                    self.removed.note(digest, data, now)

    def keeps_evidence(self, manifest: Digest, data: bytes) -> bool:
        """Whether a statement about a manifest that is not here stays."""
        return self.removed.holds(manifest) and is_evidence(data)

    @disk.reported
    def delete_evidence(self, manifest: Digest) -> int:
        """Deletes all statements about a manifest that was removed, and what is known of it; how
        many there were. Raises :class:`UsageError` where the revision is here.
        """
        if self.layout.manifest(manifest).exists():
            raise UsageError(f"{manifest.short}… is here", hint="remove the revision before")
        count = self.attestations.delete(manifest)
        self.removed.delete(manifest)
        return count

    @disk.reported
    def drop_cached(self, repo: RepoId, commit: GitOid) -> bool:
        """Forgets a revision that came through a mirror, with the refs that name it, in one step
        for other processes; False, and nothing is changed, where it was kept meanwhile, or a ref of
        the model is damaged, which may name it. Its blobs stay until they are collected.
        """
        with disk.locked(self.layout.lock, exclusive=True):
            read = self.refs.read(repo)
            if read.damaged or not self.cached.is_marked(repo, commit):
                return False
            for ref in read.refs:
                if ref.commit == commit:
                    self.refs.delete(repo, ref.name)
            self._manifests.delete(repo, commit)
            disk.touch(self.layout.manifests)
            self.drafts.delete(repo, commit)
            self.unconfirmed.delete(repo, commit)
            self.cached.remove(repo, commit)
        if not self.commits(repo):
            self.equals.delete(repo)
            self.holders.delete(repo)
            self.seen.delete(repo)
        self.refs.tidy(repo)
        return True

    @disk.reported
    def load(self, repo: RepoId, revision: GitOid) -> Revision | None:
        """A revision by its id: from its draft while files arrive, else from its manifest."""
        draft = self.drafts.load(repo, revision)
        return draft if draft is not None else self._manifests.load(repo, revision)

    def find_commit(self, repo: RepoId, ref: str) -> GitOid | None:
        """The commit that a ref, a full or an unambiguous short commit id names here."""
        ref = plain_ref(ref)
        if GitOid.is_valid(ref):
            return GitOid(ref) if GitOid(ref) in self.commits(repo) else None
        found = self.refs.get(repo, ref)
        if found is not None:
            return found.commit
        if len(ref) < MIN_PREFIX or not set(ref) <= set("0123456789abcdef"):
            return None
        commits = {c for c in self.commits(repo) if c.hex.startswith(ref)}
        return commits.pop() if len(commits) == 1 else None

    def commits(self, repo: RepoId) -> list[GitOid]:
        """Every revision of `repo` that is here, complete or not."""
        drafts = self.drafts.of(repo)  # first: another process may complete one now
        return sorted({*self.index.revisions(repo), *drafts})

    def revision(self, repo: RepoId, ref: str | None = None) -> Revision:
        """The revision that `ref` names; without one, `main` or else the only revision here."""
        commit = self.find_commit(repo, ref or "main")
        if commit is None and ref is None:
            commits = self.commits(repo)
            commit = commits[0] if len(commits) == 1 else None
        revision = None if commit is None else self.load(repo, commit)
        if revision is None:
            raise self._not_found(repo, ref)
        return revision

    def _not_found(self, repo: RepoId, ref: str | None) -> NotFoundError:
        if self.commits(repo):
            return RevisionNotFoundError(f"{repo} has no revision {ref or 'main'!r} here")
        return NotFoundError(f"{repo} is not in the archive")

    def summaries(self) -> list[Summary]:
        """Every revision that is here; drafts take the place of their manifests. One whose draft is
        damaged is left out.
        """
        damaged = set()
        drafts = {}
        for state in self.drafts.states():
            draft, key = state.revision, (state.repo, state.commit)
            if draft is None:
                damaged.add(key)
                continue
            drafts[key] = Summary(
                draft.repo,
                draft.id,
                None,
                len(draft.files),
                draft.size,
                len(draft.missing),
                draft.unlisted,
            )
        seen = damaged | drafts.keys()
        complete = [s for s in self.index.summaries() if (s.repo, s.revision) not in seen]
        return sorted([*complete, *drafts.values()], key=lambda s: (s.repo, s.revision))


@disk.reported
def _exists(path: Path) -> bool:
    return path.exists()


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever something is appended to a draft."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
