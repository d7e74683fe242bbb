"""A bundle as a source: ``bundle:FOLDER`` on this machine, ``bundle+URL`` on a web server."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from outlast.codec.bundle.contents import BundledModel
from outlast.codec.memory import Readable
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    EntryNotFoundError,
    NotArchivedError,
    RepoNotFoundError,
    RevisionNotFoundError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, plain_ref
from outlast.sources.base import Listing, RangeReader, RemoteRef, RepoClaims
from outlast.sources.bundle.age import NO_KEYS, Keyring
from outlast.sources.bundle.opened import OpenBundle, open_media
from outlast.sources.bundle.web import open_web
from outlast.sources.http import Getter

_KINDS: Final = {"branch": "branches", "tag": "tags"}
_SHORTEST: Final = 7
"""Digits of a commit that name it."""


class BundleSource:
    """The models of bundles in one place, the newest bundle first. It is opened when it is asked
    for the first time. Its own list of a commit decides nothing that digests do not prove.
    """

    def __init__(
        self,
        name: str,
        open_bundles: Callable[[float | None], Sequence[OpenBundle]],
        *,
        changes: bool = False,
    ) -> None:
        """`changes`: what is there may be another bundle next time, so names are asked for anew."""
        self._name = name
        self._open_bundles = open_bundles
        self._changes = changes
        self._lock = threading.Lock()
        self._bundles: Sequence[OpenBundle] | None = None

    @classmethod
    def of_folder(cls, folder: str, keys: Keyring = NO_KEYS) -> "BundleSource":
        """`keys` open encrypted bundles."""
        return cls(f"bundle:{folder}", lambda _timeout: open_media([Path(folder)], keys).bundles)

    @classmethod
    def of_url(cls, http: Getter, url: str, keys: Keyring = NO_KEYS) -> "BundleSource":
        name = f"bundle+{url}"
        return cls(name, lambda timeout: [open_web(http, url, name, timeout, keys)], changes=True)

    @property
    def name(self) -> str:
        return self._name

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        """The files of a revision that the bundle has, as its manifest says."""
        for bundle, model in self._models(repo, timeout):
            revision = _find(bundle, model, plain_ref(ref))
            if revision is None:
                continue
            held = frozenset(
                entry.path for entry in revision.files if entry.sha256 in bundle.payloads
            )
            return Listing(
                repo=model.repo,
                commit=revision.id,
                entries=(*revision.files, *revision.missing),
                facts=RepoClaims(model.private, model.gated, model.tags, dict(model.facts)),
                unlisted=revision.unlisted,
                held=held,
            )
        raise RevisionNotFoundError(f"{self._name} has no revision {ref[:60]!r} of {repo}")

    def refs(self, repo: RepoId, timeout: float | None = None) -> list[RemoteRef]:
        found: dict[str, RemoteRef] = {}
        for _, model in self._models(repo, timeout):
            for ref in model.refs:
                kind = _KINDS.get(ref.kind, "branches")
                found.setdefault(ref.name, RemoteRef(ref.name, ref.commit, kind))
        return [*found.values()]

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        """Opens a file by its sha256, or by what the manifest of `commit` says of it."""
        for bundle in self._opened(None, anew=False):
            blob = entry.sha256 or _blob_of(bundle, repo, commit, entry)
            payload = None if blob is None else bundle.payloads.get(blob)
            if payload is not None and payload.size == entry.size:
                return _Range(self._name, bundle.blob(payload), entry.path, start, stop)
        raise EntryNotFoundError(f"{self._name} has no file with the bytes of {entry.path!r}")

    def _opened(self, timeout: float | None, *, anew: bool) -> Sequence[OpenBundle]:
        """The newest first. Opened without the lock: of two threads that do, the last counts."""
        with self._lock:
            found = self._bundles
        if found is None or (anew and self._changes):
            found = [*reversed(self._open_bundles(timeout))]
            with self._lock:
                self._bundles = found
        return found

    def _models(
        self, repo: RepoId, timeout: float | None
    ) -> Iterator[tuple[OpenBundle, BundledModel]]:
        """The model in each bundle that has it. Raises :class:`RepoNotFoundError` if none does."""
        known = False
        for bundle in self._opened(timeout, anew=True):
            model = bundle.model(repo)
            if model is not None:
                known = True
                yield bundle, model
        if not known:
            raise RepoNotFoundError(f"{self._name} has no {repo}")


def _find(bundle: OpenBundle, model: BundledModel, ref: str) -> Revision | None:
    """The revision that a ref or commit names."""
    commits = {said.commit for said in model.refs if said.name == ref}
    for revision in _revisions(bundle, model.manifests):
        is_named = len(ref) >= _SHORTEST and revision.id.hex.startswith(ref)
        if revision.id in commits or is_named:
            return revision
    return None


def _revisions(bundle: OpenBundle, manifests: Sequence[Digest]) -> Iterator[Revision]:
    for digest in manifests:
        revision = bundle.manifest(digest)
        if revision is not None:
            yield revision


def _blob_of(bundle: OpenBundle, repo: RepoId, commit: GitOid, entry: FileEntry) -> Digest | None:
    """The sha256 of a file that goes by its git blob id."""
    model = bundle.model(repo)
    for revision in _revisions(bundle, model.manifests if model is not None else ()):
        known = revision.find(entry.path) if revision.id == commit else None
        if known is not None and known.git_sha1 == entry.git_sha1:
            return known.sha256
    return None


class _Range:
    """Bytes of a blob, which is restored as it is read."""

    def __init__(self, source: str, blob: Readable, path: str, start: int, stop: int) -> None:
        self.start = start
        self._source = source
        self._blob = blob
        self._path = path
        self._at = start
        self._stop = stop

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._stop - self._at)
        if count:
            try:
                self._blob.readinto(self._at, buffer[:count])
            except NotArchivedError as error:
                raise EntryNotFoundError(f"{self._source}: {self._path!r}: {error}") from None
            self._at += count
        return count

    def close(self) -> None:
        """Nothing of its own is open."""
