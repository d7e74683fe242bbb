"""What the commands of the gateway share: the file of routes, and what answers without a port."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import click

from outlast.cli.config.file import environment
from outlast.cli.edge import Session
from outlast.cli.feature import country_of
from outlast.features.gateway.accounts.accounts import GatewayAccounts
from outlast.features.gateway.accounts.origins import Origins
from outlast.features.gateway.accounts.tables import read_tables
from outlast.features.gateway.local.engines import LocalEngines
from outlast.features.gateway.local.starting import Starter
from outlast.features.gateway.routes.file import FILE_NAME, read_routes
from outlast.features.gateway.routes.values import GatewayRoutes
from outlast.features.gateway.serving.fleet import Fleet
from outlast.features.gateway.serving.open_accounts import UnknownPrices
from outlast.features.gateway.serving.till import Till
from outlast.features.gateway.upstream.faults import Fault
from outlast.features.gateway.upstream.key_record import KeyRecord
from outlast.features.gateway.upstream.standing import ServerStanding
from outlast.features.gateway.upstream.wire import Wire
from outlast.store.archive import Archive

_RECORD: Final = "worked.json"

routes_option = click.option(
    "--routes",
    "routes_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file of routes  [default: gateway.toml in the archive's folder]",
)


def routes_of(run: Session, file: Path | None) -> GatewayRoutes:
    """What the file of routes says. Raises :class:`~outlast.core.errors.BadConfigError`."""
    return read_routes(file or run.config.home / FILE_NAME, environment())


def record_of(run: Session) -> KeyRecord:
    """Which keys have worked."""
    return KeyRecord(run.config.home / "gateway" / _RECORD)


@contextlib.contextmanager
def till_of(run: Session, file: Path | None) -> Iterator[Till]:
    """Keys, budgets, the ledger and prices, until the block ends. Raises
    :class:`~outlast.core.errors.BadConfigError`, and what opening the accounts does.
    """
    path = file or run.config.home / FILE_NAME
    tables = read_tables(path)
    countries = country_of(run.features, run.config.feature, run.config.home)
    origins = Origins(countries)
    with GatewayAccounts(run.config.home, tables.budgets, keep_days=tables.keep_days) as accounts:
        yield Till(accounts, origins, lambda: read_tables(path))


def starter_of(run: Session, archive: Archive) -> Starter:
    """What starts engines."""
    return Starter(archive, run.control, run.config.working_copies)


@contextlib.asynccontextmanager
async def open_fleet(run: Session, archive: Archive, routes: GatewayRoutes) -> AsyncIterator[Fleet]:
    """The servers of all targets until the block ends; engines start when they are asked."""
    wire = Wire()
    engines = LocalEngines(starter_of(run, archive), wire)
    fleet = Fleet(wire, engines, record_of(run), UnknownPrices(), _untold)
    fleet.use(routes)
    watching = asyncio.create_task(_stop_when(run, asyncio.current_task()))
    try:
        yield fleet
    finally:
        watching.cancel()
        await engines.close()
        wire.close()


def _untold(standing: ServerStanding, fault: Fault | None) -> None:
    """What a command finds, it shows itself."""
    del standing, fault


async def _stop_when(run: Session, task: "asyncio.Task[object] | None") -> None:
    """Ends `task` once the user does not want it any more."""
    while not run.control.cancel.is_set:  # noqa: ASYNC110 - a signal handler sets it
        await asyncio.sleep(0.2)
    if task is not None:
        task.cancel()
