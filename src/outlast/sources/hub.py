"""Any Hugging Face-compatible hub or mirror, over its public HTTP API.

Protocol: the hub's OpenAPI description and the requests of `huggingface_hub`; see
docs/adr/0003-hub-client.md for what this client depends on.
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from outlast.core.addresses import host_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    EntryNotFoundError,
    IntegrityError,
    MalformedError,
    RepoNotFoundError,
    UnreachableError,
)
from outlast.core.manifest import MAX_FILES, FileEntry
from outlast.core.names import RepoId
from outlast.sources.base import Listing, RangeReader, RemoteRef, as_everybody_sees
from outlast.sources.documents.hub_says import read_description, read_refs, read_tree
from outlast.sources.documents.large import read_json
from outlast.sources.git.upload_pack import GitRepository
from outlast.sources.http import HttpClient, Response
from outlast.sources.hub_watch import HubWatch
from outlast.sources.ranges import FileRequest, is_page_for, open_range, refuse_encoded
from outlast.sources.redirects import Redirects
from outlast.sources.settings import origin
from outlast.sources.statuses import Answer, meaning, page_in_place
from outlast.sources.tuning import TUNING, Tuning

T = TypeVar("T")
FOR_ARCHIVE: Final = {"X-Outlast-For": "archive"}
"""Says to another archive that the bytes go into an archive, which has a quarantine of its own."""
_log = logging.getLogger(__name__)

_REFUSED = frozenset({401, 403, 404, 410, 451})
_ASKED_OF_ACCESS = ("sha", "private", "gated")
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


class HubSource:
    """One hub. `token` is sent to its own origin only."""

    def __init__(
        self, http: HttpClient, url: str, token: str | None = None, tuning: Tuning = TUNING
    ) -> None:
        self._tuning = tuning
        self._base = url.rstrip("/")
        self._origin = origin(self._base)
        self._http = http
        self._token = token
        self._lock = threading.Lock()
        self._signed = Redirects(http, tuning)
        self._names: OrderedDict[str, RepoId] = OrderedDict()
        """How this hub spells the models that it described, by their names in lower case."""
        self._confirmed: OrderedDict[tuple[RepoId, GitOid], set[str]] = OrderedDict()
        """Paths of commits, in which both lists agreed: a mirror asks for them again and again."""

    @property
    def name(self) -> str:
        return self._base

    def repository(self, repo: RepoId) -> GitRepository:
        """The model as a repository of git."""
        with self._lock:
            repo = self._names.get(str(repo).lower(), repo)
        return GitRepository(self._http, f"{self._base}/{repo.hub_path}", self._token, self._tuning)

    # Who may read what

    @property
    def has_token(self) -> bool:
        return self._token is not None

    @property
    def takes_clients(self) -> bool:
        return True

    def with_token(self, token: str | None) -> Self:
        """Shares connections with this one, and nothing that was learned with its token."""
        return type(self)(self._http, self._base, token, self._tuning)

    def watched(self) -> HubWatch:
        """The same hub, asked what it says of models; it shares connections and token."""
        return HubWatch(self._http, self._base, self._token, self._tuning)

    def check_access(self, repo: RepoId, timeout: float | None = None) -> None:
        query = urlencode([("expand", name) for name in _ASKED_OF_ACCESS])
        url = f"{self._base}/api/{repo.api_path}?{query}"
        with self._http.get(url, token=self._token, timeout=timeout) as response:
            self._refuse_access(response, repo)
            limit, within = self._tuning.hub_description, timeout or self._tuning.large_answer_s
            about = read_json(
                response, limit, within, partial(_openness, repo=repo, url=response.url)
            )
            if about is None:
                raise MalformedError(f"{self.name} gave no description of {repo}")
        is_private, gated = about
        if self._token is None and (is_private or gated):
            what = AccessDeniedError if gated else RepoNotFoundError
            raise what(f"{self.name} does not give {repo} to everybody")
        if gated is not False:  # only this route tells who passed the gate
            self._pass_gate(repo, timeout)

    def _pass_gate(self, repo: RepoId, timeout: float | None) -> None:
        url = f"{self._base}/api/{repo.api_path}/auth-check"
        with self._http.get(url, token=self._token, timeout=timeout) as response:
            self._refuse_access(response, repo)
            within = timeout or self._tuning.answer_s
            data = response.read_all(self._tuning.node_description, within)
            if data.lstrip()[:1] == b"<":
                raise MalformedError(f"{self.name} answers {repo} with a page")

    def _refuse_access(self, response: Response, repo: RepoId) -> None:
        """Raises unless the hub itself answers 200. A login page is no answer, wherever it is."""
        if origin(response.url) != self._origin:
            raise MalformedError(f"{self.name} redirects questions for {repo} to another host")
        if response.status in _REFUSED:
            if response.headers.get("X-Error-Code") == "GatedRepo":
                raise AccessDeniedError(f"{self.name} refuses access to {repo}")
            raise RepoNotFoundError(f"{self.name} does not know {repo}, or it is private")
        self._refuse(response, repo, "", "")
        if response.status != 200 or "html" in response.headers.get("Content-Type", "").lower():
            raise MalformedError(f"{self.name} gave no answer of a hub for {repo}")

    # What there is

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        url = f"{self._base}/api/{repo.api_path}/revision/{quote(ref, safe='')}?blobs=true"
        said = self._json(
            url, self._tuning.hub_description, timeout, repo, ref, read=read_description
        )
        commit, names, entries = said.commit, said.names, said.entries
        repo = self._spelled(repo, said.spelled)
        facts = as_everybody_sees(self, repo, said.claims, timeout)
        # A mirror says so that has not all files of the commit, and lists those that it has.
        is_part, held = said.partial, said.held
        told_by = self.name if said.by_neighbour else ""
        if entries is not None and self._confirmed.get((repo, commit)) == names:
            return Listing(
                repo, commit, entries, facts, unlisted=is_part, held=held, told_by=told_by
            )
        try:
            tree = self._tree(repo, commit, timeout)
        except (RepoNotFoundError, EntryNotFoundError):  # a mirror without this route
            if entries is None:
                raise
            return Listing(repo, commit, entries, facts, unlisted=True, held=held, told_by=told_by)
        joined = self._joined(repo, names, entries, tree)
        if len(joined) == len(names):
            with self._lock:
                self._confirmed[repo, commit] = names
                while len(self._confirmed) > self._tuning.confirmed_lists:
                    self._confirmed.popitem(last=False)
        return Listing(repo, commit, joined, facts, unlisted=is_part, held=held, told_by=told_by)

    def _spelled(self, repo: RepoId, said: str) -> RepoId:
        """`repo` in the hub's own spelling. What it says of a model that was renamed is not its
        spelling: that is another name.
        """
        if said.lower() == repo.name.lower() and said.isascii():
            repo = RepoId(repo.kind, said)
        with self._lock:
            self._names[str(repo).lower()] = repo
            while len(self._names) > self._tuning.spellings:
                self._names.popitem(last=False)
        return repo

    def _joined(
        self,
        repo: RepoId,
        names: set[str],
        entries: list[FileEntry] | None,
        tree: list[FileEntry],
    ) -> list[FileEntry]:
        """The files of both lists of a commit: a list that was cut short looks like a whole one."""
        found = {entry.path: entry for entry in tree}
        if len(found) < len(tree):
            raise MalformedError(f"{self.name} lists a file of {repo} twice")
        for entry in entries or ():
            if found.setdefault(entry.path, entry) != entry:
                raise MalformedError(f"{self.name}: the listings of {repo} disagree")
        if not names <= found.keys():
            raise MalformedError(f"{self.name}: the listings of {repo} disagree")
        if len(tree) != len(names):
            _log.debug(
                "%s: of %s, one list has %d files, the other %d",
                self.name,
                repo,
                len(names),
                len(tree),
            )
        return list(found.values())

    def refs(self, repo: RepoId, timeout: float | None = None) -> list[RemoteRef]:
        """The branches and tags of `repo`."""
        url = f"{self._base}/api/{repo.api_path}/refs"
        return self._json(url, self._tuning.page, timeout, repo, "refs", read=read_refs)

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        with self._lock:
            repo = self._names.get(str(repo).lower(), repo)
        url = f"{self._base}/{repo.hub_path}/resolve/{commit}/{quote(entry.path)}"
        wanted = FileRequest(
            url,
            entry,
            self.name,
            ask=lambda headers: self._http.get(
                url, headers={**headers, **FOR_ARCHIVE}, token=self._token
            ),
            check=lambda response: self._check(response, repo, commit, entry),
        )
        return open_range(self._signed, wanted, start, stop)

    def _check(self, response: Response, repo: RepoId, commit: GitOid, entry: FileEntry) -> None:
        """Refuses an answer whose headers say that it is not the file."""
        direct = origin(response.url) == self._origin
        self._refuse(response, repo, str(commit), entry.path)
        if is_page_for(response, entry):
            raise page_in_place(self._answer(response, repo, str(commit), entry.path))
        own = [(hop, "X-Linked-Etag") for hop in response.hops]
        if direct:  # another host's ETag may be anything
            own.append((response.headers, "ETag"))
        for headers, key in own:
            declared = headers.get("X-Repo-Commit", commit.hex)
            if declared != commit.hex:
                raise IntegrityError(f"{self.name} returned another commit: {declared[:40]!r}")
            if _names_other_bytes(headers.get(key, ""), entry):
                raise IntegrityError(f"{self.name} now serves other bytes as {entry.path!r}")
        refuse_encoded(response, entry)

    def _json(
        self,
        url: str,
        limit: int,
        timeout: float | None,
        repo: RepoId,
        ref: str,
        *,
        read: Callable[[Any], T],
    ) -> T:
        with self._http.get(
            url, headers=FOR_ARCHIVE, token=self._token, timeout=timeout
        ) as response:
            self._refuse(response, repo, ref)
            return self._read_json(response, limit, repo, ref, read)

    def _read_json(
        self, response: Response, limit: int, repo: RepoId, ref: str, read: Callable[[Any], T]
    ) -> T:
        def check(data: bytes) -> None:
            if data.lstrip()[:1] == b"<":
                raise page_in_place(self._answer(response, repo, ref))

        return read_json(response, limit, self._tuning.large_answer_s, read, check=check)

    def _tree(self, repo: RepoId, commit: GitOid, timeout: float | None) -> list[FileEntry]:
        """The files of a commit, page by page."""
        query = urlencode({"recursive": "true", "expand": "false"})
        url = f"{self._base}/api/{repo.api_path}/tree/{commit}?{query}"
        entries: list[FileEntry] = []
        seen: set[str] = set()
        until = time.monotonic() + self._tuning.listing_s
        while url:
            if url in seen or len(entries) > MAX_FILES:
                raise MalformedError(f"{self.name}: the listing of {repo} does not end")
            if time.monotonic() > until:
                raise UnreachableError(f"{self.name} lists {repo} too slowly", again=False)
            seen.add(url)
            with self._http.get(
                url, headers=FOR_ARCHIVE, token=self._token, timeout=timeout
            ) as response:
                self._refuse(response, repo, str(commit))
                limit = self._tuning.page
                page = self._read_json(response, limit, repo, str(commit), read_tree)
                following = _NEXT.search(response.headers.get("Link", ""))
            if following and not page.rows:
                raise MalformedError(f"{self.name}: the listing of {repo} does not end")
            entries += page.entries
            url = self._own(urljoin(url, following[1])) if following else ""
        return entries

    def _own(self, url: str) -> str:
        """The same path and query on this hub: mirrors hand out page links that name the hub behind
        them, and that hub is not the one that was asked.
        """
        if origin(url) == self._origin:
            return url
        parts = urlsplit(url)
        if not parts.path.startswith("/api/"):
            raise MalformedError(f"{self.name} continues a listing at {url[:200]!r}")
        return f"{self._base}{parts.path}?{parts.query}"

    def _refuse(self, response: Response, repo: RepoId, ref: str, path: str = "") -> None:
        """Raises what an error status means."""
        if response.status in {200, 206}:
            return
        raise meaning(self._answer(response, repo, ref, path))

    def _answer(self, response: Response, repo: RepoId, ref: str, path: str = "") -> Answer:
        return Answer(
            status=response.status,
            headers=response.headers,
            source=self.name,
            host=host_of(response.url),
            repo=str(repo),
            ref=ref,
            path=path,
            token=self._token is not None,
            elsewhere=origin(response.url) != self._origin,
        )


def _openness(info: object, repo: RepoId, url: str) -> tuple[bool, bool | None] | None:
    """Whether a description calls the model private, and gated (None: it does not say); None if it
    is no description of `repo`.
    """
    if not isinstance(info, dict) or not _describes(info, repo, url):
        return None
    gated = info.get("gated")
    return bool(info.get("private")), None if gated is not False and not gated else bool(gated)


def _describes(info: object, repo: RepoId, url: str) -> bool:
    """Whether this is a hub's description of `repo`, or of what it is called now: then the hub has
    redirected to `url`.
    """
    if not isinstance(info, dict) or not GitOid.is_valid(str(info.get("sha"))):
        return False
    name = str(info.get("id"))
    return name.lower() == repo.name.lower() or unquote(urlsplit(url).path).endswith(
        f"/{repo.kind.plural}/{name}"
    )


def _names_other_bytes(etag: str, entry: FileEntry) -> bool:
    name = etag.removeprefix("W/").strip('"')
    if entry.git_sha1 is not None and GitOid.is_valid(name):
        return name != entry.git_sha1.hex
    return entry.sha256 is not None and Digest.is_valid(name) and name != entry.sha256.hex
