"""``outlast status``."""

import contextlib
import math
import sys
import time
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from outlast.cli.documents.network import NodeDocument
from outlast.cli.edge import Session, common, session
from outlast.cli.feature import load
from outlast.cli.screen.render import print_documents, print_table
from outlast.cli.screen.status_tables import Reported, Section, sections
from outlast.core.errors import Cancelled, one_line
from outlast.core.sizes import human_size
from outlast.core.status import NodeStatus
from outlast.node.status_client import Nodes, ask_nodes
from outlast.ops.removal import reclaimable
from outlast.store.disk import space_used

if TYPE_CHECKING:
    from rich.console import Group

    from outlast.cli.documents.document import Document

_EVERY = 1.0
_MEASURE_EVERY = 30.0
"""Seconds between two measurements of the archive's size: one looks at each of its files."""


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
@partial(common, json="Print one JSON list, with a document for each node and gateway")
def status(*, watch: bool | None, home: str | None, as_json: bool, quiet: bool) -> None:
    """Show what the running nodes of this archive do: transfers, peers, neighbours, rates, and the
    ratio of bytes sent to bytes received. Also show how much of the disk the archive takes, as 'du'
    counts.

    A gateway that runs is shown too: its routes, which of their targets answer, and how often
    others stood in.

    Every 'outlast serve' and every 'outlast pull' is a node, unless the swarm is off. The command
    asks it at its socket: nodes/<process id>.sock in the archive's folder.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        folder, drawn = run.config.home, sys.stdout.isatty()
        if as_json:
            found = ask_nodes(folder)
            space = space_used(folder) if found.nodes else 0
            documents: list[Document] = [_document(node, space) for node in found.nodes]
            for part in _reported(run, folder):
                documents += part.documents
            print_documents(documents)
            _tell(run, found)
        elif drawn if watch is None else watch:
            with contextlib.suppress(Cancelled):  # Ctrl-C is how it ends
                (_draw if drawn else _repeat)(run, _Space(folder))
        else:
            _print(run, _Space(folder))


def _document(node: NodeStatus, space: int) -> NodeDocument:
    status = {each.name: getattr(node, each.name) for each in fields(node)}
    return NodeDocument(**status, archive_bytes=space)


@dataclass(slots=True)
class _Space:
    """What an archive takes, measured now and then: that looks at each of its files."""

    folder: Path
    measured: int = 0
    at: float = -math.inf

    def line(self) -> str | None:
        """A sentence; None where there is no archive."""
        if not self.folder.is_dir():
            return None
        if time.monotonic() - self.at > _MEASURE_EVERY:
            self.measured, self.at = space_used(self.folder), time.monotonic()
        return one_line(f"the archive in {self.folder} takes {human_size(self.measured)}")


def _tell(run: Session, found: Nodes) -> None:
    for problem in found.problems:
        run.say(one_line(problem))


def _print(run: Session, space: _Space) -> None:
    found = ask_nodes(space.folder)
    if (line := space.line()) is not None:
        print(line)
    for part in _sections(run, space.folder, found):
        if part.title:
            print(part.title)
        if part.rows:
            print_table(part.rows, right=part.right)
    _tell(run, found)
    if waiting := reclaimable(space.folder):
        run.say(f"the trash holds {human_size(waiting)}: 'outlast gc --now' deletes it")
    if not found.nodes:
        run.say(
            f"{_no_node(space.folder)}; start one with 'outlast serve' or 'outlast pull'. A server "
            "without the swarm is not shown"
        )


def _sections(run: Session, folder: Path, found: Nodes) -> list[Section]:
    """Of the nodes, and of what else runs on the archive."""
    others = [part for one in _reported(run, folder) for part in one.sections]
    return [*sections(found.nodes), *others]


def _reported(run: Session, folder: Path) -> list[Reported]:
    """What runs of the features on the archive."""
    return [load(feature.reports)(folder) for feature in run.features if feature.reports]


def _no_node(folder: Path) -> str:
    return f"no node of the swarm runs on {folder}"


def _repeat(run: Session, space: _Space) -> None:
    while True:
        _print(run, space)
        sys.stdout.flush()
        run.control.cancel.wait(_EVERY)


def _draw(run: Session, space: _Space) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only for terminals
    from rich.live import Live  # noqa: PLC0415

    with Live(console=Console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(_drawn(run, space), refresh=True)
            run.control.cancel.wait(_EVERY)


def _drawn(run: Session, space: _Space) -> "Group":
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    found = ask_nodes(space.folder)
    line = space.line()
    shown: list[Text | Table] = [Text(line)] if line is not None else []
    if not found.nodes:
        shown.append(Text(_no_node(space.folder)))
    for part in _sections(run, space.folder, found):
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
