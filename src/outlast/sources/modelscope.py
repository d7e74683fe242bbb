"""ModelScope, over its HTTP API: models, their branches, tags and commits, and ranges of files.

Protocol: read from what its own client sends (modelscope 1.x and modelscope-hub 0.5), without a
line of it; docs/adr/0025-other-sources.md says what is relied upon, and what was not observed.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

from outlast.core.addresses import host_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    BadNameError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    OutlastError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnreachableError,
)
from outlast.core.manifest import MAX_FILES, FileEntry, check_size, load_json
from outlast.core.names import RepoId, RepoKind, check_path, plain_ref
from outlast.sources.base import (
    Listing,
    RangeReader,
    RemoteRef,
    RepoClaims,
    as_everybody_sees,
    listing_id,
)
from outlast.sources.documents.large import read_json
from outlast.sources.http import HttpClient, Response
from outlast.sources.listed_files import ListedFiles
from outlast.sources.ranges import FileRequest, is_page_for, open_range, refuse_encoded
from outlast.sources.redirects import Redirects
from outlast.sources.settings import origin
from outlast.sources.statuses import Answer, meaning, page_in_place
from outlast.sources.tuning import TUNING, Tuning

_log = logging.getLogger(__name__)

_MAIN: Final = "main"
_MASTER: Final = "master"
"""The branch that every model of ModelScope has; ``main`` means the default branch to us."""
_PUBLIC: Final = 5
"""``Visibility`` of what everybody may see; 1 is private, 3 is for an organisation."""
_GATED: Final = 1
"""``ProtectedMode`` of what has to be applied for."""
_FACTS: Final = {
    "License": "license",
    "LastUpdatedTime": "lastModified",
    "CreatedTime": "createdAt",
}
_READ: Final = ("Path", "Type", "Sha256", "Size")
_KINDS: Final = (("Branches", "branches"), ("Tags", "tags"))


@dataclass(frozen=True, slots=True)
class _Tree:
    """The files of a revision, by path. `whole` is false where some may be missing."""

    files: dict[str, FileEntry]
    whole: bool


class ModelScopeSource:
    """One ModelScope site. `token` is sent to its own origin only."""

    def __init__(
        self, http: HttpClient, url: str, token: str | None = None, tuning: Tuning = TUNING
    ) -> None:
        self._http = http
        self._base = url.rstrip("/")
        self._origin = origin(self._base)
        self._token = token
        self._tuning = tuning
        self._signed = Redirects(http, tuning)
        self._listed = ListedFiles(self.name, self._list_default, tuning)

    @property
    def name(self) -> str:
        return f"modelscope+{self._base}"

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
        try:
            facts = self._about(repo, timeout)[1]
            if not facts.gated:
                self._page(repo, _MASTER, "", recursive=False, timeout=timeout)
        except (NotFoundError, AccessDeniedError):
            raise RepoNotFoundError(f"{self.name} does not know {repo}, or it is private") from None
        if facts.gated:  # no route is known that tells who passed the gate
            raise AccessDeniedError(f"{self.name} does not say who may read {repo}")
        if self._token is None and facts.private:  # though it has answered without a token
            raise RepoNotFoundError(f"{self.name} does not give {repo} to everybody")

    # What there is

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        """The files of a branch, a tag, a commit, or of the id that stands for one."""
        spelled, facts = self._about(repo, timeout)
        plain = plain_ref(ref)
        names = {name for name, _ in self._names(spelled, timeout)}
        for revision in _meant(plain, names):
            listing = self._describe(spelled, revision, timeout)
            if listing is not None and (plain in names or _answers(listing, plain)):
                return replace(listing, facts=as_everybody_sees(self, spelled, facts, timeout))
        raise RevisionNotFoundError(f"{self.name} has no revision {ref[:60]!r} of {spelled}")

    def _list_default(self, repo: RepoId) -> Listing:
        return self.describe(repo, _MAIN)

    def _describe(self, repo: RepoId, revision: str, timeout: float | None) -> Listing | None:
        """The files of a revision by the name that it has there; None if there is none."""
        commit = self._commit_of(repo, revision, timeout)
        named = revision if commit is None else commit.hex
        tree = self._tree(repo, named, timeout)
        if tree is None:
            return None
        entries = list(tree.files.values())
        if commit is None:
            commit = listing_id(entries)
            _log.debug("%s: %s of %s counts as %s", self.name, revision, repo, commit)
        self._listed.note(repo, commit, named, entries)
        nothing = RepoClaims(private=True, gated=False, tags=(), facts={})
        return Listing(repo, commit, entries, nothing, unlisted=not tree.whole)

    def _about(self, repo: RepoId, timeout: float | None) -> tuple[RepoId, RepoClaims]:
        """The model as it is spelled there, and what is claimed of it."""
        if repo.kind is not RepoKind.MODEL:
            raise RepoNotFoundError(
                f"{self.name} is asked for models alone, and {repo} is none",
                hint="name a hub with --from",
            )
        info = self._ask(repo, "", {}, self._tuning.page, timeout)
        if not isinstance(info, dict):
            raise MalformedError(f"{self.name} gave no description of {repo}")
        said = f"{info.get('Path')}/{info.get('Name')}"
        if said.lower() == repo.name.lower() and said.isascii():
            repo = RepoId(repo.kind, said)
        return repo, _facts(info)

    def refs(self, repo: RepoId, timeout: float | None = None) -> list[RemoteRef]:
        """The branches and tags, as far as their commits are told."""
        repo, _ = self._about(repo, timeout)
        listed = [
            (name, self._commit_of(repo, name, timeout), kind)
            for name, kind in self._names(repo, timeout)[: self._tuning.refs]
        ]
        return [RemoteRef(name, commit, kind) for name, commit, kind in listed if commit]

    def _names(self, repo: RepoId, timeout: float | None) -> list[tuple[str, str]]:
        """The names of branches and tags, and which they are."""
        found = self._ask(repo, "/revisions", {}, self._tuning.page, timeout)
        kinds = found.get("RevisionMap") if isinstance(found, dict) else None
        if not isinstance(kinds, dict) or not isinstance(kinds.get("Branches"), list):
            raise MalformedError(f"{self.name} listed no branches of {repo}")
        return [
            (item["Revision"], kind)
            for key, kind in _KINDS
            for item in _list(kinds.get(key))
            if isinstance(item, dict) and isinstance(item.get("Revision"), str)
        ]

    def _commit_of(self, repo: RepoId, revision: str, timeout: float | None) -> GitOid | None:
        """The commit that a branch, tag or commit is; None where the site does not tell."""
        asked = {"Ref": revision, "PageNumber": "1", "PageSize": "1"}
        try:
            found = self._ask(repo, "/commits", asked, self._tuning.page, timeout)
        except (NotFoundError, MalformedError) as error:
            _log.debug("%s names no commit of %s: %s", self.name, repo, error)
            return None
        rows = found.get("Commit") if isinstance(found, dict) else None
        first = rows[0] if isinstance(rows, list) and rows else None
        said = str(first.get("Id")) if isinstance(first, dict) else ""
        if not GitOid.is_valid(said) or (GitOid.is_valid(revision) and said != revision):
            return None
        return GitOid(said)

    def _tree(self, repo: RepoId, revision: str, timeout: float | None) -> _Tree | None:
        """All files of a revision; None if there is no such revision. A listing that may be cut
        short is asked for again folder by folder: the site has no pages.
        """
        first = self._page(repo, revision, "", recursive=True, timeout=timeout)
        if first is None:
            return None
        rows = first
        tree = self._add(_Tree({}, whole=True), repo, rows)
        asked, requests = [""], 1
        until = time.monotonic() + self._tuning.listing_s
        while asked:
            root = asked.pop()
            if root:
                rows = self._rows(repo, revision, root, recursive=True, timeout=timeout)
                tree = self._add(tree, repo, rows)
            if len(rows) < self._tuning.tree_cut:
                continue
            level = self._rows(repo, revision, root, recursive=False, timeout=timeout)
            tree = self._add(tree, repo, level)
            if len(level) >= self._tuning.tree_cut:  # one folder has more than is ever listed
                tree = replace(tree, whole=False)
            asked += _folders(level, root)
            requests += 2
            if requests + len(asked) > self._tuning.tree_lists or len(tree.files) > MAX_FILES:
                raise MalformedError(f"{self.name}: the listing of {repo} does not end")
            if time.monotonic() > until:
                raise UnreachableError(f"{self.name} lists {repo} too slowly", again=False)
        return tree

    def _add(self, tree: _Tree, repo: RepoId, rows: list[Any]) -> _Tree:
        """The tree with the files of one answer."""
        whole = tree.whole
        for item in rows:
            entry = _entry(item)
            if entry is None:
                whole = whole and _is_folder(item)
            elif tree.files.setdefault(entry.path, entry) != entry:
                raise MalformedError(f"{self.name}: the listings of {repo} disagree")
        return replace(tree, whole=whole)

    def _rows(
        self, repo: RepoId, revision: str, root: str, *, recursive: bool, timeout: float | None
    ) -> list[Any]:
        page = self._page(repo, revision, root, recursive=recursive, timeout=timeout)
        if page is None:
            raise MalformedError(f"{self.name}: the listings of {repo} disagree")
        return page

    def _page(
        self, repo: RepoId, revision: str, root: str, *, recursive: bool, timeout: float | None
    ) -> list[Any] | None:
        """One answer: files and folders below `root`. None where there is no such revision, which
        is no error there.
        """
        asked = {"Revision": revision, "Recursive": str(recursive)}
        if root:
            asked["Root"] = root
        limit = self._tuning.hub_description
        rows = self._ask(repo, "/repo/files", asked, limit, timeout, ref=revision, read=_rows_of)
        if rows is None:
            return None
        if rows is False:
            raise MalformedError(f"{self.name} returned a non-list for the files of {repo}")
        found: list[Any] = rows
        return found

    # Files

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        """Opens a file by its sha256, in whichever revision of `repo` it is listed."""
        place = self._listed.find(repo, commit, entry)
        asked = urlencode({"Revision": place.revision, "FilePath": place.path}, quote_via=quote)
        url = f"{self._url(place.repo)}/repo?{asked}"
        wanted = FileRequest(
            url,
            entry,
            self.name,
            ask=lambda headers: self._http.get(url, headers=headers, token=self._token),
            check=lambda response: self._check(response, repo, entry),
        )
        reader = open_range(self._signed, wanted, start, stop)
        if reader.start < start <= self._tuning.skipped:
            return _Skipping(reader, start)
        return reader

    def _check(self, response: Response, repo: RepoId, entry: FileEntry) -> None:
        """Refuses an answer whose status or headers say that it is not the file."""
        if response.status not in {200, 206}:
            raise meaning(self._answer(response, repo, path=entry.path))
        if is_page_for(response, entry):
            raise page_in_place(self._answer(response, repo, path=entry.path))
        for headers in (*response.hops, response.headers):
            linked = headers.get("X-Linked-ETag", "").strip('"').lower()
            if entry.sha256 is not None and Digest.is_valid(linked) and linked != entry.sha256.hex:
                raise IntegrityError(f"{self.name} now serves other bytes as {entry.path!r}")
        refuse_encoded(response, entry)

    # Asking

    def _url(self, repo: RepoId) -> str:
        return f"{self._base}/api/v1/models/{repo.name}"

    def _ask(
        self,
        repo: RepoId,
        route: str,
        query: dict[str, str],
        limit: int,
        timeout: float | None,
        *,
        ref: str = "",
        read: Callable[[Any], Any] = lambda data: data,
    ) -> Any:
        """What `read` makes of the ``Data`` of an answer. Raises what it says where it is no
        success: some failures come with HTTP 200.
        """
        url = self._url(repo) + route + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        with self._http.get(url, token=self._token, timeout=timeout) as response:
            if origin(response.url) != self._origin:
                raise MalformedError(
                    f"{self.name} redirects questions for {repo} to {host_of(response.url)}",
                    hint="if that is the same site, name it by that host",
                )
            if response.status != 200:
                raise meaning(self._answer(response, repo, ref=ref, said=self._said(response)))

            def check(data: bytes) -> None:
                if data.lstrip()[:1] == b"<":
                    raise page_in_place(self._answer(response, repo, ref=ref))

            def data_of(found: object) -> Any:
                if not isinstance(found, dict):
                    raise MalformedError(f"{self.name} returned a non-object for {repo}")
                if found.get("Success") is not True:
                    raise meaning(self._refusal(response, repo, ref, found))
                return read(found.get("Data"))

            within = self._tuning.large_answer_s
            return read_json(response, limit, within, data_of, check=check)

    def _refusal(self, response: Response, repo: RepoId, ref: str, found: dict[str, Any]) -> Answer:
        """The answer that a failure with HTTP 200 stands for. Codes that are no HTTP status are the
        site's own; all that are known say that a thing is not there.
        """
        code = found.get("Code")
        is_status = isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600
        answer = self._answer(response, repo, ref=ref, said=_message(found))
        return replace(answer, status=code if is_status and isinstance(code, int) else 404)

    def _said(self, response: Response) -> str:
        """The site's own words in an answer that is no success."""
        try:
            data = response.read_all(self._tuning.node_description)
            return _message(load_json(data, self._tuning.node_description))
        except OutlastError:
            return ""

    def _answer(
        self, response: Response, repo: RepoId, *, ref: str = "", path: str = "", said: str = ""
    ) -> Answer:
        headers = dict(response.headers)
        if said:
            headers["X-Error-Message"] = said
        return Answer(
            status=response.status,
            headers=headers,
            source=self.name,
            host=host_of(response.url),
            repo=str(repo),
            ref=ref,
            path=path,
            token=self._token is not None,
            elsewhere=origin(response.url) != self._origin,
        )


class _Skipping:
    """The bytes from `start` on of an answer that begins before them. That a site ignores the range
    of one file says nothing of its others, and would cost those their ranges.
    """

    def __init__(self, reader: RangeReader, start: int) -> None:
        self._reader = reader
        self._left = start - reader.start
        self.start = start

    def readinto(self, buffer: memoryview) -> int:
        while self._left:
            count = self._reader.readinto(buffer[: min(len(buffer), self._left)])
            if not count:
                return 0
            self._left -= count
        return self._reader.readinto(buffer)

    def close(self) -> None:
        self._reader.close()


def _rows_of(found: object) -> Any:
    """The rows of a listing, with no more than what is read of them; None where there is none, and
    False where it is no list.
    """
    rows = found.get("Files") if isinstance(found, dict) else found
    if not isinstance(rows, list) or len(rows) > MAX_FILES:
        return rows if rows is None else False
    return [
        {key: row[key] for key in _READ if key in row} if isinstance(row, dict) else None
        for row in rows
    ]


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _meant(ref: str, names: Collection[str]) -> list[str]:
    """What `ref` may be there, the likeliest first, where these `names` are branches and tags.
    Digits that are no commit there may be the id of what the default branch lists.
    """
    default = [name for name in (_MASTER, _MAIN) if name in names][:1]
    if ref == _MAIN:
        return default
    if ref in names:
        return [ref]
    return [ref, *default] if GitOid.is_valid(ref) else []


def _answers(listing: Listing, ref: str) -> bool:
    """Whether a listing is that of `ref`, which is no name there."""
    return ref in {_MAIN, listing.commit.hex}


def _message(found: object) -> str:
    said = found.get("Message") if isinstance(found, dict) else None
    return said[:200] if isinstance(said, str) else ""


def _is_folder(item: object) -> bool:
    return isinstance(item, dict) and item.get("Type") == "tree"


def _folders(level: Iterable[object], root: str) -> list[str]:
    """The folders that lie in `root` itself. Raises :class:`MalformedError` for any other."""
    found: set[str] = set()
    for item in level:
        if not isinstance(item, dict) or not _is_folder(item):
            continue
        path = item.get("Path")
        parent, _, _ = path.rpartition("/") if isinstance(path, str) else ("?", "", "")
        if not isinstance(path, str) or parent != root or path in found:
            raise MalformedError(f"a listing has a folder elsewhere: {str(path)[:100]!r}")
        try:
            found.add(check_path(path))
        except BadNameError:
            raise MalformedError(f"a listing has an unsafe folder: {path[:100]!r}") from None
    return sorted(found)


def _entry(item: object) -> FileEntry | None:
    """A file of a listing; None for a folder, and for a file whose sha256 is not told."""
    if not isinstance(item, dict) or not isinstance(item.get("Path"), str):
        raise MalformedError("the listing has a file without a path")
    if _is_folder(item):
        return None
    path, sha256 = item["Path"], str(item.get("Sha256") or "").lower()
    if not sha256:
        _log.debug("no sha256 of %r is told: it is left out", path)
        return None
    return FileEntry(path, check_size(item.get("Size"), path), sha256=Digest(sha256))


def _facts(info: dict[str, Any]) -> RepoClaims:
    tags = info.get("Tags")
    return RepoClaims(
        private=info.get("Visibility") not in (None, _PUBLIC),
        gated=info.get("ProtectedMode") == _GATED,
        tags=tuple(str(tag)[:200] for tag in tags[:1000]) if isinstance(tags, list) else (),
        facts={ours: str(info[key])[:200] for key, ours in _FACTS.items() if info.get(key)},
    )
