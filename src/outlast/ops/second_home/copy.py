"""Copy: put archived revisions into a second home, in the form in which they are held here."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.bucket.home import SecondHome
from outlast.bucket.trees import has_tree
from outlast.codec.hashing import TreeHasher
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, NotArchivedError, RefusedByRulesError
from outlast.core.events import FileDone, Note, Planned, Progress
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import Target
from outlast.core.policy import Action
from outlast.fetch.salvage import noted_tree
from outlast.intake.judging import judge, require_revision
from outlast.intake.told_alone import confirmed_refs, is_told_alone, refuse_told_alone
from outlast.store.archive import Archive
from outlast.store.index import load_manifest
from outlast.store.reading import BlobReader
from outlast.store.writer import WriteSession

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did: the revisions that are there now, how many blobs and bytes were sent, and
    how many blobs were there already, and to how many of these it added their tree; how many signed
    statements about the revisions are new there.
    """

    revisions: tuple[Revision, ...]
    sent: int
    sent_bytes: int
    already: int
    trees: int = 0
    statements: int = 0


def copy(archive: Archive, targets: Sequence[Target], home: SecondHome, control: Control) -> Copied:
    """Copies the revisions that `targets` name, or all that are here, to `home`. Bases of delta
    capsules go before them; where the rules do not let a base go, plain bytes go instead. Blobs go
    before their manifest, that before the refs, and these before what was signed about it. What is
    there already is not sent again, so that the same call goes on after an interruption. Each blob
    is hashed before its last bytes leave.

    What a node on the LAN alone said has no mark there, so it stays here.

    Raises :class:`RefusedByRulesError` before the first byte where the rules do not allow one of
    them, :class:`PolicyError` where a target is a stranger's word alone,
    :class:`NotArchivedError` where files of a revision are still to come,
    :class:`CorruptError` where a blob is damaged here: then nothing of it is there.
    """
    revisions = [*_chosen(archive, targets, control)]
    for revision in revisions:
        require_revision(archive, Action.EXPORT, revision)
    home.begin()
    with archive.writer() as writer:  # what it leases is not collected meanwhile
        sender = BlobSender(archive, writer, home, control)
        statements = 0
        for revision in revisions:
            named = f"{revision.repo}@{revision.id.hex[:12]}"
            control.emit(Planned("copy", named, len(revision.files), revision.size))
            for entry in revision.files:
                control.cancel.check()
                sender.send_file(entry)
            refs = confirmed_refs(archive, revision)
            home.put_revision(revision, archive.refs.about(revision.repo), refs)
            manifest = revision.digest
            statements += home.put_statements(manifest, archive.attestations.of(manifest))
    done = sender.sent, sender.sent_bytes, sender.already, sender.trees
    return Copied(tuple(revisions), *done, statements)


def _chosen(archive: Archive, targets: Sequence[Target], control: Control) -> Iterator[Revision]:
    if not targets:
        for line in archive.summaries():
            revision = archive.load(line.repo, line.revision)
            if revision is None or archive.drafts.exists(line.repo, line.revision):
                continue
            if is_told_alone(archive, revision):
                named = f"{revision.repo}@{revision.id.hex[:12]}"
                control.emit(Note(f"{named} is not copied: no hub has confirmed it"))
            else:
                yield revision
        return
    for target in targets:
        revision = archive.revision(target.repo, target.ref)
        refuse_told_alone(archive, revision)
        if archive.drafts.exists(revision.repo, revision.id):
            raise NotArchivedError(
                f"{target}: {len(revision.missing)} files are still to come",
                hint="'outlast pull' brings them; then copy it",
            )
        yield revision


class BlobSender:
    """Sends blobs to a second home. Not thread-safe. `writer` leases what it sends."""

    def __init__(
        self, archive: Archive, writer: WriteSession, home: SecondHome, control: Control
    ) -> None:
        self.archive = archive
        self._writer = writer
        self._home = home
        self._control = control
        self.sent = self.sent_bytes = self.already = self.trees = 0

    def send_file(self, entry: FileEntry) -> None:
        """The blob of a file after all that it depends on, where it is not there already."""
        digest = entry.sha256
        assert digest is not None, "what a manifest has is named by its sha256"
        blobs = [*with_bases(self.archive, digest, entry.size)]
        if self.goes_plain(digest, entry.size):
            blobs = blobs[-1:]
        sent = [self._send(*blob) for blob in blobs]
        self._control.emit(FileDone(entry.path, entry.size, digest.hex, already=not any(sent)))

    def require(self, digest: Digest) -> None:
        """Raises :class:`RefusedByRulesError` where the rules let no revision go that has a
        blob.
        """
        if not self.archive.rules.is_open and not may_go(self.archive, digest):
            raise RefusedByRulesError(f"the rules do not let a model go that has {digest.short}…")

    def goes_plain(self, digest: Digest, size: int) -> bool:
        """Whether a capsule depends on a base that may not leave."""
        if self.archive.rules.is_open:
            return False
        bases = [base for base, _ in with_bases(self.archive, digest, size) if base != digest]
        return not all(may_go(self.archive, base) for base in bases)

    def _send(self, digest: Digest, size: int) -> bool:
        if self._home.place_of(digest) is not None:
            self._control.emit(Progress(digest.hex, size))
            self.already += 1
            if not self._home.has_tree(digest, size):  # it was copied by an older outlast
                with self._opened(digest, size) as reader:
                    self._send_tree(reader)
                self.trees += 1
            return False
        self.replace(digest, size)
        return True

    def replace(self, digest: Digest, size: int) -> None:
        """Sends a blob and its tree, whatever is there. Raises :class:`CorruptError`,
        :class:`NotArchivedError`; then what is there is as it was.
        """
        with self._opened(digest, size) as reader:
            plain = reader.capsule is not None and self.goes_plain(digest, size)
            capsule = reader.capsule is not None and not plain
            if reader.capsule is not None and reader.sha256() != digest:
                raise CorruptError(f"the capsule of {digest} does not restore it")
            stored = size if plain else reader.file.size
            held = map(bytes, reader.chunks()) if plain else _chunks(reader, digest, capsule)
            chunks = _counted(held, digest, self._control)
            self._home.put_bytes(self._home.blob_name(digest, capsule=capsule), stored, chunks)
            self._home.forget(digest)
            self._send_tree(reader)
        self.sent += 1
        self.sent_bytes += stored

    def _opened(self, digest: Digest, size: int) -> BlobReader:
        if not self._writer.lease(digest, size):
            raise NotArchivedError(f"blob {digest.short}… is not in the archive any more")
        return self.archive.open_blob(digest)

    def _send_tree(self, reader: BlobReader) -> None:
        if not has_tree(reader.size):
            return
        tree = noted_tree(self.archive, reader.digest, reader.size)
        if tree is None:
            hasher = TreeHasher()
            for chunk in reader.chunks():
                self._control.cancel.check()
                hasher.update(chunk)
            tree = hasher.tree()
        assert tree is not None, "it has more than one piece"
        self._home.put_tree(reader.digest, tree)


def with_bases(archive: Archive, digest: Digest, size: int) -> Iterator[tuple[Digest, int]]:
    """A blob, and before it all that it depends on in the form in which it is here; with sizes."""
    for base in archive.form_of(digest).bases:
        yield from with_bases(archive, base.sha256, base.size)
    yield digest, size


def may_go(archive: Archive, base: Digest) -> bool:
    """Whether a base may leave with what depends on it: where a revision that has it may."""
    manifests = {manifest for manifest, _ in archive.index.uses([base])}
    owners = (load_manifest(archive.layout, manifest) for manifest in manifests)
    return any(judge(archive, Action.EXPORT, revision).allowed for revision in owners)


def _chunks(reader: BlobReader, digest: Digest, capsule: bool) -> Iterator[bytes]:
    """The bytes of the file that holds a blob; before the last of a plain one, compares the sha256
    of all with `digest`. Raises :class:`CorruptError`.
    """
    hasher = hashlib.sha256()
    size, at = reader.file.size, 0
    while at < size:
        chunk = bytearray(min(_CHUNK, size - at))
        reader.file.readinto(at, memoryview(chunk))
        at += len(chunk)
        if not capsule:
            hasher.update(chunk)
            if at == size and hasher.hexdigest() != digest.hex:
                raise CorruptError(f"blob {digest} is damaged: 'outlast verify' says more")
        yield bytes(chunk)


def _counted(chunks: Iterable[bytes], digest: Digest, control: Control) -> Iterator[bytes]:
    for chunk in chunks:
        control.cancel.check()
        yield chunk
        control.emit(Progress(digest.hex, len(chunk)))
