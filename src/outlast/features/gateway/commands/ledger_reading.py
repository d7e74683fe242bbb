"""What `gateway usage` and `gateway costs` share: days, tables and rows of the ledger."""

import datetime as dt
from pathlib import Path
from typing import Final

import click

from outlast.cli.edge import Session
from outlast.core.errors import UsageError
from outlast.features.gateway.accounts.accounts import FOLDER, GatewayAccounts
from outlast.features.gateway.accounts.database import MADE
from outlast.features.gateway.accounts.keys import UserKeys
from outlast.features.gateway.accounts.ledger import LedgerRow
from outlast.features.gateway.accounts.tables import FILE, OperatorTables, read_tables
from outlast.features.gateway.processes.sockets import write_ledger
from outlast.store.disk import is_named

_FIRST: Final = "0001-01-01"


class LedgerDayType(click.ParamType[dt.date]):
    """``2026-11-30``."""

    name = "day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.date:
        del param, ctx
        if isinstance(value, dt.date):
            return value
        try:
            return dt.datetime.strptime(str(value), "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
        except ValueError:
            raise UsageError(
                f"not a day: {str(value)[:50]!r}", hint="write it like 2026-11-30"
            ) from None


def today() -> dt.date:
    """In UTC, as the ledger has it."""
    return dt.datetime.now(dt.UTC).date()


def tables_of(run: Session, file: Path | None) -> OperatorTables:
    """The operator's tables. Raises :class:`~outlast.core.errors.BadConfigError`, also where a
    file that was named is not there.
    """
    if file is not None and not file.exists():
        raise UsageError(f"there is no file {file}")
    return read_tables(file or run.config.home / FILE)


def rows_of(run: Session, since: dt.date | None, until: dt.date | None) -> list[LedgerRow]:
    """The rows of these days, also of what gateways that run have not written yet; none where no
    gateway ever ran.
    """
    if not is_named(run.config.home / FOLDER / MADE):
        return []
    write_ledger(run.config.home)
    with GatewayAccounts(run.config.home) as accounts:
        first = _FIRST if since is None else since.isoformat()
        return accounts.usage(first, (until or dt.date.max).isoformat())


def names_of_keys(run: Session) -> dict[str, str]:
    """The names of all keys by their ids, also of those that were revoked."""
    return {row.id: row.name for row in UserKeys(run.config.home / FOLDER).all()}
