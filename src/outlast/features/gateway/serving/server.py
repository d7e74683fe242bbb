"""The gateway on a port: from the file of routes to the tidy end, with a new file on SIGHUP."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from outlast.core.cancel import Cancel
from outlast.core.errors import BadConfigError, OutlastError
from outlast.core.records.audit import AuditRecord, divergence
from outlast.features.gateway.dialects import DIALECTS
from outlast.features.gateway.dialects.asked import Kind
from outlast.features.gateway.dialects.continuing import continued
from outlast.features.gateway.dialects.stream_judge import SseJudge
from outlast.features.gateway.local.engines import LocalEngines
from outlast.features.gateway.local.forwarded import ForwardedEngines
from outlast.features.gateway.local.starting import Starter
from outlast.features.gateway.processes.shared_breakers import SharedBreakers
from outlast.features.gateway.processes.sockets import place_of
from outlast.features.gateway.processes.supervisor import Seat
from outlast.features.gateway.routes.values import GatewayRoutes, LocalModel
from outlast.features.gateway.seams import Accounts, Continue, Dialect, Prices, StreamJudge
from outlast.features.gateway.serving.fleet import Fleet
from outlast.features.gateway.serving.gateway import BODY, Gateway
from outlast.features.gateway.serving.inner import Inner, inner_socket
from outlast.features.gateway.serving.job import Desk
from outlast.features.gateway.serving.metrics import GatewayMetrics
from outlast.features.gateway.serving.open_accounts import OpenAccounts, UnknownPrices
from outlast.features.gateway.serving.probes import POLL, Prober
from outlast.features.gateway.serving.status import status_of
from outlast.features.gateway.serving.tracing import tracer_of
from outlast.features.gateway.upstream.faults import Fault
from outlast.features.gateway.upstream.key_record import KeyRecord
from outlast.features.gateway.upstream.standing import ServerStanding
from outlast.features.gateway.upstream.wire import Wire
from outlast.server.http.hosts import Hosts
from outlast.server.http.listening import Bounds, listening
from outlast.server.http.log import log_line
from outlast.server.http.queries import Bodies
from outlast.server.model.server import url_of
from outlast.server.tuning import TUNING
from outlast.store.evidence.audits import Audits, EndpointModel

_CONNECTIONS: Final = 4096
"""Connections of callers at once. Guess."""
_TIDY: Final = 25
"""Looks for probes between two looks for engines to stop. Guess: five seconds."""


_AUDITS: Final = 25
"""Looks for probes between two looks for records of audits. Guess: five seconds."""


def judge_of(kind: Kind, anthropic: bool) -> StreamJudge:
    """What reads a stream; `anthropic`: in Anthropic's events."""
    return SseJudge(kind, anthropic=anthropic)


def all_dialects() -> dict[str, tuple[str, Dialect]]:
    """By the path that a caller asks, with and without its version: what is asked of targets, and
    how the caller speaks.
    """
    found: dict[str, tuple[str, Dialect]] = {}
    for path, dialect in DIALECTS.items():
        found[path] = found[path.removeprefix("/v1")] = dialect.kind, dialect
    return found


@dataclass(frozen=True, slots=True)
class Parts:
    """What the gateway is made of beside its routes: dialects, the judge of streams, accounts."""

    dialects: Mapping[str, tuple[str, Dialect]] = field(default_factory=all_dialects)
    judge: Callable[[Kind, bool], StreamJudge] = judge_of
    continued: Continue = continued
    accounts: Accounts = field(default_factory=OpenAccounts)
    prices: Prices = field(default_factory=UnknownPrices)
    reload: Callable[[], object] = bool
    """Reads anew what is not of the routes, on SIGHUP. Raises what reading does."""


@dataclass(frozen=True, slots=True)
class GatewayService:
    """What is served, and how: `read` reads the file of routes anew, `hosts` are names that this
    machine has for callers. Without `substitutes` only the choice of a route answers.
    """

    read: Callable[[], GatewayRoutes]
    starter: Starter
    record: KeyRecord
    parts: Parts = field(default_factory=Parts)
    hosts: tuple[str, ...] = ()
    substitutes: bool = True
    home: Path | None = None
    """The archive's folder, for the private socket; None: there is none."""
    seat: Seat | None = None
    """Which of several processes this is."""


def serve_gateway(
    service: GatewayService, sock: socket.socket, ready: Callable[[], None], cancel: Cancel
) -> None:
    """Serves on `sock` until `cancel` is set; then ends streams in their time, and closes the
    socket. `ready` is called once requests are answered. Raises :class:`BadConfigError` where the
    routes cannot be read, or others could get in without a key.
    """
    try:
        require_key(sock, service.parts.accounts)
        asyncio.run(_serve(service, service.read(), sock, ready, cancel))
    finally:
        sock.close()


def require_key(sock: socket.socket, accounts: Accounts) -> None:
    """Refuses to listen off loopback without keys."""
    host = str(sock.getsockname()[0])
    if not accounts.locked and not (host == "::1" or host.startswith("127.")):
        raise BadConfigError(
            "others could reach the gateway at this address, and no key is required",
            hint="make keys with 'outlast gateway keys new', or listen on 127.0.0.1",
        )


async def _serve(
    service: GatewayService,
    routes: GatewayRoutes,
    sock: socket.socket,
    ready: Callable[[], None],
    cancel: Cancel,
) -> None:
    async def open_it(make: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(make, sock=sock)

    metrics = GatewayMetrics()
    wire = Wire()
    seat = service.seat
    first = seat is None or seat.number == 0 or service.home is None
    engines: LocalEngines | ForwardedEngines = LocalEngines(service.starter, wire)
    if not first and seat is not None and service.home is not None:
        engines = ForwardedEngines(place_of(service.home, seat.group, 0), wire)
    breakers = None if seat is None else SharedBreakers(seat.board, seat.number)
    parts = service.parts
    house = _House(service, engines, routes, breakers, probes=first)
    changed = bool if breakers is None else breakers.changed
    fleet = Fleet(wire, engines, service.record, parts.prices, house.tell, changed=changed)
    house.begin(fleet)
    desk = Desk(
        fleet,
        parts.accounts,
        parts.prices,
        metrics,
        service.record,
        parts.judge,
        parts.continued,
        house.keep_record,
        lambda: house.tracer,
    )
    bounds = Bounds(BODY, _CONNECTIONS, TUNING.model_stall, grace=1.0)
    hosts = Hosts(str(sock.getsockname()[0]), service.hosts, local_pages=True)
    with Bodies(TUNING, TUNING.long_prompts) as bodies:
        others = _others(service)
        gateway = Gateway(
            desk, parts.dialects, bodies, substitutes=service.substitutes, others=others
        )
        url = f"{url_of(sock)}/v1"
        inner = Inner(
            lambda: status_of(gateway, desk, url),
            gateway.figures,
            parts.accounts.write,
            engines if isinstance(engines, LocalEngines) else None,
            lambda: {str(model.model): model for model in house.routes.local_models},
        )
        try:
            async with (
                _inner(service, inner),
                listening(
                    gateway.handle,
                    open_it,
                    bounds,
                    hosts=hosts,
                    memory=bodies.memory,
                    count=metrics.connections.set,
                    beside=house.look,
                ) as server,
            ):
                _on_hangup(house.reload)
                _on_orphaned(seat, cancel)
                ready()
                while not cancel.is_set:  # noqa: ASYNC110 - a signal handler sets it
                    await asyncio.sleep(TUNING.engine_poll)
                gateway.draining = True
                server.close()
                await _drained(gateway, house.routes.drain)
        finally:
            await house.close()
            wire.close()


def _on_hangup(reload: Callable[[], None]) -> None:
    """Calls `reload` on SIGHUP, where this is the thread that hears of signals."""
    if threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


def _on_orphaned(seat: Seat | None, cancel: Cancel) -> None:
    """Sets `cancel` once the process that started this one has ended, however it did."""
    if seat is None:
        return
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(seat.tether)
        cancel.set()

    loop.add_reader(seat.tether, orphaned)


def _inner(service: GatewayService, inner: Inner) -> contextlib.AbstractAsyncContextManager[None]:
    """The private socket, where the archive's folder is known."""
    if service.home is None:
        return contextlib.nullcontext()
    seat = service.seat
    group, number = (os.getpid(), 0) if seat is None else (seat.group, seat.number)
    return inner_socket(service.home, group, number, inner)


def _others(service: GatewayService) -> tuple[Path, ...]:
    """The private sockets of the other processes of this gateway."""
    seat, home = service.seat, service.home
    if seat is None or home is None:
        return ()
    numbers = [number for number in range(seat.board.places) if number != seat.number]
    return tuple(place_of(home, seat.group, number) for number in numbers)


async def _drained(gateway: Gateway, seconds: float) -> None:
    """Waits for answers that are under way."""
    if gateway.under_way:
        log_line({"level": "info", "what": "gateway", "draining": gateway.under_way})
    until = asyncio.get_running_loop().time() + seconds
    while gateway.under_way and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


class _House:
    """What runs beside the requests: probes, engines, the file of routes, what is told."""

    def __init__(
        self,
        service: GatewayService,
        engines: LocalEngines | ForwardedEngines,
        routes: GatewayRoutes,
        breakers: SharedBreakers | None,
        *,
        probes: bool,
    ) -> None:
        self._service = service
        self._breakers = breakers
        self._probes = probes
        self._engines = engines
        self._prober = Prober()
        self._audits = Audits(service.starter.archive)
        self.tracer = tracer_of(routes.tracing)
        self._fleet: Fleet | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.routes = routes

    def begin(self, fleet: Fleet) -> None:
        """These are the servers."""
        self._fleet = fleet
        self._use(self.routes)

    def _use(self, routes: GatewayRoutes) -> None:
        assert self._fleet is not None
        self.routes = routes
        self._fleet.use(routes)
        if self._breakers is not None:
            self._breakers.forget()
            self._breakers.look(server.standing for server in self._fleet.servers)
        self._engines.keep(routes.local_models)

    def reload(self) -> None:
        """Reads the routes again. Requests under way end as they began; a file that is wrong
        changes nothing.
        """
        try:
            routes = self._service.read()
            tracer = self.tracer
            if routes.tracing != self.routes.tracing:
                tracer = tracer_of(routes.tracing)
            self._service.parts.reload()
        except OutlastError as error:
            log_line({"level": "error", "what": "gateway", "reload": str(error)})
            return
        if tracer is not self.tracer:
            before, self.tracer = self.tracer, tracer
            if before is not None:
                self._background(asyncio.to_thread(before.close))
        self._use(routes)
        log_line({"level": "info", "what": "gateway", "reload": f"{len(routes.routes)} routes"})

    async def look(self) -> None:
        """Probes what is due, and tidies engines, until it is cancelled."""
        looks = 0
        try:
            while True:
                if looks % _AUDITS == 0:
                    await self._look_at_audits()
                await asyncio.sleep(POLL)
                looks += 1
                assert self._fleet is not None
                if self._breakers is not None:
                    self._breakers.look(server.standing for server in self._fleet.servers)
                if self._probes:
                    self._prober.look(self._fleet.servers)
                if looks % _TIDY == 0:
                    self._engines.tidy()
        finally:
            await self._prober.close()

    async def _look_at_audits(self) -> None:
        """Turns away from endpoints that an audit found divergent, and back to others."""
        found: Mapping[EndpointModel, AuditRecord] = {}
        if self.routes.audits:
            try:
                found = await asyncio.to_thread(self._audits.newest)
            except OutlastError as error:
                log_line({"level": "warning", "what": "gateway", "audits": str(error)})
                return
        assert self._fleet is not None
        now = time.time()
        for server in self._fleet.servers:
            record = found.get((server.url, server.target.model))
            server.standing.audited(divergence(record, now))

    def tell(self, standing: ServerStanding, fault: Fault | None) -> None:
        """Tells the operator, once, that a target does not answer, or that it does again. Where it
        does not, models of the archive behind the same routes are loaded before they are asked.
        """
        where = {"what": "gateway", "target": standing.target, "url": standing.url}
        if fault is None:
            log_line({"level": "info", **where, "state": "answers again"})
            return
        log_line({"level": "warning", **where, "fault": str(fault.kind), "error": str(fault)})
        for route in self.routes.routes.values():
            if any(target.name == standing.target for target in route.targets):
                self._warm(t.local for t in route.targets if t.local is not None)

    def _warm(self, models: Iterable[LocalModel]) -> None:
        for model in models:
            self._background(self._engines.warm(model))

    def keep_record(self) -> None:
        """Writes down that a key worked."""
        self._background(asyncio.to_thread(self._service.record.write))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends engines, and what runs in the background."""
        await self._engines.close()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)
        await asyncio.gather(*self._tasks, return_exceptions=True)
