"""How a running gateway is: what each of its processes says, and all of them together."""

import http.client
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from outlast.features.gateway.processes.sockets import places, read

STATUS_PATH: Final = "/status"
METRICS_PATH: Final = "/metrics"
_MOST: Final = 16 * 1024 * 1024
_SECONDS: Final = 2.0


class ServerStatus(msgspec.Struct, frozen=True):
    """A server of a target. `state` is that of its breaker: closed, half-open or open; `fault` why
    it is not closed, and `retry_in` the seconds until it is probed.
    """

    url: str
    state: str
    fault: str = ""
    retry_in: float | None = None
    under_way: int = 0


class TargetStatus(msgspec.Struct, frozen=True):
    """A target of a route: the requests that it answered, those in place of the route's choice, and
    the times that it did not answer.
    """

    target: str
    servers: tuple[ServerStatus, ...]
    requests: int = 0
    substitutions: int = 0
    faults: int = 0


class RouteStatus(msgspec.Struct, frozen=True):
    """A route and its targets, as the file has them."""

    route: str
    mode: str
    targets: tuple[TargetStatus, ...]


class ProcessStatus(msgspec.Struct, frozen=True):
    """What one process says. `since`: seconds since 1970."""

    url: str
    since: int
    under_way: int
    draining: bool
    routes: tuple[RouteStatus, ...]


class GatewayStatus(msgspec.Struct, frozen=True):
    """A gateway: its processes together, or a sentence why they say nothing."""

    pid: int
    processes: int
    status: ProcessStatus | None
    problem: str = ""


def gateway_statuses(home: Path) -> list[GatewayStatus]:
    """The gateways that run on the archive in `home`."""
    found: dict[int, list[ProcessStatus]] = {}
    problems: dict[int, str] = {}
    for group, _, path in places(home):
        try:
            data = read(path, STATUS_PATH, _MOST, _SECONDS)
            found.setdefault(group, []).append(msgspec.json.decode(data, type=ProcessStatus))
        except (FileNotFoundError, ConnectionRefusedError):  # it has ended
            continue
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            problems[group] = getattr(error, "strerror", None) or str(error) or "no answer"
    pids = sorted({*found, *problems})
    return [
        GatewayStatus(
            pid,
            len(found.get(pid, ())),
            together(found[pid]) if pid in found else None,
            problems.get(pid, ""),
        )
        for pid in pids
    ]


def together(parts: Sequence[ProcessStatus]) -> ProcessStatus:
    """Several processes as one: counts are added; of breakers they know the same, so that the first
    one is believed.
    """
    first = parts[0]
    others = [_targets(part) for part in parts[1:]]
    return ProcessStatus(
        first.url,
        min(part.since for part in parts),
        sum(part.under_way for part in parts),
        any(part.draining for part in parts),
        tuple(
            RouteStatus(
                route.route,
                route.mode,
                tuple(
                    _added(target, [o[key] for o in others if key in o])
                    for target in route.targets
                    for key in [(route.route, target.target)]
                ),
            )
            for route in first.routes
        ),
    )


def _targets(part: ProcessStatus) -> dict[tuple[str, str], TargetStatus]:
    return {(route.route, t.target): t for route in part.routes for t in route.targets}


def _added(target: TargetStatus, others: Sequence[TargetStatus]) -> TargetStatus:
    busy = {server.url: server.under_way for server in target.servers}
    for other in others:
        for server in other.servers:
            if server.url in busy:
                busy[server.url] += server.under_way
    return TargetStatus(
        target.target,
        tuple(msgspec.structs.replace(s, under_way=busy[s.url]) for s in target.servers),
        target.requests + sum(other.requests for other in others),
        target.substitutions + sum(other.substitutions for other in others),
        target.faults + sum(other.faults for other in others),
    )
