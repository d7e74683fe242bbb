"""What an archive has in its second home.

The layout is that of an archive (docs/format/archive.md): who copies a home to a disk has one.
Beside it, ``revisions/…/<commit>`` names the manifest of a revision, because a bucket has no index.
Bytes come first, then the manifest, then what names it, as on a disk.
"""

import contextlib
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from outlast.bucket.objects import Objects
from outlast.bucket.trees import decode_tree, encode_tree, has_tree, tree_bytes
from outlast.bucket.tuning import TUNING, BucketTuning
from outlast.bucket.windows import StoredBytes, Windows
from outlast.codec.memory import Readable
from outlast.codec.merkle import Tree
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
from outlast.store.layout import CAPSULE_SUFFIX, MARKER, Layout, repo_of_folder
from outlast.store.records import sealed
from outlast.store.records.attestations import MAX_ATTESTATION, MOST, SUFFIX, StoredAttestation
from outlast.store.records.facts import UNREADABLE, About
from outlast.store.records.records import LIMIT
from outlast.store.records.refs import ABOUT, Ref, decode_ref

_ROOT: Final = Path("/")
_REVISIONS: Final = "revisions"
_MANIFEST: Final = "manifest"
_TREES: Final = "trees"
_STATEMENTS: Final = 16 * 1024 * 1024
"""Bytes of statements about one manifest that are read: 256 of 64 KiB."""
IDENTITY: Final = "store-id"
_NAME: Final = re.compile(rb"[0-9a-f]{16}\n")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that holds a blob: its name there and its bytes. `capsule`: it is one."""

    name: str
    size: int
    capsule: bool


class SecondHome:
    """An archive's second home. Thread-safe."""

    def __init__(self, objects: Objects, tuning: BucketTuning = TUNING) -> None:
        self.objects: Final = objects
        self._layout = Layout(_ROOT)
        self._tuning = tuning
        self._windows = Windows(objects, tuning)
        self._lock = threading.Lock()
        self._opened: OrderedDict[Digest, Stored | CapsuleReader] = OrderedDict()
        self._trees: OrderedDict[Digest, Tree | None] = OrderedDict()

    @property
    def name(self) -> str:
        return self.objects.name

    # Reading

    def require(self, *, second: bool = False) -> None:
        """Raises :class:`StorageError` where there is no archive, or one of another format. With
        `second` a marker that is damaged is passed over, if its second copy is right.
        """
        marker = self.objects.read(self._layout.marker.name, LIMIT)
        if second and marker != MARKER:
            other = self._name(self._layout.second_of(self._layout.marker))
            marker = self.objects.read(other, LIMIT)
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

    def statements(self, manifest: Digest) -> Iterator[bytes]:
        """Signed statements about a manifest: of those with the right names at most 256, of 16 MiB
        together. Who signed them is not looked at.
        """
        left = _STATEMENTS
        for name, size in self._statement_sizes(manifest):
            left -= size
            if left < 0:
                return
            data = self.objects.read(name, MAX_ATTESTATION)
            if data is not None and name == self._statement_name(manifest, Digest.of(data)):
                yield data

    def damaged_statements(self, manifest: Digest) -> Iterator[str]:
        """The names of those that are not what their names say; reads all of them."""
        for name, _ in self._statement_sizes(manifest):
            data = self.objects.read(name, MAX_ATTESTATION)
            if data is None or name != self._statement_name(manifest, Digest.of(data)):
                yield name

    def _statement_sizes(self, manifest: Digest) -> Iterator[tuple[str, int]]:
        """The names of those that may be statements, at most 256, each with its bytes."""
        folder = self._name(self._layout.attestations / manifest.hex)
        found = (
            (name, size)
            for name, size in self.objects.sizes(folder)
            if size <= MAX_ATTESTATION
            and Digest.is_valid(name.rpartition("/")[2].removesuffix(SUFFIX))
        )
        return islice(found, MOST)

    def _statement_name(self, manifest: Digest, digest: Digest) -> str:
        return self._name(self._layout.attestations / manifest.hex / f"{digest}{SUFFIX}")

    def place_of(self, digest: Digest) -> tuple[str, int] | None:
        """The object that holds a blob, and how many bytes that has; None where there is none."""
        for path in (self._layout.blob(digest), self._layout.capsule(digest)):
            name = self._name(path)
            if (size := self.objects.size(name)) is not None:
                return name, size
        return None

    def open(self, digest: Digest, links: int = MAX_LINKS, stop: int | None = None) -> Readable:
        """The plain bytes of a blob, whatever form it has here; of a plain one nothing is read
        ahead beyond `stop`. Raises :class:`NotArchivedError`, and what reading a capsule raises.
        """
        with self._lock:
            known = self._opened.get(digest)
        if known is None:
            found = self.place_of(digest)
            if found is None:
                raise NotArchivedError(f"blob {digest.short}… is not in {self.name}")
            name, size = found
            known = Stored(name, size, name == self.blob_name(digest, capsule=True))
            if known.capsule:
                known = self._restored(digest, StoredBytes(self._windows, name, size), links)
            with self._lock:
                self._opened[digest] = known
                while len(self._opened) > self._tuning.opened:
                    self._opened.popitem(last=False)
        if isinstance(known, CapsuleReader):
            return known
        return StoredBytes(self._windows, known.name, known.size, stop)

    def open_file(self, digest: Digest, file: Stored) -> Readable:
        """The plain bytes of a blob, out of that one of the files here that hold it."""
        stored = StoredBytes(self._windows, file.name, file.size)
        return self._restored(digest, stored, MAX_LINKS) if file.capsule else stored

    def _restored(self, digest: Digest, file: Readable, links: int) -> CapsuleReader:
        def base(wanted: Digest) -> Readable:
            if not links:
                raise MalformedError(f"{digest.short}… depends on too long a chain of capsules")
            return self.open(wanted, links - 1)

        capsule = CapsuleReader(file, base)
        if capsule.sha256 != digest:
            raise CorruptError(f"the capsule of {digest} is that of another blob")
        return capsule

    def tree(self, digest: Digest, size: int) -> Tree | None:
        """The tree of a blob of `size` plain bytes; None where there is none: one piece has none,
        its sha256 proves it. Raises :class:`CorruptError` for one that is damaged.
        """
        if not has_tree(size):
            return None
        with self._lock:
            if digest in self._trees:
                return self._trees[digest]
        data = self.objects.read(self.tree_name(digest), tree_bytes(size))
        tree = None if data is None else decode_tree(data, digest)
        if tree is not None and tree.size != size:
            raise CorruptError(f"the tree of {digest.short}… is that of {tree.size} bytes")
        with self._lock:
            self._trees[digest] = tree
            while len(self._trees) > self._tuning.trees:
                self._trees.popitem(last=False)
        return tree

    def has_tree(self, digest: Digest, size: int) -> bool:
        """Whether there is a file for the tree of a blob, as long as it should be."""
        return not has_tree(size) or self.objects.size(self.tree_name(digest)) == tree_bytes(size)

    def files(self) -> dict[Digest, list[Stored]]:
        """All that holds a blob here, by blob, as the store lists it."""
        found: dict[Digest, list[Stored]] = {}
        for folder, end in ((self._layout.blobs, ""), (self._layout.capsules, CAPSULE_SUFFIX)):
            for name, size in self.objects.sizes(self._name(folder)):
                word = name.rpartition("/")[2].removesuffix(end)
                if Digest.is_valid(word):
                    one = Stored(name, size, bool(end))
                    if name == self.blob_name(Digest(word), capsule=one.capsule):
                        found.setdefault(Digest(word), []).append(one)
        return found

    def forget(self, digest: Digest) -> None:
        """Reads a blob and its tree anew from now on."""
        with self._lock:
            self._opened.pop(digest, None)
            self._trees.pop(digest, None)
        for capsule in (False, True):
            self._windows.forget(self.blob_name(digest, capsule=capsule))

    def identity(self) -> str:
        """What names this home wherever it is reached from: 16 hex digits, made by the first who
        asks. A copy of the home has the same name.
        """
        for _ in range(2):
            for path in (IDENTITY, f"{self._layout.second.name}/{IDENTITY}"):
                data = self.objects.read(path, LIMIT)
                body = None if data is None else sealed.unseal(IDENTITY, data)
                if body is not None and _NAME.fullmatch(body):
                    return body.decode().strip()
            body = os.urandom(8).hex().encode() + b"\n"
            self.objects.put_new(IDENTITY, sealed.seal(IDENTITY, body))
            if (data := self.objects.read(IDENTITY, LIMIT)) is not None:
                self.objects.put_new(f"{self._layout.second.name}/{IDENTITY}", data)
        raise CorruptError(f"{self.name}/{IDENTITY} is damaged", hint="delete it: it is made anew")

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

    def put_tree(self, digest: Digest, tree: Tree) -> None:
        """Writes the tree of a blob, in place of the one that is there."""
        self.objects.put(self.tree_name(digest), encode_tree(digest, tree))
        with self._lock:
            self._trees.pop(digest, None)

    def put_revision(self, revision: Revision, about: About, refs: Iterable[Ref]) -> None:
        """Names a revision all of whose blobs are here. A revision that has more files takes the
        place of one that has fewer; of a ref, what was observed last.
        """
        repo, data = revision.repo, revision.to_bytes()
        digest = Digest.of(data)
        name = f"{self._folder(repo)}/{revision.id}"
        old = self._known(repo, revision.id)
        manifest = self._name(self._layout.manifest(digest))
        if not self.objects.put_new(manifest, data) and old != revision:
            self.objects.put(manifest, data)  # what is there may be damaged
        self._put_about(repo, about)
        if old is None or len(old.files) < len(revision.files):
            body = json.dumps({_MANIFEST: digest.hex}).encode() + b"\n"
            self.objects.put(name, sealed.seal(name, body))
        for ref in refs:
            before = self.ref(repo, ref.name)
            if before is None or (before != ref and before.observed <= ref.observed):
                path = self._layout.repo_refs(repo) / quote_ref(ref.name)
                self._put_twice(path, ref.encode())

    def put_statements(self, manifest: Digest, statements: Iterable[StoredAttestation]) -> int:
        """Puts signed statements beside a manifest that is here; how many were new, or had
        another length there.
        """
        new, there = 0, dict(self._statement_sizes(manifest))
        for one in islice(statements, MOST):
            name = self._statement_name(manifest, one.digest)
            if there.get(name) != len(one.data):
                self.objects.put(name, one.data)
                new += 1
        return new

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

    def tree_name(self, digest: Digest) -> str:
        """What the file of a blob's tree is called."""
        return f"{_TREES}/{digest.hex[:2]}/{digest.hex}"

    def _sealed(self, name: str) -> bytes | None:
        data = self.objects.read(name, LIMIT)
        return None if data is None else sealed.unseal(name, data)

    def _folder(self, repo: RepoId) -> str:
        return f"{_REVISIONS}/{self._layout.folder_of(repo).as_posix()}"

    def _name(self, path: Path) -> str:
        return self._layout.name_of(path)
