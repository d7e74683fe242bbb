"""The node API, version 1: what a node answers to its neighbours and other peers.

Every peer may have open content; private and gated content exists for static peers alone. A peer
is known by the address that its connection comes from, and by nothing that it says.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from aiohttp import web

from outlast.codec.merkle import (
    BLOCK,
    LEAVES_PER_PIECE,
    PIECE,
    Tree,
    block_count,
    block_proof,
    piece_count,
)
from outlast.codec.payload import Form, Payload
from outlast.core.addresses import is_local, plain_address
from outlast.core.digest import Digest
from outlast.core.errors import (
    EntryNotFoundError,
    IntegrityError,
    NotArchivedError,
    UsageError,
)
from outlast.node import payloads
from outlast.node.in_flight import Arriving, InFlight
from outlast.node.policy import Sharing
from outlast.node.statements import StatementsGiven
from outlast.server.http.exchange import Exchange
from outlast.server.http.files import (
    ByteSpan,
    Delivery,
    Limits,
    choose_span,
    not_modified,
    send_head,
)
from outlast.server.http.metrics import Metrics
from outlast.server.http.outlet import Outlet
from outlast.server.http.pace import Pace, SharedPace
from outlast.server.http.queries import number, parse_json
from outlast.server.http.replies import failure, json_reply
from outlast.server.node import documents
from outlast.server.tuning import TUNING, ServerTuning
from outlast.sources.peer import SAMPLE
from outlast.sources.peer_documents import CopiesSaid
from outlast.store.archive import Archive
from outlast.store.forms import StoredFile
from outlast.store.soundness.table import Identity, identity_of
from outlast.swarm.schedule import Rates

_MOST_BLOBS = 1000
_QUERY = 200
BODY = 128 * 1024
_NAMED = frozenset({"manifests", "statements", "blobs", "capsules", "layers", "arriving", "proofs"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says of itself: its id (20 bytes), version, BitTorrent port, and whether it is in
    private mode, where only static peers get an answer.
    """

    node: bytes
    version: str
    swarm_port: int
    private: bool


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a node offers. `in_flight` is the part of a blob that is here while the rest downloads
    (None: there is none), `arriving` its plain bytes, whose tree may not be known. `in_flight_tree`
    finds the blob and the tree of a payload that downloads by its root. `trusted` is true for the
    address (without a scope) of a static peer, `rates` are the limits on outgoing bytes. `copies`
    is what it says of copies to static peers; None: it takes no part. All of them are called often
    and must not block.
    """

    archive: Archive
    sharing: Sharing
    in_flight: Callable[[Digest], InFlight | None]
    arriving: Callable[[Digest], Arriving | None]
    in_flight_tree: Callable[[Digest], tuple[Digest, Tree] | None]
    trusted: Callable[[str], bool]
    rates: Callable[[], Rates]
    copies: Callable[[], CopiesSaid | None] = lambda: None


class TrackerAnswers(Protocol):
    """Answers BitTorrent clients: `query` is the raw query of a request from an `address`, which
    reached us at our address `host`; `trusted` is a static peer. It is asked on the event loop and
    must not block.
    """

    def announce(self, query: str, address: str, *, trusted: bool, host: str) -> bytes: ...

    def scrape(self, query: str, address: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class NodeRoute:
    """`what` is one of ``node models payloads copies manifests statements blobs capsules layers
    arriving proofs announce scrape``; `digest` is what the seven in the middle name.
    """

    what: str
    digest: Digest | None = None


def parse(path: str) -> NodeRoute:
    """The route of a path; raises :class:`EntryNotFoundError` where it leads nowhere."""
    match path.split("/"):
        case ["", ("announce" | "scrape") as what]:
            return NodeRoute(what)
        case ["", "outlast", "v1", ("node" | "models" | "payloads" | "copies") as what]:
            return NodeRoute(what)
        case ["", "outlast", "v1", what, name] if what in _NAMED and Digest.is_valid(name):
            return NodeRoute(what, Digest(name))
    raise EntryNotFoundError("nothing is served at this path")


class NodeApi:
    """Answers requests; everything that touches a disk runs in threads."""

    def __init__(
        self,
        info: NodeInfo,
        holdings: Holdings,
        tracker: TrackerAnswers,
        outlet: Outlet,
        metrics: Metrics,
        *,
        limits: Limits,
        tuning: ServerTuning = TUNING,
    ) -> None:
        self._tuning = tuning
        self._info = info
        self._holdings = holdings
        self._tracker = tracker
        self._outlet = outlet
        self._metrics = metrics
        self._limits = limits
        self._statements = StatementsGiven(holdings.archive)
        self._near = SharedPace(lambda: holdings.rates().lan_up)
        self._far = SharedPace(lambda: holdings.rates().up)
        self.port = 0
        self.sent = 0
        """Bytes of blobs and capsules so far."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request and counts it."""
        exchange = Exchange(request)
        try:
            response = await self._answer(exchange, parse(request.rel_url.raw_path))
        except Exception as error:  # noqa: BLE001 - told apart, and bugs are logged
            response = exchange.failed(error)
        self.sent += exchange.sent
        self._metrics.peer_requests.labels(exchange.what, response.status).inc()
        return response

    def refused(self, _request: web.Request, response: web.Response) -> None:
        """Counts a request that was not for this node."""
        self._metrics.peer_requests.labels("refused", response.status).inc()

    async def _answer(self, exchange: Exchange, route: NodeRoute) -> web.StreamResponse:
        request = exchange.request
        exchange.what = route.what
        allowed = {"POST"} if route.what == "payloads" else {"GET", "HEAD"}
        if request.method not in allowed:
            return failure(405, "", f"not for {request.method}", {"Allow": ", ".join(allowed)})
        address = plain_address(request.remote)
        if route.what == "node":
            return json_reply(self._node())
        trusted = self._holdings.trusted(address)
        if route.what in {"announce", "scrape"}:
            return web.Response(body=self._tracked(request, address, trusted))
        if route.what == "models":
            return json_reply(await self._outlet.threaded(self._models, request, trusted))
        if route.what == "copies":
            return json_reply(await self._outlet.threaded(self._copies, request, trusted))
        if route.what == "payloads":
            blobs = _blobs(await self._outlet.bodies.read(request, BODY, parse_json))
            return json_reply(await self._outlet.threaded(self._payloads, blobs, trusted))
        assert route.digest is not None
        if route.what in {"manifests", "statements", "layers"}:
            find = {
                "manifests": self._manifest,
                "statements": self._statements_about,
                "layers": self._layer,
            }[route.what]
            return await self._outlet.threaded(find, route.digest, trusted)
        plain = route.what in {"blobs", "proofs"}
        allows = self._allows if plain else self._allows_capsule
        if not await self._outlet.threaded(allows, route.digest, trusted):
            _log.debug(
                "%s may not have blob %s: not here, or not shared with it", address, route.digest
            )
            raise NotArchivedError(f"no blob {route.digest.short}… here")
        if route.what in {"arriving", "proofs"}:
            answer = self._sample if route.what == "arriving" else self._proof
            return await self._outlet.threaded(answer, route.digest, request)
        return await self._bytes(exchange, route, self._near if is_local(address) else self._far)

    def _allows(self, blob: Digest, trusted: bool) -> bool:
        return self._holdings.sharing.allows(blob, trusted=trusted)

    def _allows_capsule(self, blob: Digest, trusted: bool) -> bool:
        if not self._allows(blob, trusted):
            return False
        form = self._holdings.archive.forms.capsule(blob)
        bases = form.bases if form is not None else ()
        return self._holdings.sharing.allows_capsule(bases, trusted=trusted)

    def _tracked(self, request: web.Request, address: str, trusted: bool) -> bytes:
        query = request.rel_url.raw_query_string
        if request.path == "/scrape":
            return self._tracker.scrape(query, address)
        here = request.transport.get_extra_info("sockname") if request.transport else None
        host = plain_address(here[0]) if here else ""
        return self._tracker.announce(query, address, trusted=trusted, host=host)

    # Documents

    def _node(self) -> dict[str, object]:
        return {
            "outlast": 1,
            "node": self._info.node.hex(),
            "version": self._info.version,
            "swarm_port": self._info.swarm_port,
            "peer_port": self.port,
            "private": self._info.private,
        }

    def _models(self, request: web.Request, trusted: bool) -> dict[str, object]:
        query = dict(request.query)
        base = query.get("base", "")
        offers = self._holdings.sharing.offers(
            query.get("q", "")[:_QUERY],
            trusted=trusted,
            base=Digest(base) if Digest.is_valid(base) else None,
        )
        start = number(query, "cursor", 0)
        stop = start + self._tuning.peer_page
        rows = list(map(documents.model, offers[start:stop]))
        return {"models": rows, "next": stop if stop < len(offers) else None}

    def _copies(self, request: web.Request, trusted: bool) -> dict[str, object]:
        said = self._holdings.copies() if trusted else None
        if said is None:
            raise EntryNotFoundError("this node says nothing of copies to that one")
        start = number(dict(request.query), "cursor", 0)
        return documents.copies(said, start, start + self._tuning.peer_page)

    def _payloads(self, blobs: list[Digest], trusted: bool) -> dict[str, object]:
        held, found = self._holdings, {}

        def may(payload: Payload) -> bool:
            return held.sharing.allows_capsule(payload.bases, trusted=trusted)

        for blob in blobs:
            if self._allows(blob, trusted):
                document = documents.blob(
                    held.archive, blob, held.in_flight(blob), held.arriving(blob), may
                )
                if document is not None:
                    found[blob.hex] = document
        return {"payloads": found}

    def _manifest(self, digest: Digest, trusted: bool) -> web.Response:
        data = self._holdings.sharing.manifest(digest, trusted=trusted)
        if data is None:
            raise EntryNotFoundError(f"no manifest {digest.short}… here")
        return web.Response(body=data, content_type="application/json")

    def _statements_about(self, manifest: Digest, trusted: bool) -> web.Response:
        """Also of a revision that is revoked, which no peer gets: that it is so is to be heard."""
        if not self._holdings.sharing.tells_of(manifest, trusted=trusted):
            raise EntryNotFoundError(f"no manifest {manifest.short}… here")
        found = self._statements.about(manifest)
        return json_reply(documents.statements(found))

    def _layer(self, root: Digest, trusted: bool) -> web.Response:
        held = self._holdings
        found = payloads.known_tree(held.archive, root) or held.in_flight_tree(root)
        if found is None or not self._allows(found[0], trusted):
            raise EntryNotFoundError(f"nothing with the root {root.short}… here")
        return web.Response(body=found[1].layer, content_type="application/octet-stream")

    def _sample(self, blob: Digest, request: web.Request) -> web.Response:
        """Some bytes of a file that is being fetched: unverified, and just a few."""
        found = self._holdings.arriving(blob)
        if found is None:
            raise EntryNotFoundError(f"blob {blob.short}… is not being fetched here")
        span = choose_span(request, found.size, blob.hex)
        if not isinstance(span, ByteSpan):
            return span
        if span.stop - span.start > SAMPLE:
            raise UsageError(f"a sample has at most {SAMPLE} bytes")
        data = found.sample(span.start, span.stop)
        if data is None:
            raise EntryNotFoundError("those bytes are not here yet")
        headers = span.headers(found.size)
        return web.Response(
            status=206 if span.partial else 200,
            body=data,
            headers=headers,
            content_type="application/octet-stream",
        )

    def _proof(self, blob: Digest, request: web.Request) -> web.Response:
        """A block of a file that is here, and what leads from it to the root of its tree."""
        archive = self._holdings.archive
        size = archive.form_of(blob).size
        block = number(dict(request.query), "block", -1)
        if not 0 <= block < block_count(size):
            raise UsageError(f"'block' is not a number below {block_count(size)}")
        index, leaf = divmod(block, LEAVES_PER_PIECE)
        try:
            with archive.open(blob) as file:
                file.seek(index * PIECE)
                piece = memoryview(file.read(PIECE))
        except IntegrityError:
            raise EntryNotFoundError(f"blob {blob.short}… is damaged here") from None
        proof = block_proof(piece, leaf, alone=piece_count(size) == 1)
        data = bytes(piece[leaf * BLOCK : (leaf + 1) * BLOCK])
        return web.Response(body=data + proof, content_type="application/octet-stream")

    # Bytes

    async def _bytes(self, exchange: Exchange, route: NodeRoute, pace: Pace) -> web.StreamResponse:
        assert route.digest is not None
        if route.what == "blobs":
            return await self._blob(exchange, route.digest, pace)
        file, etag, identity = await self._outlet.threaded(self._open_capsule, route.digest)
        with file:
            size = os.fstat(file.fileno()).st_size
            found = await self._delivery(exchange, size, etag, pace)
            if not isinstance(found, Delivery):
                return found
            return await found.send_file(
                file, lambda: identity_of(os.fstat(file.fileno())) == identity
            )

    async def _blob(self, exchange: Exchange, blob: Digest, pace: Pace) -> web.StreamResponse:
        form = await self._outlet.threaded(self._holdings.archive.form_of, blob)
        found = await self._delivery(exchange, form.size, blob.hex, pace)
        if isinstance(found, Delivery):
            return await self._outlet.send(found, blob, "")
        return found

    async def _delivery(
        self, exchange: Exchange, size: int, etag: str, pace: Pace
    ) -> Delivery | web.StreamResponse:
        """What sends the bytes that a request asks for; or the answer to one that needs none."""
        headers = {
            "ETag": f'"{etag}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Cache-Control": "no-transform",
        }
        request = exchange.request
        if (unchanged := not_modified(request, headers)) is not None:
            return unchanged
        if request.method == "HEAD":
            return await send_head(request, size, headers)
        span = choose_span(request, size, etag)
        if not isinstance(span, ByteSpan):
            return span
        sent = headers | span.headers(size)
        return Delivery(
            request, span, sent, self._limits, exchange.count, exchange.begin, pace=pace
        )

    def _open_capsule(self, blob: Digest) -> tuple[BinaryIO, str, Identity]:
        """The file of a blob's capsule, compared as a whole; its ETag, which is its root where that
        is known; and what it was when it was compared.
        """
        archive = self._holdings.archive
        archive.refuse_damaged(blob)
        try:
            file = StoredFile(archive.layout.capsule(blob))
        except FileNotFoundError:
            raise NotArchivedError(f"no capsule of {blob.short}… here") from None
        try:
            identity = archive.soundness.raw_capsule(blob, file, bool)
            tree = archive.tree(blob, Form.CAPSULE)
            opened = os.fdopen(os.dup(file.fd), "rb")
        finally:
            file.close()
        return opened, tree.root.hex if tree is not None else f"{blob.hex}.olc", identity


def _blobs(document: object) -> list[Digest]:
    """The blobs that a request names, each once."""
    blobs = document.get("blobs") if isinstance(document, dict) else None
    if not isinstance(blobs, list) or len(blobs) > _MOST_BLOBS:
        raise UsageError(f"'blobs' is not a list of up to {_MOST_BLOBS} names")
    if not all(isinstance(name, str) and Digest.is_valid(name) for name in blobs):
        raise UsageError("'blobs' holds something else than sha256")
    return [Digest(name) for name in dict.fromkeys(blobs)]
