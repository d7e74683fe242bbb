"""How this process is, as `outlast status` shows it."""

import msgspec

from outlast.features.gateway.processes.status import (
    ProcessStatus,
    RouteStatus,
    ServerStatus,
    TargetStatus,
)
from outlast.features.gateway.serving.fleet import Server
from outlast.features.gateway.serving.gateway import Gateway
from outlast.features.gateway.serving.job import Desk


def status_of(gateway: Gateway, desk: Desk, url: str) -> bytes:
    """A :class:`ProcessStatus` as JSON. `url` is where the gateway answers."""
    servers: dict[str, list[Server]] = {}
    for server in desk.fleet.servers:
        servers.setdefault(server.target.name, []).append(server)
    requests, substitutions, faults = map(
        desk.metrics.counts, ("requests", "substitutions", "failovers")
    )
    routes = tuple(
        RouteStatus(
            route.name,
            route.mode,
            tuple(
                TargetStatus(
                    target.name,
                    tuple(_server(server) for server in servers.get(target.name, ())),
                    requests.get((route.name, target.name), 0),
                    substitutions.get((route.name, target.name), 0),
                    faults.get((route.name, target.name), 0),
                )
                for target in route.targets
            ),
        )
        for route in desk.fleet.routes.values()
    )
    status = ProcessStatus(url, gateway.since, gateway.under_way, gateway.draining, routes)
    return msgspec.json.encode(status)


def _server(server: Server) -> ServerStatus:
    standing = server.standing
    fault = standing.why_not
    wait = None if standing.fault is None else max(0.0, standing.due - standing.now())
    return ServerStatus(server.url, standing.state, fault, wait, standing.under_way)
