"""``outlast gateway costs``."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.features.gateway.accounts.costs import RouteCost, route_costs
from outlast.features.gateway.accounts.money import dollars_text
from outlast.features.gateway.commands.documents import CurvePart, GatewayCostDocument
from outlast.features.gateway.commands.ledger_reading import rows_of, tables_of, today


@click.command(
    epilog="""\b
Examples:
  outlast gateway costs
  outlast gateway costs --days 7

\b
Exit status:
  0 done · 2 usage, or a table of gateway.toml is wrong · 4 the ledger is damaged · 8 storage
"""
)
@click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    default=30,
    show_default=True,
    help="Take the requests of so many days, today among them",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take [local] from this file  [default: gateway.toml in the archive]",
)
@common
def costs(*, days: int, file: Path | None, home: str | None, as_json: bool, quiet: bool) -> None:
    """Compare what each route cost at providers with a machine of one's own, and say from which
    load on owning the weights is cheaper.

    A machine costs by the hour, so a token is the cheaper the more of them it gives: [local.ROUTE]
    in gateway.toml says what it costs (dollars-per-hour) and how many tokens of answers a second it
    gives with so many requests at once, as measured (curve = [[1, 40], [8, 210]]). Hosted answers
    are priced with the prompts that came with them.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        machines = tables_of(run, file).local
        first = today() - dt.timedelta(days=min(days, today().toordinal()) - 1)
        rows = rows_of(run, first, None)
        seconds = 86_400.0 * len({row.day for row in rows} or {""})
        found = route_costs(rows, machines, seconds)
        if run.as_json:
            for one in found:
                print_document(_document(one))
        else:
            _print(run, found)


def _print(run: Session, found: list[RouteCost]) -> None:
    if found:
        head = ("ROUTE", "HOSTED", "ANSWER", "DOLLARS", "$/M ANSWER", "TOKENS/S", "OWN $/M ANSWER")
        print_table([head, *map(_row, found)], right=range(1, 7))
    for one in found:
        if text := _sentence(one):
            print(text)
    run.say(plural(len(found), "route"))


def _row(one: RouteCost) -> tuple[str, ...]:
    own = "-"
    if one.curve:
        own = " ".join(f"{_round(at.dollars_per_million)}@{at.load}" for at in one.curve)
    return (
        one.route,
        f"{one.requests:,}",
        f"{one.completion_tokens:,}",
        _dollars(one) or "unknown",
        "-" if one.dollars_per_million is None else _round(one.dollars_per_million),
        _round(one.average_tokens_per_second),
        own,
    )


def _sentence(one: RouteCost) -> str:
    at = one.break_even
    if at is None:
        return ""
    name, need = one.route, _round(at.tokens_per_second)
    if at.load is None:
        return (
            f"{name}: a machine of one's own would have to give {need} tokens/s at all hours, and "
            f"gives at most {_round(max(point.tokens_per_second for point in one.curve))}: hosted "
            "is cheaper at any load"
        )
    verdict = "own" if one.is_own_cheaper else "hosted"
    return (
        f"{name}: owning the weights is cheaper from {need} tokens/s at all hours on, which are "
        f"{_round(at.load)} requests at once; on average there were "
        f"{_round(one.average_tokens_per_second)}: {verdict} is cheaper"
    )


def _dollars(one: RouteCost) -> str | None:
    """What the hosted requests cost; None where no price is known."""
    return dollars_text(one.money) if one.unpriced < one.requests or not one.requests else None


def _round(value: Decimal) -> str:
    """Three digits that count."""
    return f"{float(value):.3g}" if value < 1000 else f"{value:,.0f}"


def _document(one: RouteCost) -> GatewayCostDocument:
    at = one.break_even
    per_million = one.dollars_per_million
    return GatewayCostDocument(
        route=one.route,
        requests=one.requests,
        prompt_tokens=one.prompt_tokens,
        completion_tokens=one.completion_tokens,
        dollars=_dollars(one),
        unpriced_requests=one.unpriced,
        local_requests=one.local_requests,
        dollars_per_million=None if per_million is None else float(per_million),
        average_tokens_per_second=float(one.average_tokens_per_second),
        curve=[
            CurvePart(
                load=point.load,
                tokens_per_second=float(point.tokens_per_second),
                dollars_per_million=float(point.dollars_per_million),
            )
            for point in one.curve
        ],
        cheaper_from_tokens_per_second=None if at is None else float(at.tokens_per_second),
        cheaper_from_load=None if at is None or at.load is None else float(at.load),
        own_is_cheaper=one.is_own_cheaper,
    )
