"""``outlast audit compare``."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from outlast.cli.edge import common, session
from outlast.cli.screen.render import plural, print_documents, print_table
from outlast.core.errors import UsageError, one_line
from outlast.features.audit.commands.documents import ComparedEndpointDocument
from outlast.features.audit.comparing import (
    ComparedEndpoint,
    Prices,
    compared,
    order,
    require_one_model,
    worst,
)
from outlast.features.audit.evidence import EXIT, ranked
from outlast.features.audit.reports.files import read_file, read_report

_MOST: Final = 64
"""Reports that are compared at once."""


@click.command(
    epilog="""\b
Examples:
  outlast audit compare one.json other.json
  outlast audit compare *.json --by price --price https://api.example/v1 0.10 0.40

\b
Exit status:
  0 all are consistent · 2 usage · 3 no such file · 4 what a report says does not follow from its
  evidence, or it is no report of this version · 10 one is divergent · else 11 one is inconclusive ·
  else 12 one is untestable
"""
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--by",
    type=click.Choice(["speed", "price"]),
    default="speed",
    show_default=True,
    help="What ranks endpoints of the same verdict",
)
@click.option(
    "--price",
    "prices",
    type=(str, float, float),
    multiple=True,
    metavar="URL IN OUT",
    help="An endpoint's price of a million tokens of prompts, and of answers (repeatable)",
)
@common
def compare(
    files: tuple[Path, ...],
    *,
    by: str,
    prices: tuple[tuple[str, float, float], ...],
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Rank endpoints that are said to serve one model, by the reports FILES of their audits.

    All reports must be about the same archived weights. Each verdict is computed anew, as 'audit
    replay' does. Consistent endpoints come first, divergent ones last; among those of one verdict
    the faster or cheaper ones. The speed is that of the audit's own questions: run audits at the
    same time, with the same --tokens, to compare it.
    """
    with session(home, as_json=as_json, quiet=quiet):
        if len(files) > _MOST:
            raise UsageError(f"{_MOST} reports are compared at most")
        priced = _priced(prices)
        # One report in memory at a time, beside the rows of the others.
        rows = [compared(read_report(read_file(file)), priced) for file in files]
        require_one_model(rows)
        _require_used(priced, rows)
        rows = order(rows, by_price=by == "price")
        if as_json:
            print_documents([_document(row) for row in rows])
        else:
            _print(rows)
        return EXIT[worst(rows)]


def _priced(prices: Sequence[tuple[str, float, float]]) -> dict[str, Prices]:
    """By endpoint. Raises :class:`UsageError`."""
    priced = {url.rstrip("/"): (asked, answered) for url, asked, answered in prices}
    if not all(0 <= one < math.inf for pair in priced.values() for one in pair):
        raise UsageError("--price takes amounts from 0")
    return priced


def _require_used(priced: Mapping[str, Prices], rows: Sequence[ComparedEndpoint]) -> None:
    unknown = sorted(set(priced) - {row.endpoint for row in rows})
    if unknown:
        raise UsageError(f"no report is about {unknown[0]!r:.200}, which --price names")


def _document(row: ComparedEndpoint) -> ComparedEndpointDocument:
    finding = row.finding
    return ComparedEndpointDocument(
        endpoint=row.endpoint,
        model=row.model,
        manifest=row.manifest,
        time=row.time,
        verdict=finding.verdict.value,
        reason=finding.reason,
        test=row.test,
        p_value=finding.p_value,
        deviation=row.deviation,
        explanations=finding.explanations,
        seconds=row.seconds,
        tokens=row.tokens,
        price=None if row.price is None else list(row.price),
    )


def _print(rows: Sequence[ComparedEndpoint]) -> None:
    print(f"{one_line(rows[0].weights)}: {plural(len(rows), 'audit')}")
    table = [["", "VERDICT", "OF AN ALARM", "ANSWER", "PRICE", "AUDITED", "ENDPOINT", "MAY BE"]]
    for number, row in enumerate(rows, start=1):
        table.append(
            [
                str(number),
                row.finding.verdict.value,
                "-" if row.deviation is None else f"{row.deviation:.2f}",
                "-" if row.seconds is None else f"{row.seconds:.2f} s of {row.tokens}",
                "-" if row.price is None else f"{row.price[0]:g} / {row.price[1]:g}",
                time.strftime("%Y-%m-%d", time.gmtime(row.time)),
                f"{row.endpoint} {row.model}",
                next((name for name, _ in ranked(row.finding.explanations or {})), "-"),
            ]
        )
    print_table(table, right=(2, 3))
