"""``outlast pull``."""

from functools import partial
from pathlib import Path

import click

from outlast.app import Scope, hand_on, hub_sources, open_archive, open_neighbourhood
from outlast.cli.config.file import parse_rate
from outlast.cli.documents.arriving import PulledDocument
from outlast.cli.documents.parts import warnings_of
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.options.forms import form_options, form_wishes, kept_in
from outlast.cli.options.selection import selection_options
from outlast.cli.options.strict import strict_option, warnings
from outlast.cli.options.target import WANTED, Wanted, parse_origins, read_wanted
from outlast.cli.pull_other import OtherWishes, check_options, pull_by_digest, pull_by_link
from outlast.cli.screen.render import human_size, plural, print_document
from outlast.core.digest import Digest
from outlast.core.errors import UsageError, one_line
from outlast.core.names import Target
from outlast.fetch.file_filter import Selection
from outlast.fetch.transfer import Wishes
from outlast.ops import pull as ops
from outlast.ops.pull_link import LinkWanted


@click.command(
    epilog="""\b
Examples:
  outlast pull Qwen/Qwen3-0.6B
  outlast pull Qwen/Qwen3-0.6B@v1.0 --dry-run
  outlast pull unsloth/gemma-3-GGUF --include '*Q4_K_M*'
  outlast pull datasets/squad --from https://mirror.example --from https://huggingface.co
  outlast pull Qwen/Qwen3-0.6B --from lan
  outlast pull 'magnet:?xt=urn:btmh:1220…&tr=…' --as me/model
  outlast pull model.torrent --patience 600

\b
Exit status:
  0 archived · 2 usage · 3 not found · 4 wrong or malformed bytes · 5 transient (run again: it
  resumes) · 7 access denied or against a rule · 8 storage · 130 interrupted
"""
)
@click.argument("target", type=WANTED)
@click.option(
    "--from",
    "words",
    multiple=True,
    metavar="SOURCE",
    help="Ask only this source (repeatable). URL: this hub or mirror; lan: neighbours;"
    " swarm: neighbours and static peers, by BitTorrent only; peer:HOST:PORT: this node and the"
    " static peers",
)
@selection_options
@form_options
@strict_option
@click.option("--as", "name", type=TARGET, help="Archive a link or torrent as org/name[@ref]")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Give up on a link or digest when no peer sends anything for so long",
)
@click.option("--dry-run", is_flag=True, help="Print what would be fetched, and from where")
@click.option("--limit-rate", metavar="RATE", help="At most this many bytes per second, e.g. 10M")
@click.option(
    "--connections",
    type=click.IntRange(1, 256),
    help="At most this many connections at once, to all sources together  [default: 8]",
)
@click.option("--no-swarm", is_flag=True, help="Ask hubs and mirrors only: no neighbours, no peers")
@click.option(
    "--linger",
    type=click.FloatRange(0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="After the pull, stay up to SECONDS while neighbours still need these files",
)
@common
def pull(
    target: Wanted,
    *,
    words: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    form: str | None,
    base: Target | None,
    no_base: bool,
    strict: bool,
    name: Target | None,
    patience: float | None,
    dry_run: bool,
    limit_rate: str | None,
    connections: int | None,
    no_swarm: bool,
    linger: float,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Archive TARGET: a model as org/name[@ref-or-commit], a dataset as datasets/…, a magnet link,
    a .torrent file, or a manifest (the list of a revision's files) by its sha256 in 64 hex digits,
    which 'outlast show' prints.

    Other nodes are neighbours, which are found on the LAN, and static peers, which the
    configuration names. Hubs and static peers are asked at the same time which commit TARGET is and
    which files it has. A hub that answers decides; without one, the commit that most static peers
    name is taken. Neighbours are asked that only with --from lan, and decide only if no hub
    answers: their word does not prove who published the files, and 'show' and 'serve' mark it until
    a hub confirms or replaces it. The bytes of a
    file come from nodes that have the whole file, and from the hub if none has it or they are slow.
    If several nodes want the same file, one node downloads it from the hub and all nodes exchange
    pieces. An interrupted pull of a commit that a hub has listed goes on from nodes if no hub can
    be reached.

    Every file is checked against the hub's digest before it is kept. An interrupted pull resumes; a
    second pull transfers only new files. Files are compressed losslessly as they arrive if that
    saves at least 3 %; a fine-tune (a model trained further from another one) is stored as a delta
    against its base.

    Files that are not what their names say (as a Git LFS pointer or an error page in place of
    weights, a truncated file, a missing shard) are archived with a warning. With --strict they are
    refused, and the revision stays unfinished.

    A link or torrent proves that the files match it, and nothing about their publisher. Its files
    are archived under the name of --as; without it, the name is link/ and the first 16 digits of
    the torrent's infohash (the digest that identifies it). A link waits for peers until Ctrl-C or
    --patience ends the pull.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        config = run.config
        asked = read_wanted(target)
        check_options(asked, name, patience, some=bool(include or exclude))
        urls, scope = parse_origins(words, config.sources)
        if no_swarm or not config.swarm.enabled:
            scope = Scope(lan=False, peers=())
        if not urls and not scope.needs_node:
            raise UsageError("no source to pull from", hint="name one with --from")
        sources = hub_sources(config.upstreams(urls), config.http())
        wishes = Wishes(
            connections=connections or config.connections,
            rate=parse_rate(limit_rate) if limit_rate else config.rate,
            forms=form_wishes(config, form, base, no_base=no_base),
        )
        with (
            open_archive(config.home, keep=not dry_run) as archive,
            open_neighbourhood(
                archive, config.node(), run.control, scope, command="pull"
            ) as around,
        ):
            room = _existing(config.home)
            other = OtherWishes(wishes, name, patience, dry_run, room, strict)
            match asked:
                case LinkWanted():
                    pull_by_link(run, archive, asked, around, other)
                case Digest():
                    done = pull_by_digest(
                        run, archive, asked, other, sources=sources, around=around
                    )
                    _print(run, done.pulled, dry_run=dry_run)
                case Target():
                    result = ops.pull(
                        archive,
                        asked,
                        sources,
                        selection=Selection(include, exclude),
                        wishes=wishes,
                        control=run.control,
                        around=around,
                        dry_run=dry_run,
                        room=room,
                        strict=strict,
                    )
                    _print(run, result, dry_run=dry_run)
            if around is not None and linger and not dry_run:
                hand_on(around.node, run.control, linger, partial(_say_handing_on, run))


def _say_handing_on(run: Session, count: int) -> None:
    run.say(f"handing on to {plural(count, 'neighbour')}; Ctrl-C ends it")


def _existing(path: Path) -> Path:
    """`path`, or its nearest parent that exists."""
    return path if path.exists() or path == path.parent else _existing(path.parent)


def _print(run: Session, result: ops.Pulled, *, dry_run: bool) -> None:
    plan = result.plan
    if run.as_json:
        print_document(_document(result, dry_run=dry_run))
        return
    if dry_run:
        _print_plan(plan)
        return
    gave = {name: count for name, count in result.fetched.items() if count}
    for url, count in gave.items():
        if len(gave) > 1:
            run.say(f"  {human_size(count)} from {url}")
    state = f" PARTIAL: {_left_out(plan)}" if result.partial else ""
    fetched = human_size(sum(result.fetched.values()))
    kept = kept_in(plan.total_bytes, result.held)
    run.say(
        f"archived {plan.repo}@{plan.ref}: {plural(len(plan.wanted), 'file')}, "
        f"{human_size(plan.total_bytes)} verified, {fetched} fetched{kept}{state}"
        f"{warnings(len(result.suspects))}"
    )
    print(plan.commit)


def _left_out(plan: ops.PullPlan) -> str:
    """Why the archived revision is partial."""
    count = len(plan.excluded) + len(plan.refused)
    return f"{plural(count, 'file')} left out" if count else "it may lack files"


def _document(result: ops.Pulled, *, dry_run: bool) -> PulledDocument:
    plan = result.plan
    return PulledDocument(
        type="plan" if dry_run else "pulled",
        repo=plan.repo,
        ref=plan.ref,
        commit=plan.commit,
        manifest=result.manifest,
        partial=result.partial,
        refused=plan.refused,
        source=plan.source,
        unconfirmed=bool(plan.told_by),
        files=len(plan.wanted),
        bytes=plan.total_bytes,
        to_fetch=[entry.path for entry in plan.to_fetch],
        to_fetch_bytes=plan.fetch_bytes - plan.resumed,
        free_bytes=plan.free,
        fits=plan.fits,
        fetched=result.fetched,
        held_bytes=result.held,
        warnings=warnings_of(result.suspects),
    )


def _print_plan(plan: ops.PullPlan) -> None:
    need = plan.fetch_bytes - plan.resumed
    print(f"{plan.repo}@{plan.ref} is commit {plan.commit} at {plan.source}")
    print(f"  wanted    {plural(len(plan.wanted), 'file')}, {human_size(plan.total_bytes)}")
    here = human_size(sum(entry.size for entry in plan.here))
    print(f"  here      {plural(len(plan.here), 'file')}, {here}")
    print(f"  to fetch  {plural(len(plan.to_fetch), 'file')}, {human_size(need)}")
    print(f"  free      {human_size(plan.free)}: it {'fits' if plan.fits else 'does NOT fit'}")
    if plan.partial:
        print(f"  PARTIAL   {_left_out(plan)}")
    for entry in plan.to_fetch:
        print(f"    {human_size(entry.size):>9}  {one_line(entry.path)}")
