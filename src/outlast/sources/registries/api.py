"""The API of one registry: manifests, tags and blobs, with the tokens that it wants."""

import re
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin

from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, MalformedError, UnreachableError
from outlast.core.manifest import FileEntry, load_json
from outlast.sources.base import RangeReader
from outlast.sources.http import HttpClient, Response
from outlast.sources.ranges import FileRequest, is_page_for, open_range, refuse_encoded
from outlast.sources.redirects import Redirects
from outlast.sources.registries.errors import RegistryQuestion, page, read_document, refuse
from outlast.sources.registries.logins import Logins
from outlast.sources.registries.manifest import ACCEPT, INDEX_TYPES, PREFIX
from outlast.sources.settings import origin
from outlast.sources.tuning import Tuning

TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_ABOUT_OTHERS: Final = re.compile(r"sha256-[0-9a-f]{64}")
"""Tags that signatures and the like are kept under (referrers tag schema)."""
_NEXT: Final = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_DIGEST: Final = "Docker-Content-Digest"


def check_time(until: float, question: RegistryQuestion) -> None:
    """Raises once a list has taken until then (monotonic seconds)."""
    if time.monotonic() > until:
        raise UnreachableError(f"{question.source} lists {question.repo} too slowly", again=False)


class Registry:
    """The registry at the origin of `url`. `token` is sent to that origin only. Thread-safe."""

    def __init__(self, http: HttpClient, url: str, token: str | None, tuning: Tuning) -> None:
        self._http = http
        self._url = url
        self._tuning = tuning
        self._root = urljoin(url, "/v2")
        self._logins = Logins(http, url, token, tuning)
        self._redirects = Redirects(http, tuning)

    def document(self, reference: str, question: RegistryQuestion) -> tuple[bytes, Digest]:
        """The bytes of the manifest or index that `reference`, a tag or digest, names, and their
        digest, which must be the one that was asked for, and the one that the registry says.
        """
        url = self._at(question, f"manifests/{reference}")
        with self._get(url, question) as response:
            data = read_document(response, question, self._tuning.registry_manifest, self._tuning)
            said = response.headers.get(_DIGEST, "").strip()
        digest = Digest.of(data)
        for named in (reference, said):
            if named.startswith(PREFIX) and named != f"{PREFIX}{digest}":
                raise IntegrityError(
                    f"{question.source} sent another manifest of {question.repo} than "
                    f"{named[:80]!r}"
                )
        return data, digest

    def digest_of(self, tag: str, question: RegistryQuestion) -> Digest | None:
        """The digest of the manifest that a tag names, as the registry says; None where it does not
        say, or where that is an index. Registries count manifests that are read, not these.
        """
        url = self._at(question, f"manifests/{tag}")
        with self._get(url, question, method="HEAD") as response:
            said = response.headers.get(_DIGEST, "").strip().removeprefix(PREFIX)
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            known = response.status == 200 and Digest.is_valid(said) and kind not in INDEX_TYPES
        return Digest(said) if known else None

    def tags(self, question: RegistryQuestion) -> list[str]:
        """All tags of a repository, page by page; those that signatures are kept under left out."""
        url = self._at(question, "tags/list")
        tags: dict[str, None] = {}
        until = time.monotonic() + self._tuning.listing_s
        while url:
            check_time(until, question)
            with self._get(url, question) as response:
                some = self._read_tags(response, question)
                following = _NEXT.search(response.headers.get("Link", ""))
            before = len(tags)
            tags.update(dict.fromkeys(some))
            if following and len(tags) == before:
                raise MalformedError(f"{question.source}: the tags of {question.repo} do not end")
            if len(tags) > self._tuning.registry_tags:
                raise MalformedError(
                    f"{question.source} has more than {self._tuning.registry_tags} tags of "
                    f"{question.repo}",
                    hint=f"name a tag, as {question.repo}@TAG, or a digest of 64 hex digits",
                )
            url = self._own(urljoin(url, following[1]), question) if following else ""
        return [tag for tag in tags if not _ABOUT_OTHERS.match(tag)]

    def check_tags(self, question: RegistryQuestion) -> None:
        """Returns if the registry itself lists tags of a repository."""
        with self._get(self._at(question, "tags/list?n=1"), question) as response:
            if origin(response.url) != origin(self._url):
                raise MalformedError(
                    f"{question.source} redirects questions for {question.repo} to another host"
                )
            self._read_tags(response, question)

    def blob(
        self, entry: FileEntry, digest: Digest, start: int, stop: int, question: RegistryQuestion
    ) -> RangeReader:
        """Opens the bytes `start` to `stop` of the blob that is the file `entry`."""
        url = self._at(question, f"blobs/{PREFIX}{digest}")
        wanted = FileRequest(
            url,
            entry,
            question.source,
            ask=lambda headers: self._get(url, question, headers=headers),
            check=lambda response: self._check(response, entry, digest, question),
        )
        return open_range(self._redirects, wanted, start, stop)

    def _check(
        self, response: Response, entry: FileEntry, digest: Digest, question: RegistryQuestion
    ) -> None:
        """Refuses an answer whose headers say that it is not the file."""
        refuse(response, question, self._tuning)
        if is_page_for(response, entry):
            raise page(response, question)
        said = response.headers.get(_DIGEST, "").strip()
        if said.startswith(PREFIX) and said != f"{PREFIX}{digest}":
            raise IntegrityError(
                f"{question.source} sends other bytes as {entry.path!r}: {said[:80]!r}"
            )
        refuse_encoded(response, entry)

    def _read_tags(self, response: Response, question: RegistryQuestion) -> list[str]:
        limit = self._tuning.registry_page
        listed = load_json(read_document(response, question, limit, self._tuning), limit)
        tags = listed.get("tags") if isinstance(listed, dict) else 0
        if tags is not None and not isinstance(tags, list):
            raise MalformedError(f"{question.source} listed no tags of {question.repo}")
        return [tag for tag in tags or () if isinstance(tag, str) and TAG.match(tag)]

    def _own(self, url: str, question: RegistryQuestion) -> str:
        """The next page, which is below the same API."""
        if not url.startswith(f"{self._root}/"):
            raise MalformedError(f"{question.source} continues a list at {url[:200]!r}")
        return url

    def _at(self, question: RegistryQuestion, what: str) -> str:
        return f"{self._root}/{question.at}/{what}"

    def _get(
        self,
        url: str,
        question: RegistryQuestion,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        sent = {"Accept": ACCEPT} if headers is None else headers

        def ask(token: str | None) -> Response:
            return self._http.get(
                url, method=method, headers=sent, token=token, timeout=question.timeout
            )

        return self._logins.get(question, ask)
