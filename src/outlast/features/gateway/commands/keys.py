"""``outlast gateway keys``."""

from collections.abc import Mapping, Sequence
from typing import Final

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.errors import UsageError
from outlast.features.gateway.accounts.accounts import FOLDER, GatewayAccounts
from outlast.features.gateway.accounts.budgets import BudgetStanding
from outlast.features.gateway.accounts.database import MADE
from outlast.features.gateway.accounts.keys import KeyRow, LimitRow, UserKeys
from outlast.features.gateway.accounts.money import dollars_text
from outlast.features.gateway.accounts.periods import Period
from outlast.features.gateway.accounts.values import Limit
from outlast.features.gateway.commands.budget_option import BudgetType
from outlast.features.gateway.commands.documents import BudgetPart, GatewayKeyDocument
from outlast.store.disk import is_named

_ACTIONS: Final = ("new", "list", "revoke", "change")
_Spent = Mapping[Limit, BudgetStanding]


@click.command(
    epilog="""\b
Examples:
  outlast gateway keys new alice
  outlast gateway keys new ci --budget day:tokens=2M,money=5 --concurrency 4 --model 'small-*'
  outlast gateway keys new lab --budget month:money=200 --budget day@fast:requests=10k
  outlast gateway keys list
  outlast gateway keys change ci --budget day:money=10
  outlast gateway keys revoke alice

\b
Exit status:
  0 done · 2 usage · 3 no such key · 4 the file of keys, or what was spent, is damaged · 8 storage
"""
)
@click.argument("action", type=click.Choice(_ACTIONS))
@click.argument("name", required=False)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    type=BudgetType(),
    metavar="PERIOD[@ROUTE]:WHAT=MOST,…",
    help="Most tokens, money (dollars) or requests in each day, month or in total (UTC), on one "
    "route or on all together; may be given several times",
)
@click.option("--concurrency", type=click.IntRange(0, 10**6), help="Most requests at once")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="GLOB",
    help="With new: routes that the key may use; may be given several times  [default: all]",
)
@common
def keys(
    *,
    action: str,
    name: str | None,
    budgets: tuple[LimitRow, ...],
    concurrency: int | None,
    models: tuple[str, ...],
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make keys for users of the gateway, and list, change or revoke them.

    'new' prints the key's secret, once: the archive keeps its SHA-256 only. As long as no key was
    ever made, the gateway asks for none, and listens on loopback alone. A gateway that runs sees
    each change with the next request. 'change' gives a key the budgets that are named, in place of
    those that it has; what is spent stays spent. A budget that is spent refuses what would pass it,
    before a provider is asked.
    """
    limits = budgets
    if concurrency is not None:
        limits = (*budgets, LimitRow(period=Period.OPEN, requests=concurrency))
    _check(action, name, models, has_limits=bool(limits))
    with session(home, as_json=as_json, quiet=quiet) as run:
        box = UserKeys(run.config.home / FOLDER)
        if action == "list":
            _list(run, box)
        elif action == "new":
            row, secret = box.new(name or "", models, limits)
            _tell(run, row, secret)
        elif action == "revoke":
            _tell(run, box.revoke(name or ""))
        else:
            _tell(run, box.change_limits(name or "", limits))


def _check(action: str, name: str | None, models: Sequence[str], *, has_limits: bool) -> None:
    if (name is None) != (action == "list"):
        text = f"{action} takes no name" if name else f"{action} needs the name of a key"
        raise UsageError(text, hint="see 'outlast gateway keys --help'")
    if models and action != "new":
        raise UsageError(f"{action} takes no --model")
    if has_limits and action in {"list", "revoke"}:
        raise UsageError(f"{action} takes no budget")
    for glob in models:
        if not glob or not glob.isprintable() or len(glob) > 200:
            raise UsageError(f"not a glob of routes: {glob[:100]!r}")


def _tell(run: Session, row: KeyRow, secret: str | None = None) -> None:
    if run.as_json:
        print_document(_document(row, {}, secret))
    elif secret is not None:
        print(secret)
        run.say(f"the key of {row.name}: it is not shown again")
    elif row.revoked is not None:
        print(f"revoked {row.name}")
    else:
        print(f"changed {row.name}: {plural(len(row.limits), 'budget')}")


def _list(run: Session, box: UserKeys) -> None:
    rows = box.all()
    spent = _spent(run, rows)
    if run.as_json:
        for row in rows:
            print_document(_document(row, spent))
        return
    if rows:
        head = ("NAME", "ID", "MADE", "MODELS", "BUDGETS: USED OF MOST")
        print_table([head, *(_row(row, spent) for row in rows)])
    run.say(plural(len(rows), "key"))


def _spent(run: Session, rows: Sequence[KeyRow]) -> _Spent:
    """What is spent of all budgets; nothing where no gateway ever ran."""
    limits = [limit for row in rows for _, limit in row.caller.limits]
    if not limits or not is_named(run.config.home / FOLDER / MADE):
        return {}
    with GatewayAccounts(run.config.home) as accounts:
        return dict(zip(limits, accounts.standings(limits), strict=True))


def _row(row: KeyRow, spent: _Spent) -> tuple[str, ...]:
    budgets = "; ".join(_sentence(part) for part in _parts(row, spent))
    made = row.created[:10] if row.revoked is None else f"revoked {row.revoked[:10]}"
    return (row.name, row.id, made, " ".join(row.models), budgets or "none")


def _sentence(part: BudgetPart) -> str:
    where = "" if part.route == "*" else f" on {part.route}"
    if part.period is Period.OPEN:
        return f"at once{where} {part.requests_used:,}/{part.requests:,}"
    said = [
        f"{used:,}/{most:,} {what}"
        for used, most, what in (
            (part.tokens_used, part.tokens, "tokens"),
            (part.requests_used, part.requests, "requests"),
        )
        if most is not None
    ]
    if part.dollars is not None:
        said.append(f"${part.dollars_used}/${part.dollars}")
    return f"{part.period}{where} {', '.join(said)}"


def _parts(row: KeyRow, spent: _Spent) -> list[BudgetPart]:
    found = []
    for limit_row, (route, limit) in zip(row.limits, row.caller.limits, strict=True):
        at = spent.get(limit)
        found.append(
            BudgetPart(
                period=limit_row.period,
                route=route,
                tokens=limit.tokens,
                dollars=None if limit.money is None else dollars_text(limit.money),
                requests=limit.requests,
                tokens_used=0 if at is None else at.tokens,
                dollars_used=dollars_text(0 if at is None else at.money),
                requests_used=0 if at is None else at.requests,
            )
        )
    return found


def _document(row: KeyRow, spent: _Spent, secret: str | None = None) -> GatewayKeyDocument:
    return GatewayKeyDocument(
        id=row.id,
        name=row.name,
        created=row.created,
        revoked=row.revoked,
        models=row.models,
        budgets=_parts(row, spent),
        secret=secret,
    )
