"""What a hub says of models, beside their bytes: asked politely, and its refusals told apart.

Protocol: the hub's OpenAPI description and the requests of `huggingface_hub`. Answers may be
conditional (``ETag``, ``If-None-Match``: RFC 9110), and tell how many requests are left
(``RateLimit``: draft-ietf-httpapi-ratelimit-headers). As everywhere in this room, nothing that
comes is believed before it was checked, and each answer has a bound.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urljoin, urlsplit

from outlast.core.addresses import host_of
from outlast.core.digest import GitOid
from outlast.core.errors import MalformedError, TransientError, UnreachableError
from outlast.core.manifest import load_json
from outlast.core.names import RepoId, RepoKind
from outlast.sources.http import HttpClient, Response
from outlast.sources.settings import origin
from outlast.sources.statuses import Answer, meaning, page_in_place, retry_after
from outlast.sources.tuning import TUNING, Tuning

_REFUSALS: Final = frozenset({401, 403, 404, 410, 451})
_EXPAND: Final = (
    "cardData",
    "disabled",
    "gated",
    "lastModified",
    "private",
    "sha",
    "tags",
    "usedStorage",
)
"""Of what all models, and all datasets, have: a list with these names answers all questions."""
_NEXT: Final = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_PAGE: Final = 1000
"""Models that are asked for at once. Hubs may give fewer."""


class Asked(NamedTuple):
    """A hub's answer to a question about one model. `status` is 200, 304 or one of a refusal;
    `document` is None without an answer of 200, `reason` the hub's own words for a refusal.
    `disabled`: the hub itself has turned the model off.
    """

    status: int
    document: Any = None
    etag: str = ""
    reason: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class FileSeen:
    """A file in a listing: git's id of it (of the pointer to it, if it is large), and its bytes."""

    oid: str
    size: int


class HubWatch:
    """One hub, asked by one thread. `token` is sent to its own origin only. Raises the errors of
    sources where the hub gives no answer of its own: those say nothing of a model.
    """

    def __init__(
        self, http: HttpClient, url: str, token: str | None = None, tuning: Tuning = TUNING
    ) -> None:
        self._http = http
        self._base = url.rstrip("/")
        self._origin = origin(self._base)
        self._token = token
        self._tuning = tuning
        self.requests = 0
        """That were sent, since the beginning."""
        self.wait = 0.0
        """Seconds that the hub asked to wait in its last answer."""

    @property
    def name(self) -> str:
        return self._base

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def with_token(self, token: str | None) -> "HubWatch":
        """The same hub, asked with another token, or without."""
        return HubWatch(self._http, self._base, token, self._tuning)

    # One model

    def info(self, repo: RepoId, etag: str = "") -> Asked:
        """What the hub says of a model beside its files."""
        query = urlencode([("expand", name) for name in _EXPAND])
        return self._ask(f"/api/{repo.api_path}?{query}", repo, etag)

    def refs(self, repo: RepoId, etag: str = "") -> Asked:
        """The branches and tags of a model."""
        return self._ask(f"/api/{repo.api_path}/refs", repo, etag)

    def descends(self, repo: RepoId, new: GitOid, old: GitOid) -> bool | None:
        """Whether `old` is among the ancestors of `new`. None if the hub does not say, or if the
        history is longer than the bound.
        """
        url: str | None = f"{self._base}/api/{repo.api_path}/commits/{new}?limit={_PAGE}"
        until = time.monotonic() + self._tuning.listing_s
        for _ in range(self._tuning.history_pages):
            if url is None:
                return False
            self._check_time(until)
            with self._get(url) as response:
                if self._refusal(response, repo) is not None:
                    return None
                page = self._document(response, repo)
                url = self._next(response)
            if not isinstance(page, list) or not page:
                return None
            if any(isinstance(row, dict) and row.get("id") == old.hex for row in page):
                return True
        return False if url is None else None

    def files(self, repo: RepoId, commit: GitOid) -> Mapping[str, FileSeen] | None:
        """The files of a commit; None if the hub has it no more, or gives no sizes."""
        asked = self._ask(f"/api/{repo.api_path}/revision/{commit}?blobs=true", repo)
        info = asked.document
        if not isinstance(info, dict) or not isinstance(info.get("siblings"), list):
            return None
        if info.get("sha") != commit.hex:
            return None
        found = {}
        for row in info["siblings"]:
            if not isinstance(row, dict) or not isinstance(row.get("rfilename"), str):
                raise MalformedError(f"{self.name} lists a file of {repo} without a name")
            size = row.get("size")
            if not isinstance(size, int) or size < 0:
                return None
            found[row["rfilename"]] = FileSeen(str(row.get("blobId", "")), size)
        return found

    def text(self, repo: RepoId, commit: GitOid, path: str) -> str | None:
        """A small text of a commit; None if the hub does not give it, or it is too large."""
        url = f"{self._base}/{repo.hub_path}/resolve/{commit}/{quote(path)}"
        with self._get(url) as response:
            if self._refusal(response, repo) is not None or response.status != 200:
                return None
            if (response.length or 0) > self._tuning.card:
                return None
            try:
                data = response.read_all(self._tuning.card)
            except MalformedError:
                return None
        return data.decode(errors="replace")

    # Many models

    def listed(self, kind: RepoKind, terms: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """What the hub says of each of the models that `terms` name: ``author``, ``filter`` (a tag)
        …; page by page. Raises :class:`MalformedError` where there are too many.
        """
        until = time.monotonic() + self._tuning.listing_s
        query = urlencode([*terms, ("limit", _PAGE), *(("expand", name) for name in _EXPAND)])
        url: str | None = f"{self._base}/api/{kind.plural}?{query}"
        for _ in range(self._tuning.model_pages):
            if url is None:
                return
            self._check_time(until)
            with self._get(url) as response:
                if self._refusal(response, None) is not None:
                    return
                page = self._document(response, None)
                url = self._next(response)
            if not isinstance(page, list):
                raise MalformedError(f"{self.name} returned no list of models")
            yield from (row for row in page if isinstance(row, dict))
        if url is not None:
            raise MalformedError(f"{self.name} lists too many models", hint="follow fewer at once")

    def collection(self, slug: str) -> list[tuple[str, str]] | None:
        """The kinds and names of what is in a collection; None if the hub does not know it."""
        with self._get(f"{self._base}/api/collections/{quote(slug)}") as response:
            if self._refusal(response, None) is not None:
                return None
            document = self._document(response, None)
        items = document.get("items") if isinstance(document, dict) else None
        if not isinstance(items, list):
            raise MalformedError(f"{self.name} returned no items of the collection {slug}")
        return [
            (str(item.get("type", item.get("repoType", ""))), str(item["id"]))
            for item in items
            if isinstance(item, dict) and "id" in item
        ]

    def answers(self) -> bool:
        """Whether the hub as a whole answers anything."""
        try:
            with self._get(f"{self._base}/api/models?limit=1") as response:
                refusal = self._refusal(response, None)
                if refusal is None:
                    self._document(response, None)
        except (TransientError, MalformedError):
            return False
        return refusal is None or refusal.status in {401, 403}

    # HTTP

    def _check_time(self, until: float) -> None:
        """Raises once a list has taken until then (monotonic seconds)."""
        if time.monotonic() > until:
            raise UnreachableError(f"{self.name} lists too slowly", again=False)

    def _ask(self, path: str, repo: RepoId, etag: str = "") -> Asked:
        headers = {"If-None-Match": etag} if etag else {}
        with self._get(f"{self._base}{path}", headers) as response:
            if response.status == 304 and etag:
                return Asked(304, etag=etag)
            refusal = self._refusal(response, repo)
            if refusal is not None:
                return refusal
            document = self._document(response, repo)
            return Asked(200, document, response.headers.get("ETag", "")[:200])

    def _get(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        self.requests += 1
        self.wait = 0.0
        response = self._http.get(url, headers=headers, token=self._token)
        self.requests += len(response.hops)
        self.wait = retry_after(response.headers) or 0.0
        return response

    def _refusal(self, response: Response, repo: RepoId | None) -> Asked | None:
        """What the hub itself refuses; None for what it gives. Raises what other statuses mean."""
        if response.status == 200:
            return None
        answer = self._answer(response, repo)
        error = meaning(answer)
        html = "html" in response.headers.get("Content-Type", "").lower()
        if isinstance(error, TransientError) or response.status not in _REFUSALS:
            raise error
        if (html and not (answer.code or answer.said or response.status == 451)) or (
            answer.elsewhere and response.status != 451
        ):
            raise page_in_place(answer)
        return Asked(
            response.status,
            reason=answer.said or answer.code or f"HTTP {response.status}",
            disabled=response.status == 403 and error.code == "withdrawn",
        )

    def _document(self, response: Response, repo: RepoId | None) -> Any:
        data = response.read_all(self._tuning.page, self._tuning.large_answer_s)
        if data.lstrip()[:1] == b"<" or origin(response.url) != self._origin:
            raise page_in_place(self._answer(response, repo))
        return load_json(data, self._tuning.page)

    def _next(self, response: Response) -> str | None:
        """The next page, which is this hub's own: a proxy may have written another address."""
        found = _NEXT.search(response.headers.get("Link", ""))
        if found is None:
            return None
        try:
            parts = urlsplit(urljoin(response.url, found[1]))
        except ValueError:
            raise MalformedError(f"{self.name} continues a list nowhere") from None
        return f"{self._base}{parts.path.removeprefix(urlsplit(self._base).path)}?{parts.query}"

    def _answer(self, response: Response, repo: RepoId | None) -> Answer:
        return Answer(
            status=response.status,
            headers=response.headers,
            source=self.name,
            host=host_of(response.url),
            repo="" if repo is None else str(repo),
            token=self._token is not None,
            elsewhere=origin(response.url) != self._origin,
        )
