"""``outlast status``."""

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import print_json, print_table
from outlast.cli.screen.status_tables import sections
from outlast.core.errors import Cancelled, one_line
from outlast.node.status_client import Nodes, ask_nodes

if TYPE_CHECKING:
    from rich.console import Group

_EVERY = 1.0


@click.command(
    epilog="""\b
Examples:
  outlast status
  outlast status --once
  outlast status --json

\b
Exit status:
  0 done, also where no node runs
"""
)
@click.option(
    "--watch/--once",
    default=None,
    help="Redraw every second, or print once  [default: --watch on a terminal]",
)
@partial(common, json="Print one JSON list, with a document for each node")
def status(*, watch: bool | None, home: str | None, as_json: bool, quiet: bool) -> None:
    """Show what the running nodes of this archive do: transfers, peers, neighbours, rates, and the
    ratio of bytes sent to bytes received.

    Every 'outlast serve' and every 'outlast pull' is a node. The command asks it at its socket:
    nodes/<process id>.sock in the archive's folder.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        folder, drawn = run.config.home, sys.stdout.isatty()
        if as_json:
            found = ask_nodes(folder)
            print_json([node.to_json() for node in found.nodes])
            _tell(run, found)
        elif drawn if watch is None else watch:
            with contextlib.suppress(Cancelled):  # Ctrl-C is how it ends
                (_draw if drawn else _repeat)(run, folder)
        else:
            _print(run, folder)


def _tell(run: Session, found: Nodes) -> None:
    for problem in found.problems:
        run.say(one_line(problem))


def _print(run: Session, folder: Path) -> None:
    found = ask_nodes(folder)
    for part in sections(found.nodes):
        if part.title:
            print(part.title)
        if part.rows:
            print_table(part.rows, right=part.right)
    _tell(run, found)
    if not found.nodes:
        run.say(f"no node runs on {folder}; start one with 'outlast serve' or 'outlast pull'")


def _repeat(run: Session, folder: Path) -> None:
    while True:
        _print(run, folder)
        sys.stdout.flush()
        run.control.cancel.wait(_EVERY)


def _draw(run: Session, folder: Path) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only for terminals
    from rich.live import Live  # noqa: PLC0415

    with Live(console=Console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(_drawn(folder), refresh=True)
            run.control.cancel.wait(_EVERY)


def _drawn(folder: Path) -> "Group":
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    found = ask_nodes(folder)
    shown: list[Text | Table] = []
    if not found.nodes:
        shown.append(Text(f"no node runs on {folder}"))
    for part in sections(found.nodes):
        if part.title:
            shown.append(Text(part.title, style="bold"))
        if part.rows:
            table = Table(box=None, pad_edge=False)
            for number, name in enumerate(part.rows[0]):
                table.add_column(name, justify="right" if number in part.right else "left")
            for row in part.rows[1:]:
                table.add_row(*(Text(one_line(cell)) for cell in row))
            shown.append(table)
    shown += [Text(one_line(problem)) for problem in found.problems]
    return Group(*shown)
