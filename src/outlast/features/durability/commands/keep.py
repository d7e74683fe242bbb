"""``outlast keep``."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import click

from outlast.app import open_node
from outlast.cli.edge import Session, SizeType, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import TransientError, UsageError
from outlast.core.sizes import human_size
from outlast.features.durability.commands.documents import CopyDocument, KeepDocument
from outlast.features.durability.copies.keeper import Change, Done, Keeper
from outlast.features.durability.copies.rounds import CopiesContext
from outlast.features.durability.copies.service import UNFORESEEABLE, stores_of
from outlast.features.durability.copies.service import keep as keep_on
from outlast.features.durability.settings import CopiesSettings
from outlast.fetch.transfer import Wishes
from outlast.intake.form_policy import FormWishes
from outlast.node.node import Node

_CAME: Final = {Change.FETCHED, Change.STORED}
_QUIET: Final = 2
"""Rounds without a copy, after which nothing is due."""


@click.command(
    epilog="""\b
Examples:
  outlast keep --budget 500GB
  outlast keep --budget 500GB --once
  outlast keep --once
  outlast keep --shrink --dry-run
  outlast keep --shrink

\b
Exit status:
  0 done · 2 usage, or a keep-list is wrong · 5 with --once: a copy could not be fetched, or a goal
  is not met · 8 storage · 130 interrupted
"""
)
@click.option(
    "--budget",
    type=SizeType(),
    metavar="SIZE",
    help="Give so many bytes of the disk to what static peers hold rarest, as 500GB",
)
@click.option("--once", is_flag=True, help="Do what is due now, and end")
@click.option("--shrink", is_flag=True, help="Drop copies here that are more than goals want")
@click.option("--dry-run", is_flag=True, help="With --shrink: say what would be dropped")
@common
def keep(
    *,
    budget: int | None,
    once: bool,
    shrink: bool,
    dry_run: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Hold copies of what static peers have: those that goals of keep-lists ask this node for, and
    with --budget what is rare.

    Goals are lines of the keep-lists that the setting lists of [durability] names, as 'org/name
    copies=3 where=lan,site-b', and of the lists of static peers. 'outlast serve' does the same
    beside its work if the settings say so; 'outlast status' shows the goals.

    With --budget this node takes what has the fewest known copies, at random so that not all
    volunteers take the same, and drops what it took itself and has become common, but only to make
    room for what is rarer, and only if another node proves to have it. Nothing else is dropped.

    --shrink drops a copy that came for a goal if there are more than the goal wants, and as many
    other nodes as it wants prove now that they have one. Its bytes stay until 'outlast gc'.
    """
    if dry_run and not shrink:
        raise UsageError("--dry-run is for --shrink", hint="add --shrink")
    if shrink and (budget is not None or once):
        raise UsageError("--shrink takes neither --budget nor --once", hint="call it by itself")
    with session(home, as_json=as_json, quiet=quiet) as run:
        settings = run.config.features.get("durability", CopiesSettings())
        if budget is not None:
            settings = replace(settings, volunteer=budget)
        if not (run.config.swarm.peers or settings.stores):
            raise UsageError(
                "no static peers: copies are held with nodes that you name",
                hint="set peers in [swarm] of the configuration, or stores in [durability]",
            )
        if not (settings.active or settings.stores or shrink):
            raise UsageError(
                "nothing to keep",
                hint="give --budget SIZE, or name keep-lists: lists in [durability]",
            )
        with (
            run.archive(create=True) as archive,
            open_node(archive, run.config.node(), run.control, command="keep") as node,
        ):
            config = run.config
            wishes = Wishes(
                connections=config.connections, rate=config.rate, forms=FormWishes(config.form)
            )
            counters = _Uncounted()
            keeper = Keeper(
                CopiesContext(
                    archive,
                    node,
                    settings,
                    run.control,
                    wishes,
                    counters,
                    UNFORESEEABLE,
                    stores=stores_of(settings, config.open_home),
                )
            )
            teller = _Teller(run, dry_run=dry_run)
            if not (once or shrink):
                keep_on(keeper, settings.every, run.control, teller.tell)
            for one in keeper.shrink(dry_run=dry_run) if shrink else _all(keeper):
                teller.tell(one)
            return teller.end(node)


def _all(keeper: Keeper) -> Iterator[Done]:
    """All that is due now: a volunteer decides anew after each copy that came. What goals ask for
    has to be due in two rounds.
    """
    quiet = 0
    while quiet < _QUIET:
        _, done = keeper.step()
        yield from done
        quiet = 0 if any(one.change in _CAME for one in done) else quiet + 1


class _Uncounted:
    """No figures: this process has no `/metrics`."""

    def goals(self, met: int, unmet: int) -> None:
        del met, unmet

    def challenged(self, right: int, failed: int) -> None:
        del right, failed


@dataclass(slots=True)
class _Sum:
    count: int = 0
    size: int = 0


class _Teller:
    """Prints what becomes of copies, and sums it up."""

    def __init__(self, run: Session, *, dry_run: bool) -> None:
        self._run = run
        self._dry_run = dry_run
        self._sums = {change: _Sum() for change in Change}

    def tell(self, one: Done) -> None:
        row = one.row
        self._sums[one.change].count += 1
        self._sums[one.change].size += row.size
        if self._run.as_json:
            print_document(
                CopyDocument(
                    repo=row.repo,
                    commit=row.commit,
                    manifest=row.manifest,
                    bytes=row.size,
                    change=one.change.value,
                    why=one.why,
                    store=one.store,
                    dry_run=self._dry_run,
                )
            )
            return
        would = "would be " if self._dry_run and one.change is Change.DROPPED else ""
        why = f" in {one.store}" if one.store else ""
        why += f": {one.why}" if one.why else ""
        print(f"{row.repo}@{row.commit.hex[:12]}  {human_size(row.size)}  {would}{one.change}{why}")

    def end(self, node: Node) -> int:
        """The exit status."""
        goals = node.copies.status
        unmet = sum(not row.met for row in goals)
        fetched, dropped = self._sums[Change.FETCHED], self._sums[Change.DROPPED]
        stored, failed = self._sums[Change.STORED], self._sums[Change.FAILED].count
        if self._run.as_json:
            print_document(
                KeepDocument(
                    fetched=fetched.count,
                    fetched_bytes=fetched.size,
                    dropped=dropped.count,
                    dropped_bytes=dropped.size,
                    stored=stored.count,
                    stored_bytes=stored.size,
                    failed=failed,
                    goals=len(goals),
                    unmet=unmet,
                )
            )
        came = f"{fetched.count} fetched, {human_size(fetched.size)}"
        went = f"{dropped.count} dropped, {human_size(dropped.size)}"
        if stored.count:
            came += f"; {stored.count} stored, {human_size(stored.size)}"
        self._run.say(f"copies: {came}; {went}; {unmet} of {plural(len(goals), 'goal')} not met")
        return TransientError.exit_code if failed or unmet else 0
