"""A folder on a web server: the files of a model, and beside them a list with their sha256.

The list is ``outlast-manifest.json``, a manifest as an archive writes it, or ``SHA256SUMS``, as GNU
``sha256sum`` does; that tells no sizes, so the server is asked for the size of each file.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import quote

from outlast.core.addresses import host_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    BadNameError,
    EntryNotFoundError,
    MalformedError,
    NotFoundError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnreachableError,
)
from outlast.core.manifest import FileEntry, Revision, check_size
from outlast.core.names import RepoId, check_path, plain_ref
from outlast.core.threads import DaemonPool
from outlast.sources.base import (
    Listing,
    RangeReader,
    RemoteRef,
    RepoClaims,
    as_everybody_sees,
    listing_id,
)
from outlast.sources.documents.large import ROOM, Claim, parsing
from outlast.sources.http import Getter, Response
from outlast.sources.kinds import ITSELF
from outlast.sources.listed_files import ListedFiles
from outlast.sources.ranges import FileRequest, is_page_for, open_range, refuse_encoded
from outlast.sources.redirects import Redirects
from outlast.sources.settings import origin
from outlast.sources.statuses import EXPIRED, Answer, meaning, page_in_place
from outlast.sources.tuning import TUNING, Tuning

MANIFEST: Final = "outlast-manifest.json"
SUMS: Final = "SHA256SUMS"
_MAIN: Final = "main"
_LINE: Final = re.compile(rb"(\\?)([0-9a-fA-F]{64}) [ *](.+)\Z", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"\\": "\\", "n": "\n", "r": "\r"}
_ABSENT: Final = frozenset({403, 404, 410})
"""What a web server answers for a file that it does not have; stores of objects say 403."""

_NO_HEAD: Final = frozenset({405, 501})
_OF_ALL: Final = re.compile(r"/(\d{1,19})\Z")
"""The size of the whole in a ``Content-Range``."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What a list says of a folder. `unlisted`: there may be more files than `entries`."""

    commit: GitOid
    entries: tuple[FileEntry, ...]
    unlisted: bool


class FolderSource:
    """Models below one folder, each in a folder by its name; or, where `model` is its path below
    the URL (``.``: the URL itself), one model alone. `token` is sent to its own origin only.
    """

    def __init__(
        self,
        http: Getter,
        url: str,
        token: str | None = None,
        model: str = "",
        tuning: Tuning = TUNING,
        *,
        called: str = "",
    ) -> None:
        """`called`: what users call the URL, if not ``folder+URL``."""
        self._http = http
        self._base = url.rstrip("/")
        self._origin = origin(self._base)
        self._called = called or f"folder+{self._base}"
        self._token = token
        self._model = model
        self._tuning = tuning
        self._signed = Redirects(http, tuning)
        self._listed = ListedFiles(self.name, self._list_main, tuning)
        self._lock = threading.Lock()
        self._sized: OrderedDict[tuple[str, Digest], _Held] = OrderedDict()
        """By folder and the digest of its list: sizes are not asked for again and again."""

    @property
    def name(self) -> str:
        return self._called + (f"={self._model}" if self._model else "")

    # Who may read what

    @property
    def has_token(self) -> bool:
        return self._token is not None

    @property
    def takes_clients(self) -> bool:
        return False

    def with_token(self, token: str | None) -> Self:
        """Shares connections with this one, and nothing that was learned with its token."""
        return type(self)(
            self._http, self._base, token, self._model, self._tuning, called=self._called
        )

    def check_access(self, repo: RepoId, timeout: float | None = None) -> None:
        try:
            folder = self._folder_of(repo)
            if self._manifest(repo, folder, timeout) is None:
                self._sums(repo, folder, timeout)
        except (NotFoundError, AccessDeniedError):
            raise RepoNotFoundError(f"{self.name} has no {repo}, or it is private") from None

    def _claims(self, repo: RepoId, timeout: float | None) -> RepoClaims:
        """A folder says nothing but by what it serves without a token."""
        claims = RepoClaims(private=False, gated=False, tags=(), facts={})
        return as_everybody_sees(self, repo, claims, timeout)

    # What there is

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        """The files of the folder. It has one state, which is ``main``, and goes by its id."""
        folder = self._folder_of(repo)
        held = self._manifest(repo, folder, timeout)
        if held is None:
            held = self._sized_sums(repo, folder, timeout)
        if plain_ref(ref) not in {_MAIN, held.commit.hex}:
            raise RevisionNotFoundError(
                f"{self.name} has no revision {ref[:60]!r} of {repo}",
                hint="a folder has one state: leave the @ out",
            )
        self._listed.note(repo, held.commit, folder, held.entries)
        claims = self._claims(repo, timeout)
        return Listing(repo, held.commit, held.entries, claims, unlisted=held.unlisted)

    def _list_main(self, repo: RepoId) -> Listing:
        return self.describe(repo, _MAIN)

    def refs(self, repo: RepoId, timeout: float | None = None) -> list[RemoteRef]:
        return [RemoteRef(_MAIN, self.describe(repo, _MAIN, timeout).commit, "branches")]

    def _folder_of(self, repo: RepoId) -> str:
        if self._model == ITSELF:
            return self._base
        return f"{self._base}/{quote(self._model or repo.hub_path)}"

    def _manifest(self, repo: RepoId, folder: str, timeout: float | None) -> _Held | None:
        """What a manifest says, if there is one. The commit in it is that of the model which it
        names, and of no other.
        """
        where = f"{folder}/{MANIFEST}"
        with (
            ROOM.shared() as claim,
            self._http.get(where, token=self._token, timeout=timeout) as response,
        ):
            if response.status in _ABSENT:
                return None
            data = self._read(response, repo, self._tuning.manifest, claim)
            if data.lstrip()[:1] == b"<":  # servers of web apps have a page for every path
                return None
            with parsing(len(data)):
                revision = _parsed(self.name, data)
        entries = (*revision.files, *revision.missing)
        is_same = str(revision.repo).lower() == str(repo).lower()
        commit = revision.id if is_same else listing_id(entries)
        return _Held(commit, entries, revision.unlisted)

    def _sums(self, repo: RepoId, folder: str, timeout: float | None) -> bytes:
        with self._http.get(f"{folder}/{SUMS}", token=self._token, timeout=timeout) as response:
            if response.status in _ABSENT:
                raise RepoNotFoundError(
                    f"{self.name} has neither {SUMS} nor {MANIFEST} for {repo} "
                    f"(HTTP {response.status})",
                    hint=f"if the folder is that model itself, write {self._called}=.",
                )
            data = self._read(response, repo, self._tuning.sums)
            if data.lstrip()[:1] == b"<":
                raise page_in_place(self._answer(response, repo))
        return data

    def _read(
        self, response: Response, repo: RepoId, limit: int, claim: Claim | None = None
    ) -> bytes:
        if response.status != 200:
            raise meaning(self._answer(response, repo))
        return response.read_all(limit, self._tuning.large_answer_s, claim)

    def _sized_sums(self, repo: RepoId, folder: str, timeout: float | None) -> _Held:
        """What ``SHA256SUMS`` says, with the size of each file."""
        data = self._sums(repo, folder, timeout)
        name = folder, Digest.of(data)
        with self._lock:
            held = self._sized.get(name)
        if held is not None:
            return held
        digests = parse_sums(data)
        if len(digests) > self._tuning.folder_files:
            raise MalformedError(
                f"{self.name} lists more than {self._tuning.folder_files} files of {repo}",
                hint=f"put a manifest there as {MANIFEST}: it says their sizes",
            )
        safe = [path for path in digests if _is_safe(path)]
        sizes = self._sizes(folder, safe, timeout)
        entries = tuple(
            FileEntry(path, size, sha256=digests[path]) for path, size in sizes if size is not None
        )
        held = _Held(listing_id(entries), entries, unlisted=len(entries) < len(digests))
        with self._lock:
            self._sized[name] = held
            while len(self._sized) > self._tuning.folder_lists:
                self._sized.popitem(last=False)
        return held

    def _sizes(
        self, folder: str, paths: Iterable[str], timeout: float | None
    ) -> list[tuple[str, int | None]]:
        """The size of each file in bytes; None for one that is not there."""
        pool = DaemonPool(self._tuning.folder_askers, "sizes")
        until = time.monotonic() + self._tuning.listing_s
        asked = [
            (path, pool.submit(copy_context().run, self._size, folder, path, timeout, until))
            for path in paths
        ]
        try:
            return [(path, future.result()) for path, future in asked]
        except BaseException:
            for _, future in asked:
                future.cancel()
            raise

    def _size(self, folder: str, path: str, timeout: float | None, until: float) -> int | None:
        if time.monotonic() > until:
            raise UnreachableError(f"{self.name} tells sizes too slowly", again=False)
        url = f"{folder}/{quote(path)}"
        with self._http.get(url, method="HEAD", token=self._token, timeout=timeout) as response:
            is_own = origin(response.url) == self._origin
            if response.status == 200:
                return self._told_size(response, path, response.length)
            if response.status in _ABSENT and is_own:
                return None
            if response.status not in _NO_HEAD and (is_own or response.status not in EXPIRED):
                raise meaning(self._answer(response, path=path))
        return self._size_by_range(url, path, timeout)

    def _size_by_range(self, url: str, path: str, timeout: float | None) -> int | None:
        """The size, where HEAD is not served: a redirect may be signed for GET alone."""
        first = {"Range": "bytes=0-0"}
        with self._http.get(url, headers=first, token=self._token, timeout=timeout) as response:
            if response.status in _ABSENT and origin(response.url) == self._origin:
                return None
            if response.status == 200:
                return self._told_size(response, path, response.length)
            match = _OF_ALL.search(response.headers.get("Content-Range", ""))
            if response.status not in {206, 416} or match is None:
                raise meaning(self._answer(response, path=path))
            return self._told_size(response, path, int(match[1]))

    def _told_size(self, response: Response, path: str, size: int | None) -> int:
        refuse_encoded(response, FileEntry(path, 0))
        if size is None:
            raise MalformedError(f"{self.name} does not tell the size of {path!r}")
        return check_size(size, path)

    # Files

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        """Opens a file by its sha256, under whichever name the folder has it."""
        place = self._listed.find(repo, commit, entry)
        url = f"{place.revision}/{quote(place.path)}"
        there = replace(entry, path=place.path)
        wanted = FileRequest(
            url,
            there,
            self.name,
            ask=lambda headers: self._http.get(url, headers=headers, token=self._token),
            check=lambda response: self._check(response, repo, there),
        )
        return open_range(self._signed, wanted, start, stop)

    def _check(self, response: Response, repo: RepoId, entry: FileEntry) -> None:
        """Refuses an answer whose status or headers say that it is not the file."""
        if response.status in _ABSENT and origin(response.url) == self._origin:
            raise EntryNotFoundError(f"{self.name} has no {entry.path!r}")
        if response.status not in {200, 206}:
            raise meaning(self._answer(response, repo, path=entry.path))
        if is_page_for(response, entry):
            raise page_in_place(self._answer(response, repo, path=entry.path))
        refuse_encoded(response, entry)

    def _answer(self, response: Response, repo: RepoId | None = None, path: str = "") -> Answer:
        return Answer(
            status=response.status,
            headers=response.headers,
            source=self.name,
            host=host_of(response.url),
            repo=str(repo or ""),
            path=path,
            token=self._token is not None,
            elsewhere=origin(response.url) != self._origin,
        )


def parse_sums(data: bytes) -> dict[str, Digest]:
    """The digests of a ``SHA256SUMS``, by path. ``./`` before a path, comments, empty lines and the
    list's own line do not count. Raises :class:`MalformedError` for anything else.

    Format: GNU coreutils, "sha2 utilities": the digest, a space, a space or asterisk, the name; in
    a line that begins with a backslash, one in the name escapes a line break or a backslash.
    """
    found: dict[str, Digest] = {}
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.removesuffix(b"\r")
        if not line or line.startswith(b"#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise MalformedError(f"line {number} of {SUMS} is not as sha256sum writes it")
        path = _path_of(match[3], number, escaped=bool(match[1]))
        digest = Digest(match[2].decode().lower())
        if path in {SUMS, MANIFEST}:
            continue
        if found.setdefault(path, digest) != digest:
            raise MalformedError(f"{SUMS} gives two digests for {path[:200]!r}")
    return found


def _path_of(raw: bytes, number: int, *, escaped: bool) -> str:
    try:
        path = raw.decode()
        if escaped:
            path = _ESCAPED.sub(lambda match: _ESCAPES[match[1]], path)
    except (UnicodeDecodeError, KeyError):
        raise MalformedError(f"line {number} of {SUMS} has a name that is no text") from None
    return path.removeprefix("./")


def _is_safe(path: str) -> bool:
    try:
        check_path(path)
    except BadNameError:
        return False
    return True


def _parsed(source: str, data: bytes) -> Revision:
    try:
        return Revision.from_bytes(data)
    except BadNameError as error:
        raise MalformedError(f"{source} has a manifest with a bad name: {error}") from error
