"""``outlast gateway drill``."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import print_document, print_table
from outlast.core.errors import Cancelled, UnreachableError
from outlast.features.gateway.commands.check import CheckedServer, check_one
from outlast.features.gateway.commands.documents import DrilledRouteDocument
from outlast.features.gateway.commands.shared import open_fleet, routes_of, routes_option
from outlast.features.gateway.routes.values import GatewayRoute, GatewayRoutes
from outlast.features.gateway.serving.fleet import Fleet
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class Drilled:
    """A route while `blocked` is not asked: the servers that were asked, in turn. The last one
    answers, if any does.
    """

    route: str
    blocked: str
    asked: list[CheckedServer]

    @property
    def answer(self) -> CheckedServer | None:
        """The server that answers."""
        return next((one for one in self.asked if one.fault is None), None)


@click.command(
    epilog="""\b
Examples:
  outlast gateway drill

\b
Exit status:
  0 all routes still answer · 2 the routes cannot be read · 5 a route does not · 8 storage ·
  130 interrupted
"""
)
@routes_option
@common
def drill(*, routes_file: Path | None, home: str | None, as_json: bool, quiet: bool) -> int:
    """Block each hosted target in turn, and ask the routes that have it for one token.

    So you see before a provider is gone what answers then. Nothing is changed, and a gateway that
    runs is not touched. Models of the archive are loaded, and let go at the end.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        routes = routes_of(run, routes_file)
        with run.archive(create=True) as archive:
            try:
                found = asyncio.run(_drill_all(run, archive, routes))
            except asyncio.CancelledError:
                raise Cancelled("interrupted") from None
        if not found:
            run.say("no route has a hosted target: there is nothing to block")
        _show(run, found)
        return 0 if all(one.answer is not None for one in found) else UnreachableError.exit_code


async def _drill_all(run: Session, archive: Archive, routes: GatewayRoutes) -> list[Drilled]:
    async with open_fleet(run, archive, routes) as fleet:
        return [
            await _drilled(fleet, route, target.name)
            for target in routes.targets
            if target.hosted
            for route in routes.routes.values()
            if any(one.name == target.name for one in route.targets)
        ]


async def _drilled(fleet: Fleet, route: GatewayRoute, blocked: str) -> Drilled:
    asked: list[CheckedServer] = []
    for server in fleet.plan(route, {}).servers():
        if server.target.name == blocked:
            continue
        asked.append(await check_one(server))
        if asked[-1].fault is None:
            break
    return Drilled(route.name, blocked, asked)


def _faults(one: Drilled) -> list[str]:
    return [f"{c.server.target.name}: {c.fault.kind}" for c in one.asked if c.fault is not None]


def _show(run: Session, found: list[Drilled]) -> None:
    if run.as_json:
        for one in found:
            answer = one.answer
            print_document(
                DrilledRouteDocument(
                    route=one.route,
                    blocked=one.blocked,
                    target=None if answer is None else answer.server.target.name,
                    seconds=None if answer is None else round(answer.seconds, 3),
                    faults=_faults(one),
                )
            )
        return
    rows = [["ROUTE", "BLOCKED", "ANSWERS", "SECONDS", "FAULTS"]]
    for one in found:
        answer = one.answer
        rows.append(
            [
                one.route,
                one.blocked,
                "none" if answer is None else answer.server.target.name,
                "" if answer is None else f"{answer.seconds:.2f}",
                ", ".join(_faults(one)),
            ]
        )
    if found:
        print_table(rows, right=(3,))
