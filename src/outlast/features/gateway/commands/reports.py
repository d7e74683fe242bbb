"""What `outlast status` shows of the gateways that run. Light, where none does."""

from pathlib import Path
from typing import TYPE_CHECKING

from outlast.cli.screen.status_tables import Reported, Section
from outlast.features.gateway.processes.sockets import places

if TYPE_CHECKING:
    from outlast.features.gateway.commands.documents import RunningGatewayDocument
    from outlast.features.gateway.processes.status import (
        GatewayStatus,
        ProcessStatus,
        TargetStatus,
    )


def reports(home: Path) -> Reported:
    """The gateways on the archive in `home`."""
    if not places(home):
        return Reported((), ())
    from outlast.features.gateway.processes.status import (  # noqa: PLC0415 - few calls need it
        gateway_statuses,
    )

    found = gateway_statuses(home)
    sections = [section for one in found for section in _sections(one)]
    return Reported(sections, [_document(one) for one in found])


def _sections(one: "GatewayStatus") -> list[Section]:
    from outlast.cli.screen.render import plural  # noqa: PLC0415 - few calls need it
    from outlast.core.errors import one_line  # noqa: PLC0415 - likewise

    if one.status is None:
        text = f"the gateway with process id {one.pid} does not answer: {one.problem}"
        return [Section(one_line(text))]
    said = one.status
    processes = "" if one.processes == 1 else f", {one.processes} processes"
    text = (
        f"gateway {one.pid} at {said.url}{processes}: "
        f"{plural(said.under_way, 'request')} under way"
        f"{', draining' if said.draining else ''}"
    )
    head = ("ROUTE", "TARGET", "STATE", "REQUESTS", "STOOD IN", "FAULTS")
    rows = [_row(route.route, target) for route in said.routes for target in route.targets]
    return [Section(one_line(text), (head, *rows), right=(3, 4, 5))]


def _row(route: str, target: "TargetStatus") -> tuple[str, ...]:
    counts = (target.requests, target.substitutions, target.faults)
    return (route, target.target, _state(target), *(f"{count:,}" for count in counts))


def _state(target: "TargetStatus") -> str:
    """Of the breakers of a target's servers."""
    count = len(target.servers)
    bad = [server for server in target.servers if server.state != "closed"]
    if not bad:
        return "answers"
    waits = [server.retry_in for server in bad if server.retry_in is not None]
    wait = f", asked again in {min(waits):.0f} s" if waits else ""
    if len(bad) == count:
        return f"{bad[0].fault}{wait}"
    return f"{count - len(bad)} of {count} answer ({bad[0].fault}{wait})"


def _document(one: "GatewayStatus") -> "RunningGatewayDocument":
    from outlast.features.gateway.commands.documents import (  # noqa: PLC0415 - likewise
        GatewayRoutePart,
        GatewayServerPart,
        GatewayTargetPart,
        RunningGatewayDocument,
    )

    def targets(said: "ProcessStatus", number: int) -> list[GatewayTargetPart]:
        return [
            GatewayTargetPart(
                target=target.target,
                requests=target.requests,
                substitutions=target.substitutions,
                faults=target.faults,
                servers=[
                    GatewayServerPart(
                        url=server.url,
                        state=server.state,
                        fault=server.fault or None,
                        retry_in=server.retry_in,
                        under_way=server.under_way,
                    )
                    for server in target.servers
                ],
            )
            for target in said.routes[number].targets
        ]

    said = one.status
    return RunningGatewayDocument(
        pid=one.pid,
        processes=one.processes,
        url=None if said is None else said.url,
        since=None if said is None else said.since,
        under_way=0 if said is None else said.under_way,
        draining=said is not None and said.draining,
        problem=one.problem or None,
        routes=[]
        if said is None
        else [
            GatewayRoutePart(route=route.route, mode=route.mode, targets=targets(said, number))
            for number, route in enumerate(said.routes)
        ],
    )
