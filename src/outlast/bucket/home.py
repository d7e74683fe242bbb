"""What an archive has in its second home.

The layout is that of an archive (docs/format/archive.md): who copies a home to a disk has one.
Beside it, ``revisions/…/<commit>`` names the manifest of a revision, because a bucket has no index.
Bytes come first, then the manifest, then what names it, as on a disk.
"""

import contextlib
import json
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from outlast.bucket.objects import Objects
from outlast.bucket.tuning import TUNING, BucketTuning
from outlast.codec.memory import Readable
from outlast.codec.reader import CapsuleReader
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    BadNameError,
    CorruptError,
    IntegrityError,
    MalformedError,
    NotArchivedError,
    OutlastError,
    StorageError,
)
from outlast.core.manifest import MAX_MANIFEST_BYTES, Revision, load_json
from outlast.core.names import RepoId, quote_ref
from outlast.store.forms import MAX_LINKS
from outlast.store.layout import MARKER, Layout, repo_of_folder
from outlast.store.records import sealed
from outlast.store.records.facts import UNREADABLE, About
from outlast.store.records.records import LIMIT
from outlast.store.records.refs import ABOUT, Ref, decode_ref

_ROOT: Final = Path("/")
_REVISIONS: Final = "revisions"
_MANIFEST: Final = "manifest"


class SecondHome:
    """An archive's second home. Thread-safe."""

    def __init__(self, objects: Objects, tuning: BucketTuning = TUNING) -> None:
        self.objects: Final = objects
        self._layout = Layout(_ROOT)
        self._tuning = tuning
        self._lock = threading.Lock()
        self._opened: dict[Digest, Readable] = {}

    @property
    def name(self) -> str:
        return self.objects.name

    # Reading

    def require(self) -> None:
        """Raises :class:`StorageError` where there is no archive, or one of another format."""
        marker = self.objects.read(self._layout.marker.name, LIMIT)
        if marker != MARKER:
            what = "an archive of another format" if marker else "no archive"
            raise StorageError(
                f"there is {what} in {self.name}", hint="'outlast copy --store' makes one"
            )

    def repos(self) -> list[RepoId]:
        """The models and datasets of which a revision is here, sorted."""
        found = set()
        for name in self.objects.names(_REVISIONS):
            folder, _, commit = name.rpartition("/")
            with contextlib.suppress(BadNameError, ValueError):
                if GitOid.is_valid(commit):
                    found.add(repo_of_folder(folder))
        return sorted(found)

    def commits(self, repo: RepoId) -> list[GitOid]:
        """Its revisions."""
        names = (name.rpartition("/")[2] for name in self.objects.names(self._folder(repo)))
        return sorted(GitOid(name) for name in names if GitOid.is_valid(name))

    def refs(self, repo: RepoId) -> list[Ref]:
        """Its refs; what is damaged is left out."""
        found = []
        for name in self.objects.names(self._name(self._layout.repo_refs(repo))):
            file = name.rpartition("/")[2]
            body = None if file.startswith(".") else self._sealed(name)
            if body is not None:
                with contextlib.suppress(CorruptError, OutlastError):
                    found.append(decode_ref(file, body))
        return found

    def ref(self, repo: RepoId, name: str) -> Ref | None:
        """One of them."""
        return next((ref for ref in self.refs(repo) if ref.name == name), None)

    def about(self, repo: RepoId) -> About:
        """What was known of a model; where that cannot be read, it counts as private."""
        body = self._sealed(self._name(self._layout.repo_refs(repo) / ABOUT))
        try:
            return UNREADABLE if body is None else About.decode(body)
        except CorruptError:
            return UNREADABLE

    def manifest_of(self, repo: RepoId, commit: GitOid) -> Digest | None:
        """The name of the manifest of a revision. Raises :class:`CorruptError`."""
        name = f"{self._folder(repo)}/{commit}"
        data = self.objects.read(name, LIMIT)
        if data is None:
            return None
        body = sealed.unseal(name, data)
        document = None if body is None else load_json(body, LIMIT)
        found = document.get(_MANIFEST) if isinstance(document, dict) else None
        if not isinstance(found, str) or not Digest.is_valid(found):
            raise CorruptError(f"{self.name}/{name} is damaged")
        return Digest(found)

    def load(self, repo: RepoId, commit: GitOid) -> Revision | None:
        """A revision. Raises :class:`CorruptError` where its manifest is not what it should be."""
        digest = self.manifest_of(repo, commit)
        if digest is None:
            return None
        name = self._name(self._layout.manifest(digest))
        data = self.objects.read(name, MAX_MANIFEST_BYTES)
        if data is None or Digest.of(data) != digest:
            raise CorruptError(f"{self.name}/{name} is {'missing' if data is None else 'damaged'}")
        revision = Revision.from_bytes(data)
        if (revision.repo, revision.id) != (repo, commit):
            raise CorruptError(f"{self.name}/{name} is the manifest of another revision")
        return revision

    def place_of(self, digest: Digest) -> tuple[str, int] | None:
        """The object that holds a blob, and how many bytes that has; None where there is none."""
        for path in (self._layout.blob(digest), self._layout.capsule(digest)):
            name = self._name(path)
            if (size := self.objects.size(name)) is not None:
                return name, size
        return None

    def open(self, digest: Digest, links: int = MAX_LINKS) -> Readable:
        """The plain bytes of a blob, whatever form it has here. Raises :class:`NotArchivedError`,
        and what reading a capsule raises.
        """
        with self._lock:
            known = self._opened.get(digest)
        if known is not None:
            return known
        found = self.place_of(digest)
        if found is None:
            raise NotArchivedError(f"blob {digest.short}… is not in {self.name}")
        name, size = found
        file: Readable = _RemoteFile(self.objects, name, size, self._tuning.window)
        if name == self._name(self._layout.capsule(digest)):
            file = self._restored(digest, file, links)
        with self._lock:
            self._opened.setdefault(digest, file)
            while len(self._opened) > self._tuning.opened:
                self._opened.pop(next(iter(self._opened)))
        return file

    def _restored(self, digest: Digest, file: Readable, links: int) -> CapsuleReader:
        def base(wanted: Digest) -> Readable:
            if not links:
                raise MalformedError(f"{digest.short}… depends on too long a chain of capsules")
            return self.open(wanted, links - 1)

        capsule = CapsuleReader(file, base)
        if capsule.sha256 != digest:
            raise CorruptError(f"the capsule of {digest} is that of another blob")
        return capsule

    # Writing

    def begin(self) -> None:
        """Makes an empty archive, unless there is one. Raises :class:`StorageError` where there is
        one of another format.
        """
        marker = self._layout.marker
        for path in (self._layout.second_of(marker), marker):
            name = self._name(path)
            if not self.objects.put_new(name, MARKER):
                self.require()

    def put_bytes(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Writes what holds a blob; `chunks` raises before its end if it is not that."""
        self.objects.put_parts(name, size, chunks)

    def put_revision(self, revision: Revision, about: About, refs: Iterable[Ref]) -> None:
        """Names a revision all of whose blobs are here. A revision that has more files takes the
        place of one that has fewer; of a ref, what was observed last.
        """
        repo, data = revision.repo, revision.to_bytes()
        digest = Digest.of(data)
        self.objects.put_new(self._name(self._layout.manifest(digest)), data)
        self._put_about(repo, about)
        name = f"{self._folder(repo)}/{revision.id}"
        old = self._known(repo, revision.id)
        if old is None or len(old.files) < len(revision.files):
            body = json.dumps({_MANIFEST: digest.hex}).encode() + b"\n"
            self.objects.put(name, sealed.seal(name, body))
        for ref in refs:
            before = self.ref(repo, ref.name)
            if before is None or (before != ref and before.observed <= ref.observed):
                path = self._layout.repo_refs(repo) / quote_ref(ref.name)
                self._put_twice(path, ref.encode())

    def _known(self, repo: RepoId, commit: GitOid) -> Revision | None:
        try:
            return self.load(repo, commit)
        except IntegrityError:  # it is replaced
            return None

    def _put_about(self, repo: RepoId, about: About) -> None:
        """What restricts a model is never lifted: another writer may not know of it."""
        path = self._layout.repo_refs(repo) / ABOUT
        if self.objects.size(self._name(path)) is not None:
            old = self.about(repo)
            private, gated = about.private or old.private, about.gated or old.gated
            about = replace(about, private=private, gated=gated)
            if old == about:
                return
        self._put_twice(path, about.encode())

    def _put_twice(self, path: Path, body: bytes) -> None:
        data = sealed.seal(self._name(path), body)
        for place in (path, self._layout.second_of(path)):
            self.objects.put(self._name(place), data)

    def blob_name(self, digest: Digest, *, capsule: bool) -> str:
        """What a blob's object is called in either form."""
        layout = self._layout
        return self._name(layout.capsule(digest) if capsule else layout.blob(digest))

    def _sealed(self, name: str) -> bytes | None:
        data = self.objects.read(name, LIMIT)
        return None if data is None else sealed.unseal(name, data)

    def _folder(self, repo: RepoId) -> str:
        return f"{_REVISIONS}/{self._layout.folder_of(repo).as_posix()}"

    def _name(self, path: Path) -> str:
        return self._layout.name_of(path)


class _RemoteFile:
    """An object as bytes at any offset: one request reads more than it is asked for, because what
    follows is asked for next.
    """

    def __init__(self, objects: Objects, name: str, size: int, window: int) -> None:
        self._objects = objects
        self._name = name
        self._size = size
        self._window = window
        self._last: tuple[int, bytearray] = (0, bytearray())
        """Where the bytes that were read last begin, and those; replaced at once."""

    @property
    def size(self) -> int:
        return self._size

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Raises :class:`CorruptError` beyond the end."""
        if offset + len(buffer) > self._size:
            raise CorruptError(f"{self._objects.name}/{self._name} ends before it should")
        begin, held = self._last
        if offset < begin or offset + len(buffer) > begin + len(held):
            length = min(max(self._window, len(buffer)), self._size - offset)
            begin, held = offset, bytearray(length)
            self._objects.readinto(self._name, offset, memoryview(held))
            self._last = begin, held
        buffer[:] = memoryview(held)[offset - begin : offset - begin + len(buffer)]
