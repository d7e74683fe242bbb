"""Any registry of container images that holds models: ModelPack, KitOps, Docker's ``ai/*``, ORAS.

Protocol: the OCI distribution specification 1.1; docs/adr/0026-registries.md says what this client
depends on.
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    EntryNotFoundError,
    IntegrityError,
    MalformedError,
    OutlastError,
    RepoNotFoundError,
    RevisionNotFoundError,
)
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId, RepoKind, plain_ref
from outlast.sources.base import Listing, RangeReader, RemoteRef, RepoClaims
from outlast.sources.http import HttpClient
from outlast.sources.registries.api import TAG, Registry, check_time
from outlast.sources.registries.cosign import read_signatures
from outlast.sources.registries.errors import RegistryQuestion
from outlast.sources.registries.layers import files_of, is_model
from outlast.sources.registries.manifest import PREFIX, Descriptor, Manifest, parse
from outlast.sources.registries.signatures import RegistrySignature
from outlast.sources.tuning import TUNING, Tuning

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
_MAIN: Final = "main"
_LATEST: Final = "latest"
"""What ``main`` is in a registry: what a user means who names no tag."""
_DEEPEST: Final = 3
"""Indexes within indexes. The digests forbid circles; this bounds what a tree may cost."""
_ATTESTS: Final = "vnd.docker.reference.type"
"""An annotation of what says something of another manifest."""


@dataclass(frozen=True, slots=True)
class _ModelManifest:
    """The manifest of a model as it is in the registry, byte for byte."""

    manifest: Manifest
    data: bytes
    digest: Digest

    @property
    def commit(self) -> GitOid:
        """A registry has no commits: the start of the digest stands for one."""
        return GitOid(self.digest.hex[:40])


class OciSource:
    """One registry, or what is below a path of it: with ``https://ghcr.io/org``, ``team/model`` is
    ``ghcr.io/org/team/model``. `token` is a bearer token or ``NAME:PASSWORD``, and is sent to the
    registry's own origin only.
    """

    kind: ClassVar[str] = "oci"
    """What stands before the URL in its name."""
    has_tags: ClassVar[bool] = True
    """Whether the registry lists the tags of a model."""

    def __init__(
        self, http: HttpClient, url: str, token: str | None = None, tuning: Tuning = TUNING
    ) -> None:
        self._http = http
        self._base = url.rstrip("/")
        self._token = token
        self._tuning = tuning
        self._below = urlsplit(self._base).path.strip("/")
        self._registry = Registry(http, self._base, token, tuning)
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, Digest], _ModelManifest] = OrderedDict()
        """By the digests that tags have: of manifests, and of indexes that hold one model."""
        self._digests: OrderedDict[tuple[str, GitOid], Digest] = OrderedDict()

    @property
    def name(self) -> str:
        return f"{self.kind}+{self._base}"

    # Who may read what

    @property
    def has_token(self) -> bool:
        return self._token is not None

    @property
    def takes_clients(self) -> bool:
        return False

    def with_token(self, token: str | None) -> Self:
        """Shares connections with this one, and nothing that was learned with its token."""
        return type(self)(self._http, self._base, token, self._tuning)

    def check_access(self, repo: RepoId, timeout: float | None = None) -> None:
        question = self._question(repo, timeout=timeout)
        if self.has_tags:
            self._registry.check_tags(question)
        else:
            self._registry.document(_LATEST, question)

    def _is_private(self, digest: Digest, question: RegistryQuestion) -> bool:
        """What a registry gives to a token may be for that token alone: open is what it serves
        without one. Without an answer the model counts as private.
        """
        if self._token is None:
            return False
        everybody = Registry(self._http, self._base, None, self._tuning)
        try:
            everybody.document(f"{PREFIX}{digest}", question)
        except OutlastError as error:
            _log.info("%s counts as private: without a token, %s", question.repo, error)
            return True
        return False

    # What there is

    def path_of(self, repo: RepoId) -> str:
        """How the registry calls `repo`. Raises :class:`RepoNotFoundError` where it cannot."""
        path = f"{self._below}/{repo.name}".strip("/")
        if not all(map(_NAME.match, path.split("/"))):
            raise RepoNotFoundError(
                f"{self.name} cannot have {path!r}: names in registries are in lower case",
                hint="name the model as the registry does",
            )
        return path

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        """Lists what a tag names, or a digest of 64 hex digits, or, if a tag has it, the first 40
        of those. ``main`` is the tag of that name, else ``latest``.
        """
        question = self._question(repo, plain_ref(ref), timeout=timeout)
        model = self._find(question)
        private = self._is_private(model.digest, question)
        facts = RepoClaims(private=private, gated=False, tags=(), facts={})
        entries = files_of(model.manifest, model.digest, len(model.data))
        return Listing(repo, model.commit, entries, facts)

    def cosign_signatures(self, repo: RepoId, manifest: Digest) -> tuple[RegistrySignature, ...]:
        question = self._question(repo, manifest.hex, timeout=self._tuning.answer_s)
        try:
            return tuple(read_signatures(self._registry, manifest, question, self._tuning))
        except (EntryNotFoundError, RepoNotFoundError, RevisionNotFoundError):
            return ()

    def _find(self, question: RegistryQuestion) -> _ModelManifest:
        ref = question.ref
        if Digest.is_valid(digest := ref.removeprefix(PREFIX)):
            return self._model(f"{PREFIX}{digest}", question)
        if GitOid.is_valid(ref):
            return self._model(f"{PREFIX}{self._digest_of(GitOid(ref), question)}", question)
        if not TAG.match(ref):
            raise RevisionNotFoundError(
                f"{self.name} cannot have {question.repo}@{ref}",
                hint="a tag is up to 128 letters, digits, dots, dashes and underscores",
            )
        if ref != _MAIN:
            return self._model(ref, question)
        try:
            return self._model(ref, question)
        except (RepoNotFoundError, RevisionNotFoundError):
            return self._model(_LATEST, question)

    def _model(self, reference: str, question: RegistryQuestion) -> _ModelManifest:
        """The one model that `reference`, a tag or a digest, leads to."""
        data, digest = self._registry.document(reference, question)
        with self._lock:
            known = self._models.get((question.at, digest))
        if known is not None:
            return known
        model = _only_model(self._manifests(data, digest, question, [digest]), question)
        with self._lock:
            for key in (digest, model.digest):
                self._models[question.at, key] = model
            _trim(self._models, self._tuning.registry_manifests)
        self._remember(question.at, model.digest)
        return model

    def _manifests(
        self,
        data: bytes,
        digest: Digest,
        question: RegistryQuestion,
        read: list[Digest],
        depth: int = 0,
    ) -> Iterator[_ModelManifest]:
        """The manifests below a document, which is the last of those that were `read`."""
        document = parse(data, self._tuning.registry_manifest)
        if isinstance(document, Manifest):
            yield _ModelManifest(document, data, digest)
            return
        if depth == _DEEPEST:
            raise MalformedError(f"{self.name}: the indexes of {question.repo} are nested too deep")
        for one in document.manifests:
            if one.digest in read or _ATTESTS in one.annotations:
                continue
            if len(read) > self._tuning.registry_index:
                raise MalformedError(
                    f"{self.name}: an index of {question.repo} has too many manifests",
                    hint="name one manifest by its digest of 64 hex digits",
                )
            read.append(one.digest)
            inner = self._listed(one, question)
            yield from self._manifests(inner, one.digest, question, read, depth + 1)

    def _listed(self, one: Descriptor, question: RegistryQuestion) -> bytes:
        """A document that an index lists."""
        data, digest = self._registry.document(f"{PREFIX}{one.digest}", question)
        if len(data) != one.size:
            raise IntegrityError(
                f"{self.name}: an index gives {one.size} bytes as the size of {digest.short}"
            )
        return data

    # Tags

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        """The tags of `repo`; and ``main``, where that is ``latest``."""
        question = self._question(repo, "refs", timeout=timeout)
        found = [RemoteRef(tag, commit, "tags") for tag, commit in self._tags(question)]
        names = {ref.name: ref.commit for ref in found}
        if _MAIN not in names and _LATEST in names:
            found.append(RemoteRef(_MAIN, names[_LATEST], "branches"))
        return found

    def _tags(self, question: RegistryQuestion) -> Iterator[tuple[str, GitOid]]:
        """The tags of models, and the commits that they name."""
        if not self.has_tags:
            yield _LATEST, self._model(_LATEST, question).commit
            return
        until = time.monotonic() + self._tuning.listing_s
        for tag in self._registry.tags(question):
            check_time(until, question)
            try:
                digest = self._registry.digest_of(tag, question)
                digest = digest or self._model(tag, question).digest
            except RevisionNotFoundError as error:
                _log.debug("%s: %s", tag, error)
            else:
                yield tag, self._remember(question.at, digest)

    def _remember(self, at: str, digest: Digest) -> GitOid:
        """The commit that a digest stands for; from now on it is found by that."""
        commit = GitOid(digest.hex[:40])
        with self._lock:
            self._digests[at, commit] = digest
            _trim(self._digests, self._tuning.registry_commits)
        return commit

    def _digest_of(self, commit: GitOid, question: RegistryQuestion) -> Digest:
        """The digest that begins so, if a tag has it."""
        known = self._known(commit, question)
        if known is not None:
            return known
        for _, found in self._tags(question):
            if found == commit and (known := self._known(commit, question)) is not None:
                return known
        raise RevisionNotFoundError(
            f"no tag of {question.repo} at {self.name} is {commit.hex[:12]}",
            hint="a registry finds what no tag names by its whole digest alone: "
            f"{question.repo}@DIGEST, with 64 hex digits",
        )

    def _known(self, commit: GitOid, question: RegistryQuestion) -> Digest | None:
        with self._lock:
            return self._digests.get((question.at, commit))

    # Bytes

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        """Finds the file by its sha256, whatever the commit: a registry names bytes by that."""
        digest = entry.sha256
        if digest is None:
            raise EntryNotFoundError(
                f"{self.name} finds files by their sha256, which is not known of {entry.path!r}"
            )
        question = self._question(repo, commit.hex, entry.path)
        if digest.hex.startswith(commit.hex):
            return self._open_manifest(entry, digest, question, start)
        return self._registry.blob(entry, digest, start, stop, question)

    def _open_manifest(
        self, entry: FileEntry, digest: Digest, question: RegistryQuestion, start: int
    ) -> RangeReader:
        """The manifest, which is not among the blobs of a registry."""
        with self._lock:
            model = self._models.get((question.at, digest))
        if model is not None:
            data = model.data
        else:
            data, _ = self._registry.document(f"{PREFIX}{digest}", question)
        if len(data) != entry.size:
            raise IntegrityError(
                f"{entry.path!r} has {len(data)} bytes at {self.name}, not {entry.size}"
            )
        return _InMemory(data, start)

    def _question(
        self, repo: RepoId, ref: str = "", path: str = "", *, timeout: float | None = None
    ) -> RegistryQuestion:
        if repo.kind is not RepoKind.MODEL:
            raise RepoNotFoundError(f"{self.name} has models alone, not {repo}")
        return RegistryQuestion(
            source=self.name,
            url=self._base,
            repo=str(repo),
            at=self.path_of(repo),
            ref=ref,
            path=path,
            token=self._token is not None,
            timeout=timeout,
        )


def _only_model(manifests: Iterable[_ModelManifest], question: RegistryQuestion) -> _ModelManifest:
    models = {one.digest: one for one in manifests if is_model(one.manifest)}
    what = f"{question.repo}@{question.ref} of {question.source}"
    if not models:
        raise RevisionNotFoundError(
            f"{what} is no model: its layers have neither names nor the types of models",
            hint="images of programs are not archived; check the name and the tag",
        )
    if len(models) > 1:
        names = ", ".join(sorted(digest.hex for digest in models)[:4])
        raise RevisionNotFoundError(
            f"{what} is {len(models)} models",
            hint=f"name one of them by its digest, as {question.repo}@DIGEST: {names}",
        )
    (model,) = models.values()
    return model


def _trim(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


class _InMemory:
    """Bytes that are here already, from `start` on."""

    def __init__(self, data: bytes, start: int) -> None:
        self.start = start
        self._left = memoryview(data)[start:]

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        self._left.release()
