"""Another node, over the node API: a neighbour on the LAN, or a static peer.

Nothing that it says is believed: names are checked against the bytes they name, every answer has
a bound, and redirects are not followed.
"""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from outlast.codec.merkle import Tree, piece_count
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    BadNameError,
    EntryNotFoundError,
    IntegrityError,
    MalformedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnreachableError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, plain_ref
from outlast.core.offer import Offer
from outlast.sources.base import Listing, RangeReader, RemoteRef, RepoClaims
from outlast.sources.documents.large import ROOM, parsing, read_json
from outlast.sources.http import HttpClient, Response
from outlast.sources.peer_documents import (
    CopiesSaid,
    HeldThere,
    ManifestSaid,
    PeerNode,
    read_copies,
    read_models,
    read_node,
    read_payloads,
    read_statements,
)
from outlast.sources.ranges import ask_for_range, read_range
from outlast.sources.settings import HttpSettings
from outlast.sources.statuses import PASSED_ON, Answer, meaning
from outlast.sources.tuning import TUNING, Tuning

T = TypeVar("T")
MOST_BLOBS: Final = 1000
"""In one request for payloads."""
SAMPLE: Final = 4096
"""Bytes of a file that is on its way to a peer, in one request."""
_MIN_PREFIX = 7
"""Digits of a commit that name it."""


def peer_client(settings: HttpSettings) -> HttpClient:
    """A client for peers: proxies are not used."""
    return HttpClient(replace(settings, proxies={}))


class PeerSource:
    """One node, at its peer port. `host` may be an IPv6 address with a scope (``fe80::1%eth0``).
    Thread-safe.
    """

    def __init__(self, http: HttpClient, host: str, port: int, tuning: Tuning = TUNING) -> None:
        self._http = http
        self._tuning = tuning
        bracketed = f"[{host}]" if ":" in host else host
        self.host = host
        self._name = f"peer {bracketed}:{port}"
        self._base = f"http://{bracketed.replace('%', '%25')}:{port}/outlast/v1"
        self._lock = threading.Lock()
        self._revisions: OrderedDict[tuple[RepoId, GitOid], dict[str, FileEntry]] = OrderedDict()

    @property
    def name(self) -> str:
        return self._name

    def node(self, timeout: float | None = None) -> PeerNode:
        """The peer's id, version and ports."""
        return self._json("node", read_node, self._tuning.node_description, timeout)

    def models(
        self,
        query: str = "",
        timeout: float | None = None,
        most: int | None = None,
        *,
        base: Digest | None = None,
    ) -> list[Offer]:
        """The models it offers whose name contains `query`; the first `most` of them. With `base`,
        those that it says were made from the revision of that manifest.
        """
        found = self._models(query, timeout, base)
        # A node of an older version does not know the question, and lists all.
        kept = (offer for offer in found if base is None or base in offer.made_from)
        return list(islice(kept, most))

    def _models(
        self, query: str, timeout: float | None, base: Digest | None = None
    ) -> Iterator[Offer]:
        more = {} if base is None else {"base": base.hex}
        until = time.monotonic() + (timeout or self._tuning.answer_s)
        cursor: int | None = 0
        for _ in range(self._tuning.peer_pages):
            left = until - time.monotonic()
            if left <= 0:
                raise UnreachableError(f"{self.name} answers too slowly")
            path = f"models?{urlencode({'q': query, 'cursor': cursor, **more})}"
            rows, following = self._json(
                path, read_models, self._tuning.peer_page, timeout, within=left
            )
            yield from rows
            if following is None:
                return
            if cursor is None or following <= cursor or not rows:
                break
            cursor = following
        raise MalformedError(f"{self.name}: the list of models does not end")

    def manifest(self, digest: Digest, timeout: float | None = None) -> Revision:
        """The revision that a manifest describes. Raises :class:`IntegrityError` if the peer sends
        another one.
        """
        within = timeout or self._tuning.large_answer_s
        path, limit = f"manifests/{digest}", self._tuning.manifest
        with ROOM.shared() as claim, self._answer(path, timeout) as response:
            data = response.read_all(limit, within, claim)
            if Digest.of(data) != digest:
                raise IntegrityError(f"{self.name} sends another manifest than {digest.short}…")
            try:
                with parsing(len(data)):
                    return Revision.from_bytes(data)
            except BadNameError as error:
                raise MalformedError(
                    f"{self.name} has a manifest with a bad name: {error}"
                ) from error

    def statements(self, manifest: Digest, timeout: float | None = None) -> Sequence[bytes]:
        """The signed statements that the peer has about a manifest, at most 64; none of them is
        checked. Raises :class:`EntryNotFoundError` where it has none, or is too old to know the
        question.
        """
        limit = self._tuning.peer_statements
        return self._json(f"statements/{manifest}", read_statements, limit, timeout)

    def find(self, repo: RepoId, ref: str, timeout: float | None = None) -> Offer:
        """The peer's offer for `ref` (a branch, a tag, a commit or the start of one), with the most
        complete manifest.
        """
        rows = [row for row in self._models(str(repo), timeout) if row.repo == repo]
        if not rows:
            raise RepoNotFoundError(f"{self.name} does not offer {repo}")
        found = _named(rows, plain_ref(ref))
        if not found:
            raise RevisionNotFoundError(f"{self.name} has no revision {ref[:60]!r} of {repo}")
        return min(found, key=lambda row: (row.partial, -row.files, row.manifest))

    def revision(self, model: Offer, timeout: float | None = None) -> Revision:
        """The files of an offer, checked to be of that model and commit."""
        revision = self.manifest(model.manifest, timeout)
        if (revision.repo, revision.id) != (model.repo, model.commit):
            raise IntegrityError(f"{self.name} shows a manifest of {revision.repo} as {model.repo}")
        with self._lock:
            key = (revision.repo, revision.id)
            self._revisions[key] = {entry.path: entry for entry in revision.files}
            self._revisions.move_to_end(key)
            while len(self._revisions) > self._tuning.peer_manifests:
                self._revisions.popitem(last=False)
        return revision

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        """The files of `ref`, including those that the peer lacks."""
        model = self.find(repo, ref, timeout)
        revision = self.revision(model, timeout)
        facts = RepoClaims(private=model.restricted, gated=False, tags=(), facts={})
        entries = (*revision.files, *revision.missing)
        told_by = self.name if model.unconfirmed else ""
        held = frozenset(entry.path for entry in revision.files)
        return Listing(repo, revision.id, entries, facts, revision.unlisted, held, told_by)

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        rows = [row for row in self._models(str(repo), timeout) if row.repo == repo]
        if not rows:
            raise RepoNotFoundError(f"{self.name} does not offer {repo}")
        found = {name: row.commit for row in rows for name in row.refs}
        return [RemoteRef(name, commit, "branches") for name, commit in sorted(found.items())]

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        blob = entry.sha256 or self._blob_of(repo, commit, entry)
        return self._range(f"blobs/{blob}", repr(entry.path), entry.size, start, stop)

    def open_capsule(self, blob: Digest, size: int, start: int, stop: int) -> RangeReader:
        """The bytes `start` to `stop` (exclusive) of the blob's capsule, which has `size`."""
        return self._range(f"capsules/{blob}", f"the capsule of {blob.short}…", size, start, stop)

    def payloads(
        self, blobs: Iterable[Digest], timeout: float | None = None
    ) -> Mapping[Digest, HeldThere]:
        """What the peer has of these blobs; blobs of which it has nothing are left out."""
        wanted = list(dict.fromkeys(blobs))
        found: dict[Digest, HeldThere] = {}
        for at in range(0, len(wanted), MOST_BLOBS):
            asked = wanted[at : at + MOST_BLOBS]
            names = ",".join(f'"{blob}"' for blob in asked)
            body = f'{{"blobs":[{names}]}}'.encode()
            read = partial(read_payloads, asked=asked)
            found |= self._json("payloads", read, self._tuning.peer_page, timeout, body=body)
        return found

    def sample(self, blob: Digest, size: int, start: int, timeout: float) -> bytes:
        """Up to 4096 bytes from `start` of a blob of `size` bytes that the peer is fetching. They
        are not verified by anything.
        """
        stop = min(size, start + SAMPLE)
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        url, what = f"{self._base}/arriving/{blob}", f"blob {blob.short}…"
        with self._http.ask(url, headers=headers, timeout=timeout) as response:
            self._refuse(response, what)
            data = response.read_all(SAMPLE, timeout)
        if len(data) != stop - start:
            raise MalformedError(f"{self.name} sends another part of {what} than it was asked for")
        return data

    def copies(self, timeout: float) -> CopiesSaid:
        """What the peer says of the copies that it holds and wants. Raises
        :class:`EntryNotFoundError` if it takes no part, or is too old to know the question.
        """
        until = time.monotonic() + timeout
        found: list[ManifestSaid] = []
        cursor: int = 0
        for _ in range(self._tuning.peer_pages):
            left = until - time.monotonic()
            if left <= 0:
                raise UnreachableError(f"{self.name} answers too slowly")
            where, limit = f"copies?cursor={cursor}", self._tuning.peer_page
            page, following = self._json(where, read_copies, limit, timeout, within=left)
            found += page.manifests
            if following is None:
                return replace(page, manifests=tuple(found))
            if following <= cursor or not page.manifests:
                break
            cursor = following
        raise MalformedError(f"{self.name}: the list of copies does not end")

    def prove(self, blob: Digest, tree: Tree, block: int, timeout: float) -> None:
        """Asks for block `block` (16 KiB) of the blob of this `tree`, with its proof. Raises
        :class:`IntegrityError` if what comes is not that block, and
        :class:`EntryNotFoundError` if the peer does not have it.
        """
        length = tree.block_length(block)
        path = f"proofs/{blob}?block={block}"
        data = self._body(path, length + tree.proof_length, timeout, within=timeout)
        if not tree.proves(block, data[:length], data[length:]):
            raise IntegrityError(f"{self.name} sends another block {block} of {blob.short}…")

    def layer(self, root: Digest, size: int, timeout: float | None = None) -> Tree:
        """The tree of the file with this `root` and size, down to its pieces."""
        count = piece_count(size)
        if 32 * count > self._tuning.layer:
            raise MalformedError(f"{size} bytes are too many for a file in a swarm")
        if count <= 1:
            return Tree.checked(size, root, b"")
        data = self._body(
            f"layers/{root}", 32 * count, timeout, within=timeout or self._tuning.large_answer_s
        )
        return Tree.checked(size, root, data)

    def _blob_of(self, repo: RepoId, commit: GitOid, entry: FileEntry) -> Digest:
        """The sha256 of a file that goes by its git blob id, as the peer's manifest has it."""
        with self._lock:
            files = self._revisions.get((repo, commit))
        if files is None:
            revision = self.revision(self.find(repo, commit.hex))
            files = {known.path: known for known in revision.files}
        known = files.get(entry.path)
        if known is None or known.sha256 is None:
            raise EntryNotFoundError(
                f"{self.name} has no {entry.path!r} in {repo}@{commit.hex[:12]}"
            )
        if (known.size, known.git_sha1) != (entry.size, entry.git_sha1):
            raise IntegrityError(f"{self.name} has another file as {entry.path!r}")
        return known.sha256

    def _range(self, path: str, what: str, size: int, start: int, stop: int) -> RangeReader:
        headers = {}
        if (start, stop) != (0, size):
            headers["Range"] = f"bytes={start}-{stop - 1}"
        response = ask_for_range(
            lambda: self._http.ask(f"{self._base}/{path}", headers=headers),
            f"{self.name}: {what}",
            size,
        )
        try:
            self._refuse(response, what)
            return read_range(response, what, size, start, stop)
        except BaseException:
            response.close()
            raise

    def _json(
        self,
        path: str,
        read: Callable[[Any], T],
        limit: int,
        timeout: float | None,
        *,
        within: float | None = None,
        body: bytes | None = None,
    ) -> T:
        soon = within or timeout or self._tuning.answer_s
        with self._answer(path, timeout, body) as response:
            return read_json(response, limit, soon, read, containers=self._tuning.peer_containers)

    def _body(self, path: str, limit: int, timeout: float | None, *, within: float) -> bytes:
        """The body of the answer: up to `limit` bytes, within `within` seconds."""
        with self._answer(path, timeout) as response:
            return response.read_all(limit, within)

    @contextlib.contextmanager
    def _answer(
        self, path: str, timeout: float | None, body: bytes | None = None
    ) -> Iterator[Response]:
        """An answer that is none of an error."""
        url = f"{self._base}/{path}"
        with self._http.ask(url, body=body, timeout=timeout) as response:
            self._refuse(response, path.partition("?")[0])
            yield response

    def _refuse(self, response: Response, what: str) -> None:
        """Raises the error that a status stands for."""
        if response.encoding:
            raise MalformedError(
                f"{self.name} encodes {what} ({response.encoding!r}) though asked not to"
            )
        if response.status in {200, 206}:
            return
        said = response.headers.get("X-Error-Message", "")[:200]
        if response.status == 404:
            raise EntryNotFoundError(f"{self.name} has no {what}: {said}")
        if response.status in {401, 403}:
            raise AccessDeniedError(f"{self.name} refuses access: {said or response.status}")
        if response.status < 500 and response.status not in PASSED_ON:
            raise MalformedError(f"{self.name} answered HTTP {response.status} {said}")
        raise meaning(Answer(response.status, response.headers, self.name, self.name, path=what))


def _named(rows: Sequence[Offer], ref: str) -> list[Offer]:
    """The `rows` that `ref` names; none if it could be several commits."""
    exact = [row for row in rows if row.commit.hex == ref or ref in row.refs]
    if exact or len(ref) < _MIN_PREFIX or not set(ref) <= set("0123456789abcdef"):
        found = exact
    else:
        found = [row for row in rows if row.commit.hex.startswith(ref)]
    return found if len({row.commit for row in found}) == 1 else []
