"""``outlast gateway check``."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import print_document, print_table
from outlast.core.errors import Cancelled, UnreachableError
from outlast.features.gateway.commands.documents import CheckedTargetDocument
from outlast.features.gateway.commands.shared import open_fleet, routes_of, routes_option
from outlast.features.gateway.routes.values import GatewayRoutes
from outlast.features.gateway.serving.fleet import Server
from outlast.features.gateway.serving.probes import probe
from outlast.features.gateway.upstream.faults import Fault
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class CheckedServer:
    """How a server answered, in `seconds`; `fault` is None where it did."""

    server: Server
    fault: Fault | None
    seconds: float


@click.command(
    epilog="""\b
Examples:
  outlast gateway check
  outlast gateway check --routes /etc/outlast/gateway.toml --json

\b
Exit status:
  0 all targets answer · 2 the routes cannot be read · 5 a target does not answer · 8 storage ·
  130 interrupted
"""
)
@routes_option
@common
def check(*, routes_file: Path | None, home: str | None, as_json: bool, quiet: bool) -> int:
    """Ask each server of each target for one token, and show what answers.

    Hosted targets may charge for it. Models of the archive are loaded, and let go at the end.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        routes = routes_of(run, routes_file)
        with run.archive(create=True) as archive:
            try:
                found = asyncio.run(_check_all(run, archive, routes))
            except asyncio.CancelledError:
                raise Cancelled("interrupted") from None
        _show(run, found)
        return 0 if all(one.fault is None for one in found) else UnreachableError.exit_code


async def _check_all(run: Session, archive: Archive, routes: GatewayRoutes) -> list[CheckedServer]:
    async with open_fleet(run, archive, routes) as fleet:
        remote = [s for s in fleet.servers if s.target.local is None]
        found = list(await asyncio.gather(*map(check_one, remote)))
        # One engine at a time: each takes the machine as a whole.
        found += [await check_one(s) for s in fleet.servers if s.target.local is not None]
    order = [target.name for target in routes.targets]
    return sorted(found, key=lambda one: order.index(one.server.target.name))


async def check_one(server: Server) -> CheckedServer:
    """Asks a server for one token."""
    began = time.monotonic()
    fault = None
    try:
        await probe(server, server.standing.kind)
    except Fault as error:
        fault = error
    return CheckedServer(server, fault, time.monotonic() - began)


def _show(run: Session, found: list[CheckedServer]) -> None:
    if run.as_json:
        for one in found:
            print_document(
                CheckedTargetDocument(
                    target=one.server.target.name,
                    url=one.server.url,
                    answers=one.fault is None,
                    fault=None if one.fault is None else str(one.fault.kind),
                    error=None if one.fault is None else str(one.fault),
                    seconds=round(one.seconds, 3),
                )
            )
        return
    rows = [["TARGET", "AT", "ANSWERS", "SECONDS", ""]]
    rows += [
        [
            one.server.target.name,
            one.server.url,
            "yes" if one.fault is None else f"no: {one.fault.kind}",
            f"{one.seconds:.2f}",
            "" if one.fault is None else str(one.fault),
        ]
        for one in found
    ]
    print_table(rows, right=(3,))
