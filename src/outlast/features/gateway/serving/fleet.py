"""All targets as they stand: what answers for each, and its breakers; kept over reloads."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from outlast.core.names import Target
from outlast.features.gateway.routes.choice import TargetSeen, in_turn, pick, prefix_of
from outlast.features.gateway.routes.values import (
    GatewayRoute,
    GatewayRoutes,
    GatewayTarget,
    LocalModel,
)
from outlast.features.gateway.seams import Json, Prices
from outlast.features.gateway.upstream.asking import Backend, RemoteBackend
from outlast.features.gateway.upstream.faults import Fault, FaultKind
from outlast.features.gateway.upstream.key_record import KeyRecord
from outlast.features.gateway.upstream.standing import ServerStanding
from outlast.features.gateway.upstream.wire import Wire

_MILLION: Final = 500_000
"""Tokens of a prompt and of an answer whose price is compared."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a target, and how it stands."""

    target: GatewayTarget
    backend: Backend
    standing: ServerStanding

    @property
    def url(self) -> str:
        return self.standing.url

    @property
    def answers(self) -> bool:
        return self.standing.answers

    @property
    def under_way(self) -> int:
        return self.standing.under_way


class ArchiveEngines(Protocol):
    """What answers for models of the archive: engines here, or in another process."""

    def backend(self, model: LocalModel, adapter: Target | None) -> Backend: ...


class Fleet:
    """The servers of all targets of a file of routes."""

    def __init__(
        self,
        wire: Wire,
        engines: ArchiveEngines,
        record: KeyRecord,
        prices: Prices,
        tell: Callable[[ServerStanding, Fault | None], object],
        *,
        changed: Callable[[ServerStanding], object] = bool,
    ) -> None:
        self._wire = wire
        self._engines = engines
        self._record = record
        self._prices = prices
        self._tell = tell
        self._changed = changed
        self._since = 0.0
        self._servers: dict[str, tuple[GatewayTarget, tuple[Server, ...]]] = {}
        self.routes: Mapping[str, GatewayRoute] = {}

    def use(self, routes: GatewayRoutes) -> None:
        """These routes hold for requests from now on. What stays the same keeps how it stands."""
        before = self._servers
        # What other processes found of a target before it was changed does not hold for it.
        self._since = time.monotonic() if before else 0.0
        self._servers = {
            target.name: before[target.name]
            if target.name in before and before[target.name][0] == target
            else (target, tuple(self._made(target)))
            for target in routes.targets
        }
        self.routes = routes.routes
        for route in routes.routes.values():
            for target in route.targets:
                for server in self._servers[target.name][1]:
                    server.standing.kind = route.asks

    def _made(self, target: GatewayTarget) -> Iterator[Server]:
        if target.local is not None:
            backend = self._engines.backend(target.local, target.adapter)
            yield Server(target, backend, self._standing(target, "archive"))
        elif target.endpoint is not None:
            for url in target.endpoint.urls:
                remote = RemoteBackend(self._wire, target.endpoint, url, self._record)
                yield Server(target, remote, self._standing(target, url))

    def _standing(self, target: GatewayTarget, url: str) -> ServerStanding:
        return ServerStanding(
            target.name, url, self._tell, changed=self._changed, changed_at=self._since
        )

    @property
    def servers(self) -> Iterator[Server]:
        """All of them."""
        for _, servers in self._servers.values():
            yield from servers

    def seen(self, target: GatewayTarget) -> TargetSeen:
        """What is known of a target."""
        _, servers = self._servers[target.name]
        firsts = [s.standing.first_token for s in servers if s.standing.first_token is not None]
        price = self._prices.money(target.provider, target.model, _MILLION, _MILLION)
        return TargetSeen(any(s.answers for s in servers), min(firsts, default=None), price)

    def plan(self, route: GatewayRoute, body: Json) -> "ServerPlan":
        """Which servers a request asks, and in which order."""
        if route.mode == "as-listed" and not route.only_allowed:
            wanted = list(route.targets)
            asked = wanted
        else:
            wanted, asked = in_turn(route, self.seen)
        if route.only_allowed:
            wanted = [t for t in wanted if t.endpoint is None or t.endpoint.approved]
            asked = [t for t in asked if t in wanted]
        ready: list[Server] = []
        others: list[Server] = []
        for target in asked:
            servers = self._servers[target.name][1]
            order = [0] if len(servers) == 1 else pick(servers, prefix_of(body))
            for number in order:
                (ready if servers[number].answers else others).append(servers[number])
        return ServerPlan(wanted, ready, others)


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """`wanted`: the targets by the route's mode, so that the first is the choice. `ready` are the
    servers that answer, in turn; `others` those whose breakers are open: for when no other is left.
    """

    wanted: list[GatewayTarget]
    ready: list[Server]
    others: list[Server]

    def servers(self) -> Iterator[Server]:
        """In turn. A server that asked for patience is not asked before its time; one where other
        weights answer than it says, not at all.
        """
        yield from self.ready
        for server in self.others:
            fault = server.standing.fault
            if server.standing.divergent:
                continue
            if fault is None or fault.kind is not FaultKind.LIMITED:
                yield server
