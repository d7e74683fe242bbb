"""The hub's API over an archive: one handler, which every request goes through."""

import functools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web

from outlast.core.claims import Assessor
from outlast.core.errors import (
    AccessDeniedError,
    OutlastError,
    RefusedByRulesError,
    RepoNotFoundError,
    RevisionNotFoundError,
)
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.mirror.answers import Found
from outlast.mirror.asker import Asker, Voice, reads_like_a_token
from outlast.mirror.mirror import Mirror
from outlast.mirror.streaming import StreamingFile
from outlast.mirror.views import View
from outlast.server.http.exchange import Exchange
from outlast.server.http.files import (
    ByteSpan,
    Delivery,
    Limits,
    StreamingReader,
    choose_span,
    file_headers,
    is_closed,
    not_modified,
    send_head,
)
from outlast.server.http.guard import Tokens, bearer
from outlast.server.http.log import log_line
from outlast.server.http.memory import Memory
from outlast.server.http.metrics import Metrics
from outlast.server.http.mount import Mount, Mounts
from outlast.server.http.outlet import Outlet
from outlast.server.http.queries import ORIGIN, flag, parse_form, read_query
from outlast.server.http.replies import (
    CLAIMS_HEADER,
    LISTED_BY_HEADER,
    PARTIAL_HEADER,
    STALE_HEADER,
    error_reply,
    failure,
    json_reply,
    without_paths,
)
from outlast.server.hub import documents, pages, raw, refusals
from outlast.server.hub.catalogue import Catalogue
from outlast.server.hub.claims import ServedClaims
from outlast.server.hub.entrance import Entrance, SpelledOtherwise, Spelling
from outlast.server.hub.health import DiskHealth, try_disk
from outlast.server.hub.routes import PAGES, WRITING, HubRoute, parse, respelled
from outlast.server.hub.withholding import Withholding, is_for_archive
from outlast.server.tuning import TUNING, ServerTuning
from outlast.sources.base import NEIGHBOUR
from outlast.store.cached.holds import HeldRevisions
from outlast.store.reading import BlobReader

_ASKED: Final = {"WWW-Authenticate": "Bearer"}
BODY: Final = 1024 * 1024
"""Bytes of a request for ``paths-info``: some ten thousand paths."""

_READING: Final = frozenset({"GET", "HEAD"})
_METHODS: Final[Mapping[str, frozenset[str]]] = {
    "paths-info": frozenset({"POST"}),
    "git": frozenset({"GET", "HEAD", *WRITING}),
    "write": frozenset(),
}
_FILES: Final = frozenset({"resolve", "raw", "blob"})
_DOCUMENTS: Final = {"page": "info", "folder": "tree"}
"""What a program gets where a browser gets a page."""


@dataclass(slots=True)
class HubExchange(Exchange):
    """A request of the hub's API; `found` is the revision that it came to, and `claims` what
    clients are told of it.
    """

    found: Found | None = None
    claims: str = ""


class Hub:
    """Answers requests. Everything that touches a disk or a source runs in threads."""

    def __init__(
        self,
        mirror: Mirror,
        metrics: Metrics,
        *,
        tokens: Tokens | None,
        limits: Limits,
        mounts: Iterable[Mount] = (),
        assessor: Assessor | None = None,
        tuning: ServerTuning = TUNING,
    ) -> None:
        """Without `tokens` every client may read. `mounts` get their paths before the hub's API.
        `assessor` says which claims clients are told of.
        """
        self._claims = ServedClaims(mirror.archive, assessor, tuning=tuning)
        self._mounts = Mounts(mounts)
        self._tuning = tuning
        self._mirror = mirror
        self._catalogue = Catalogue(mirror, tuning)
        self._metrics = metrics
        self._tokens = tokens
        self._limits = limits
        self._outlet = Outlet(mirror.archive, metrics, tuning.hub_threads, tuning)
        self._threaded, self._bodies = self._outlet.threaded, self._outlet.bodies
        self._withholding = Withholding(mirror.quarantine, self._threaded)
        self._entrance = Entrance(mirror.access, self._threaded)
        work = functools.partial(try_disk, mirror.archive.layout)
        self._health = DiskHealth(work, fetches=mirror.fetches, tuning=tuning)

    async def tidy(self) -> None:
        """Frees from time to time what is kept for requests that did not come."""
        await self._outlet.tidy()

    def close(self) -> None:
        self._outlet.close()

    @property
    def memory(self) -> Memory:
        """What clients may make the server hold."""
        return self._bodies.memory

    def refused(self, request: web.Request, response: web.Response) -> None:
        """Notes a request that was not for this server, as any other."""
        exchange = HubExchange(request, what="refused")
        self._metrics.requests.labels(exchange.what, request.method, response.status).inc()
        _log(exchange, response, 0.0)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request, and writes its access line."""
        started = time.monotonic()
        exchange = HubExchange(request)
        response: web.StreamResponse
        try:
            path = request.rel_url.raw_path
            mount = self._mounts.find(path)
            if mount is not None:
                response = await self._mounted(exchange, mount)
            else:
                response = await self._route(exchange, parse(path, request.method))
        except Exception as error:  # noqa: BLE001 - told apart, and bugs are logged
            response = _failed(exchange, error)
        seconds = time.monotonic() - started
        what = exchange.what
        self._metrics.requests.labels(what, request.method, response.status).inc()
        self._metrics.seconds.labels(what).observe(seconds)
        self._metrics.sent.inc(exchange.sent)
        _log(exchange, response, seconds)
        return response

    async def _mounted(self, exchange: HubExchange, mount: Mount) -> web.StreamResponse:
        exchange.what = mount.name
        if exchange.request.method not in mount.methods:
            return refusals.not_for(exchange.request.method, mount.methods)
        found = self._asker(exchange.request)
        if found is None:
            return _unauthorized()
        _, exchange.asker = found
        return await mount.handle(exchange)

    def _asker(self, request: web.Request) -> tuple[str, Asker] | None:
        """The name of who asks, and what the request brings; None where it needs a token of the
        operator's file and has none. Those tokens are the operator's: no hub gets them.
        """
        if self._tokens is not None:
            grant = self._tokens.grant_of(request)
            return None if grant is None else (grant.name, Asker(None, grant.models, named=True))
        token = bearer(request)
        sent_on = token if token is not None and reads_like_a_token(token) else None
        return "anyone", Asker(sent_on, named=token is not None)

    async def _route(self, exchange: HubExchange, route: HubRoute) -> web.StreamResponse:
        request = exchange.request
        exchange.what = route.what
        allowed = _METHODS.get(route.what, _READING)
        if request.method not in allowed:
            return refusals.wrong_method(request.method, allowed)
        if route.what == "git":
            return refusals.no_git(request.method)
        if route.what == "health":
            return await self._health.reply()
        found = self._asker(request)
        if found is None:
            return _unauthorized()
        user, asker = found
        if route.what == "metrics":
            return self._numbers()
        if route.what == "whoami":
            return json_reply(documents.whoami(user))
        return await self._for_asker(exchange, route, asker)

    def _numbers(self) -> web.Response:
        self._metrics.fetches.set(self._mirror.streams.count)
        self._metrics.damaged_blobs.set(len(self._mirror.archive.damage.all()))
        kind = {"Content-Type": "text/plain; version=0.0.4"}
        return web.Response(body=self._metrics.text(), headers=kind)

    async def _for_asker(
        self, exchange: HubExchange, route: HubRoute, asker: Asker
    ) -> web.StreamResponse:
        """Answers what depends on who asks."""
        if route.what == "list":
            query = read_query(exchange.request)
            return await self._threaded(self._catalogue.repositories, route, query, asker)
        try:
            if route.what in PAGES:
                return await self._page(exchange, route, asker)
            return await self._repo(exchange, route, asker)
        except (RepoNotFoundError, AccessDeniedError) as error:
            if asker.named or exchange.response is not None:
                raise
            return _anonymous(exchange, error)

    async def _page(
        self, exchange: HubExchange, route: HubRoute, asker: Asker
    ) -> web.StreamResponse:
        """A path that people type: a browser gets a page, a program the API's document."""
        query = read_query(exchange.request)
        if not pages.is_browser(exchange.request):
            if route.what == "home":
                response: web.StreamResponse = json_reply(documents.home(query[ORIGIN]))
            else:
                document = replace(route, what=_DOCUMENTS[route.what])
                response = await self._repo(exchange, document, asker)
            response.headers["Vary"] = pages.HEADERS["Vary"]
            return response
        if route.what == "home":
            return await self._threaded(self._catalogue.home, route, query, asker)
        return await self._repo(exchange, route, asker)

    async def _repo(
        self, exchange: HubExchange, route: HubRoute, asker: Asker
    ) -> web.StreamResponse:
        if route.repo is None:
            raise RepoNotFoundError("no repository is named")
        if route.what == "paths-info":  # what waits has not begun: no thread works for it
            async with self._bodies.turn(exchange.request):
                return await self._named(exchange, route, route.repo, asker)
        return await self._named(exchange, route, route.repo, asker)

    async def _named(
        self, exchange: HubExchange, route: HubRoute, repo: RepoId, asker: Asker
    ) -> web.StreamResponse:
        """Answers for a repository, or leads to it where the archive spells it otherwise."""
        answer = self._refs if route.what == "refs" else self._revision
        try:
            return await answer(exchange, route, repo, asker, self._mirror.spelling)
        except SpelledOtherwise as other:
            if await self._is_readable(asker, other.name, route):
                return _respelled(exchange.request, other.name)
        return await answer(exchange, route, repo, asker, None)

    async def _refs(
        self,
        exchange: HubExchange,
        _route: HubRoute,
        repo: RepoId,
        asker: Asker,
        spelled: Spelling | None,
    ) -> web.StreamResponse:
        refs, _ = await self._entrance.find(
            asker, repo, lambda voice: self._mirror.refs.of(repo, voice), spelled=spelled
        )
        flags = ("include_prs", "include_pull_requests")
        document = documents.refs(
            refs.refs, pull_requests=any(flag(exchange.request.query, name) for name in flags)
        )
        marks = _stale(refs.stale_since, self._metrics) | _listed_by(refs.unconfirmed)
        return json_reply(document, marks)

    async def _revision(
        self,
        exchange: HubExchange,
        route: HubRoute,
        repo: RepoId,
        asker: Asker,
        spelled: Spelling | None,
    ) -> web.StreamResponse:
        request, ref = exchange.request, route.ref or "main"
        found, voice = await self._entrance.find(
            asker, repo, lambda voice: self._mirror.find(repo, ref, voice), spelled=spelled
        )
        exchange.found = found
        if (name := found.view.revision.repo) != repo:  # the source upstream spells it so
            if not await self._is_readable(asker, name, route):
                raise RepoNotFoundError(f"there is no {repo} here, or it is not for you to read")
            return _respelled(request, name)
        exchange.claims = await self._claims_of(found)
        if route.what in _FILES:
            return await self._file(exchange, route, found, voice)
        query = read_query(request)
        answer = functools.partial(self._catalogue.document, for_archive=is_for_archive(request))
        if route.what == "paths-info":
            kind = request.content_type
            # Answered in the turn in which it is parsed: many long ones would hold up all others.
            reply = await self._bodies.read_in_turn(
                request,
                BODY,
                lambda data: answer(route, found, query, parse_form(data, kind)),
            )
        else:
            reply = await self._threaded(answer, route, found, query, {})
        reply.headers.update(_marks(exchange, found, self._metrics))
        return reply

    async def _claims_of(self, found: Found) -> str:
        """The claims that clients are told of. Raises :class:`RevokedError`."""
        revision = found.view.revision
        known = self._claims.known(revision)
        return await self._threaded(self._claims.look, revision) if known is None else known

    async def _is_readable(self, asker: Asker, repo: RepoId, route: HubRoute) -> bool:
        """Whether `asker` may know that `repo` is here. What is hidden is not told apart from what
        is missing by a redirect, nor by an error that spells its name.
        """
        ref = "main" if route.what == "refs" else route.ref or "main"
        try:
            await self._entrance.find(
                asker, repo, lambda voice: self._mirror.find(repo, ref, voice)
            )
        except (RevisionNotFoundError, RefusedByRulesError):
            return True  # it is said of what may be read alone
        except OutlastError:
            return False
        return True

    # Files

    async def _file(
        self, exchange: HubExchange, route: HubRoute, found: Found, voice: Voice
    ) -> web.StreamResponse:
        view, request, path = found.view, exchange.request, route.path
        commit = view.revision.id.hex
        try:
            entry = self._mirror.entry(view, path)
        except OutlastError as error:
            return error_reply(error, {"X-Repo-Commit": commit})
        headers = file_headers(entry, commit) | _marks(exchange, found, self._metrics)
        if route.what == "blob":
            where = pages.file_path(view.revision.repo, route.ref, path)
            return web.Response(status=307, headers={"Location": where, "X-Repo-Commit": commit})
        if route.what == "raw":
            if entry.is_lfs and entry.sha256 is not None:
                pointer = raw.pointer(entry, entry.sha256, commit)
                return not_modified(request, pointer.headers) or pointer
            headers |= raw.HEADERS
        if (refused := await self._withholding.refused(request, view, entry)) is not None:
            return error_reply(refused, {"X-Repo-Commit": commit})
        await self._note_use(view)
        if (unchanged := not_modified(request, headers)) is not None:
            return unchanged
        if request.method == "HEAD":
            return await send_head(request, entry.size, headers)
        return await self._body(exchange, view, entry, voice, headers)

    async def _body(
        self,
        exchange: HubExchange,
        view: View,
        entry: FileEntry,
        voice: Voice,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        request = exchange.request
        if not self._mirror.archive.rules.is_open:
            await self._judge_card(exchange, view, entry, voice)
        span = choose_span(request, entry.size, entry.etag)
        if not isinstance(span, ByteSpan):
            return span
        headers |= span.headers(entry.size)
        delivery = Delivery(request, span, headers, self._limits, exchange.count, exchange.begin)
        with self._mirror.quota.hold() as held:
            opened = functools.partial(self._opened, view, entry.path, voice, held)
            source, blob = await self._threaded(opened)
            if isinstance(source, StreamingFile):
                return await self._send_streaming(delivery, source, view)
            try:
                await self._withholding.require(request, view, source)
                resumes = span.resumes(entry.size)
                if resumes and not await self._threaded(self._mirror.may_resume, entry):
                    delivery = delivery.whole()  # the client then starts over
                return await self._send_blob(delivery, source, blob)
            finally:
                if blob is not None:
                    self._outlet.give_back(blob)

    def _opened(
        self, view: View, path: str, voice: Voice, held: HeldRevisions
    ) -> tuple[FileEntry | StreamingFile, BlobReader | None]:
        """A file as `Mirror.open` finds it, and its blob where that opens. In one turn of a thread:
        small files are asked for most, and each turn waits for Python's lock.
        """
        source = self._mirror.open(view, path, voice, held)
        if isinstance(source, StreamingFile) or source.sha256 is None:
            return source, None
        return source, self._outlet.take(source.sha256)

    async def _judge_card(
        self, exchange: HubExchange, view: View, entry: FileEntry, voice: Voice
    ) -> None:
        """Fetches the card before any byte of another file goes out, and asks the rules again.
        Raises :class:`RefusedByRulesError`, and the error of the fetch.
        """
        card = await self._threaded(self._mirror.unread_card, view, entry.path)
        if card is None:
            return
        with self._mirror.quota.hold() as held:
            source = await self._threaded(self._mirror.open, view, card, voice, held)
            if isinstance(source, StreamingFile):
                is_gone = functools.partial(is_closed, exchange.request)
                with StreamingReader(source, is_gone, self._tuning.client_poll) as reader:
                    await reader.wait_beyond(0, whole=True)
        await self._threaded(self._mirror.require, view)

    async def _note_use(self, view: View) -> None:
        """A client that asks only whether a file changed uses it, too."""
        quota, key = self._mirror.quota, (view.revision.repo, view.revision.id)
        if quota.is_due(*key):
            await self._threaded(quota.write_down)

    async def _send_streaming(
        self, delivery: Delivery, streaming: StreamingFile, view: View
    ) -> web.StreamResponse:
        """A client that resumes gets the whole file, unless its beginning can only be ours. That
        is judged by the fetch that it will read from.
        """
        resumes = delivery.span.resumes(streaming.entry.size)
        is_gone, poll = delivery.is_gone, self._tuning.client_poll
        with StreamingReader(streaming, is_gone, poll) as reader:
            await self._withholding.require_beginning(delivery.request, view, streaming, reader)
            if resumes and not reader.may_resume:
                delivery = delivery.whole()
            response = await delivery.send_streaming(streaming, reader)
            if response is not None:
                return response
            if resumes and not reader.may_resume:
                delivery = delivery.whole()
        return await self._send_blob(delivery, streaming.entry)

    async def _send_blob(
        self, delivery: Delivery, entry: FileEntry, blob: BlobReader | None = None
    ) -> web.StreamResponse:
        if entry.sha256 is None:
            return failure(503, "", "the file went as soon as it had come: ask again")
        return await self._outlet.send(delivery, entry.sha256, entry.path, blob)


def _respelled(request: web.Request, repo: RepoId) -> web.Response:
    """Leads to the same under the name that `repo` has here, as hubs do. The path has no host:
    clients take a file's headers from the first answer that leads elsewhere.
    """
    query = request.rel_url.raw_query_string
    where = respelled(request.rel_url.raw_path, repo) + (f"?{query}" if query else "")
    return web.Response(status=307, headers={"Location": where})


def _anonymous(exchange: HubExchange, error: OutlastError) -> web.StreamResponse:
    """What a client without a token is told of a model that is private, gated or not there."""
    response = error_reply(error, _ASKED, status=401)  # as a hub says it
    request = exchange.request
    if request.rel_url.raw_path.startswith("/api/") or not pages.is_browser(request):
        return response
    return pages.problem(response.status, response.headers, without_paths(str(error)))


def _failed(exchange: HubExchange, error: Exception) -> web.StreamResponse:
    """What a request that failed is answered: in a browser, outside the API, by a page."""
    response = exchange.failed(error)
    request = exchange.request
    if exchange.response is not None or not isinstance(error, OutlastError):
        return response
    if request.rel_url.raw_path.startswith("/api/") or not pages.is_browser(request):
        return response
    return pages.problem(response.status, response.headers, without_paths(str(error)))


def _unauthorized() -> web.Response:
    return failure(401, "", "this server asks for a bearer token", _ASKED)


def _marks(exchange: HubExchange, found: Found, metrics: Metrics) -> dict[str, str]:
    """Headers that say what a client should know of a revision beside its content."""
    marks = _stale(found.stale_since, metrics) | _listed_by(found.unconfirmed)
    if exchange.claims:
        marks[CLAIMS_HEADER] = exchange.claims
    if found.view.lacking:
        marks[PARTIAL_HEADER] = str(found.view.lacking)
    elif found.view.revision.unlisted:
        marks[PARTIAL_HEADER] = "unknown"
    return marks


def _listed_by(unconfirmed: bool) -> dict[str, str]:
    """Says that a node on the LAN alone told what is served."""
    return {LISTED_BY_HEADER: NEIGHBOUR} if unconfirmed else {}


def _stale(since: str, metrics: Metrics) -> dict[str, str]:
    if not since:
        return {}
    metrics.stale.inc()
    return {STALE_HEADER: since}


def _log(exchange: HubExchange, response: web.StreamResponse, seconds: float) -> None:
    """One line of JSON a request, on stderr."""
    request, found = exchange.request, exchange.found
    line: dict[str, Any] = {
        "peer": request.remote,
        "method": request.method,
        "path": request.rel_url.raw_path[:2000],
        "what": exchange.what,
        "status": response.status,
        "bytes": exchange.sent,
        "seconds": round(seconds, 4),
    }
    for name in ("Range", "User-Agent"):
        if name in request.headers:
            line[name.lower()] = request.headers[name][:200]
    if found is not None:
        line["commit"] = found.view.revision.id.hex
        if found.stale_since:
            line["stale_since"] = found.stale_since
    log_line(line)
