"""``outlast mirror``."""

from collections.abc import Sequence

import click

from outlast.app import Scope, open_places
from outlast.cli.edge import Session, common, session
from outlast.cli.locate import around_of
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.names import RepoId
from outlast.core.sizes import human_size
from outlast.features.watch.commands.mirror_documents import (
    DependenceDocument,
    LossDocument,
    MirrorDocument,
    SeenPart,
)
from outlast.features.watch.dependence import (
    Dependence,
    archived,
    dependences,
    models_of,
    refresh,
)
from outlast.features.watch.follows import read_follows
from outlast.features.watch.settings import WatchSettings
from outlast.ops.holders.independence import HubLoss, losses
from outlast.store.archive import Archive

_NAMED = 3
_DAY = 10
"""Characters of a date without the time."""


@click.command(
    epilog="""\b
Examples:
  outlast mirror status
  outlast mirror status --refresh --most 20
  outlast mirror status --all --json

\b
Exit status:
  0 done · 2 usage, or a list of follows is wrong · 3 no archive · 130 interrupted
"""
)
@click.argument("action", type=click.Choice(["status"]))
@click.option("--all", "everything", is_flag=True, help="Archived models, too, beside the followed")
@click.option(
    "--refresh", "asks", is_flag=True, help="Ask now who holds the models, as locate does"
)
@click.option(
    "--most",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="With --refresh: ask for so many models, those at the highest risk first",
)
@common
def mirror(
    *,
    action: str,
    everything: bool,
    asks: bool,
    most: int,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show how many independent holders each followed model has, and which models would have no
    other known holder if a hub went away, the worst first.

    Without a follow, all archived models are shown. What is shown is what 'outlast locate' saw
    last, with its date; --refresh asks anew, one model after the other, and leaves a source alone
    that does not answer.

    A holder counts if it said to have all files; that was compared by digests, and not verified.
    Hosts of one registrable name (cdn.example.org, example.org) are one holder, and so are a
    mirror and a static peer at one address. A mirror counts for the files that it holds itself if
    it says which those are, as outlast does; another mirror may only pass on what its hub has.
    Nodes of one owner cannot be told apart: nodes on the LAN that the configuration does not name
    count as one holder, and so do all peers of a swarm.
    """
    assert action == "status"
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        repos = _models(run, archive, everything=everything)
        found = dependences(archive, repos)
        asked = 0
        if asks:
            urls = run.config.sources
            with open_places(run.config.upstreams(urls), run.config.http()) as sources:
                around = around_of(run.config, Scope())
                asked = refresh(archive, found[:most], sources, around, run.control)
            found = dependences(archive, repos)
        _print(run, found, asked if asks else None)


def _models(run: Session, archive: Archive, *, everything: bool) -> list[RepoId]:
    settings = run.config.features.get("watch", WatchSettings())
    follows = read_follows(run.config.home, settings.lists)
    if not follows:
        return archived(archive)
    found = models_of(archive, follows, run.config.sources)
    return sorted({*found, *archived(archive)}) if everything else found


def _print(run: Session, found: Sequence[Dependence], asked: int | None) -> None:
    """`asked`: of how many models it was asked just now; None: of none, on purpose."""
    lost = losses(one.risked for one in found)
    unknown = sum(one.seen is None for one in found)
    without = sum(one.seen is not None and not one.groups for one in found)
    if run.as_json:
        for one in found:
            print_document(_document(one))
        for loss in lost:
            print_document(_loss(loss))
        print_document(
            MirrorDocument(models=len(found), unknown=unknown, without=without, asked=asked or 0)
        )
        return
    if found:
        head = ("MODEL", "BYTES", "HERE", "HOLDERS", "WHICH", "ASKED")
        print_table([head, *map(_row, found)], right=(1, 3))
    for loss in lost:
        print(_sentence(loss))
    run.say(plural(len(found), "model") + f", {asked} asked for now" * (asked is not None))
    if without:
        run.say(f"{plural(without, 'model')} without another known holder of all files")
    if unknown and asked is not None:
        run.say(f"{plural(unknown, 'model')} still unknown: not asked for, or no source has it")
    elif unknown:
        run.say(f"{plural(unknown, 'model')} never asked for: --refresh asks who holds them")


def _row(one: Dependence) -> tuple[str, ...]:
    names = sorted(one.groups)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    here = {True: "all", False: "part", None: "-"}[one.here]
    return (
        str(one.repo),
        human_size(one.size) if one.size else "-",
        here,
        f"{len(names):,}" if one.seen is not None else "?",
        (", ".join(names[:_NAMED]) or "-") + more,
        one.seen.asked[:_DAY] if one.seen is not None else "never",
    )


def _sentence(loss: HubLoss) -> str:
    last = (
        f"; {len(loss.lost):,} of them, {human_size(loss.lost_size)}, would be lost"
        if loss.lost
        else "; this archive has all of that"
    )
    return (
        f"if {loss.hub} went away: {plural(loss.models, 'model')}, {human_size(loss.size)} would "
        f"have no other known holder{last}"
    )


def _document(one: Dependence) -> DependenceDocument:
    seen = one.seen
    return DependenceDocument(
        repo=one.repo,
        commit=None if seen is None else seen.commit,
        bytes=one.size,
        here=one.here,
        holders=len(one.groups),
        seen=[
            SeenPart(
                name=holder.name,
                kind=holder.kind,
                group=holder.group,
                files=holder.files,
                bytes=holder.size,
                whole=holder.whole,
                seen=holder.seen,
            )
            for holder in (() if seen is None else seen.holders)
        ],
        asked=None if seen is None else seen.asked,
    )


def _loss(loss: HubLoss) -> LossDocument:
    return LossDocument(
        hub=loss.hub,
        models=loss.models,
        bytes=loss.size,
        lost_models=len(loss.lost),
        lost_bytes=loss.lost_size,
        only_here=[one.repo for one in loss.only_here],
        lost=[one.repo for one in loss.lost],
    )
