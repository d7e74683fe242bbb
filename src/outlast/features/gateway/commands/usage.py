"""``outlast gateway usage``."""

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.errors import UsageError
from outlast.features.gateway.accounts.ledger import LedgerRow
from outlast.features.gateway.accounts.money import dollars_text
from outlast.features.gateway.accounts.usage_csv import factor_of, with_factor, write_csv
from outlast.features.gateway.commands.documents import GatewayUsageDocument
from outlast.features.gateway.commands.ledger_reading import (
    LedgerDayType,
    names_of_keys,
    rows_of,
    tables_of,
)


@click.command(
    epilog="""\b
Examples:
  outlast gateway usage
  outlast gateway usage --since 2026-11-01 --until 2026-11-30
  outlast gateway usage --csv > usage.csv

\b
Exit status:
  0 done · 2 usage, or a table of gateway.toml is wrong · 4 the ledger is damaged · 8 storage
"""
)
@click.option("--since", type=LedgerDayType(), metavar="DAY", help="From this day on (UTC)")
@click.option(
    "--until", type=LedgerDayType(), metavar="DAY", help="Until the end of this day (UTC)"
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row for each day and origin")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take [tariffs] from this file  [default: gateway.toml in the archive]",
)
@common
def usage(
    *,
    since: dt.date | None,
    until: dt.date | None,
    as_csv: bool,
    file: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what was used through the gateway, by origin: provider, model and the country of the
    model's publisher, with tokens and money.

    The table sums up all days and keys; --csv and --json have a row for each day, key, route and
    target. Money is in US dollars, exactly; of requests without a known price there is none, which
    is not 0. [tariffs] in gateway.toml has factors by country or provider: CN = "1.25". Marked
    "at most" is what a process that was killed may have used: it counts as the most that it can
    have been.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json are two forms of the same: choose one")
    with session(home, as_json=as_json, quiet=quiet) as run:
        tariffs = tables_of(run, file).tariffs
        rows = rows_of(run, since, until)
        if as_csv:
            write_csv(rows, names_of_keys(run), tariffs, sys.stdout)
        elif as_json:
            names = names_of_keys(run)
            for row in rows:
                print_document(_document(row, names, tariffs))
        else:
            _print(run, rows, tariffs)


def _print(run: Session, rows: Sequence[LedgerRow], tariffs: Mapping[str, Decimal]) -> None:
    origins: dict[tuple[str, str, str, bool], LedgerRow] = {}
    for row in rows:
        place = (row.provider, row.model, row.jurisdiction, row.certain)
        before = origins.get(place)
        origins[place] = row if before is None else before.plus(row)
    found = sorted(origins.values(), key=lambda row: (-row.money, row.provider, row.model))
    if found:
        head = ["PROVIDER", "MODEL", "COUNTRY", "REQUESTS", "PROMPT", "ANSWER", "DOLLARS"]
        if tariffs:
            head.append("WITH FACTOR")
        print_table([head, *(_cells(row, tariffs) for row in found)], right=range(3, len(head)))
    run.say(f"{plural(sum(row.requests for row in rows), 'request')}, by origin; tokens and US $")
    unpriced = sum(row.unpriced for row in rows)
    if unpriced:
        run.say(f"{plural(unpriced, 'request')} without a known price: no part of the dollars")


def _cells(row: LedgerRow, tariffs: Mapping[str, Decimal]) -> list[str]:
    is_priced = row.unpriced < row.requests
    cells = [
        row.provider or "?",
        row.model if row.certain else f"{row.model} (at most)",
        row.jurisdiction,
        f"{row.requests:,}",
        f"{row.prompt_tokens:,}",
        f"{row.completion_tokens:,}",
        dollars_text(row.money) if is_priced else "unknown",
    ]
    if tariffs:
        cells.append(dollars_text(with_factor(row, tariffs)) if is_priced else "unknown")
    return cells


def _document(
    row: LedgerRow, names: Mapping[str, str], tariffs: Mapping[str, Decimal]
) -> GatewayUsageDocument:
    is_priced = row.unpriced < row.requests
    return GatewayUsageDocument(
        day=row.day,
        key=names.get(row.caller, row.caller),
        route=row.route,
        target=row.target,
        provider=row.provider,
        model=row.model,
        jurisdiction=row.jurisdiction,
        certain=row.certain,
        requests=row.requests,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        dollars=dollars_text(row.money) if is_priced else None,
        unpriced_requests=row.unpriced,
        factor=str(factor_of(row, tariffs)),
        dollars_with_factor=dollars_text(with_factor(row, tariffs)) if is_priced else None,
        seconds=row.milliseconds / 1000,
    )
