"""The options of the commands that pull: where from, how fast, in which form. And what such a
command opens by them.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import click

from outlast.app import Scope, hand_on, hub_sources, open_archive, open_neighbourhood
from outlast.cli.config.file import parse_rate
from outlast.cli.edge import Session
from outlast.cli.options.finding import found_by
from outlast.cli.options.forms import form_options, form_wishes
from outlast.cli.options.strict import strict_option
from outlast.cli.options.target import parse_origins
from outlast.cli.screen.render import plural
from outlast.core.errors import UsageError
from outlast.core.names import Target
from outlast.fetch.transfer import Wishes
from outlast.node.scope import Neighbourhood
from outlast.sources.base import Source
from outlast.sources.http import HttpClient
from outlast.store.archive import Archive


@dataclass(frozen=True, slots=True)
class PullOptions:
    """What the options said; the fields have the names of their parameters."""

    words: tuple[str, ...]
    form: str | None
    base: Target | None
    no_base: bool
    strict: bool
    dry_run: bool
    limit_rate: str | None
    connections: int | None
    no_swarm: bool
    linger: float


@dataclass(frozen=True, slots=True)
class Puller:
    """What a pull needs: opened once, however many models come. `room` is a folder on the disk that
    needs the space.
    """

    archive: Archive
    sources: Sequence[Source]
    around: Neighbourhood | None
    wishes: Wishes
    room: Path


def pull_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All of them; the command gets one `options`, a :class:`PullOptions`."""
    names = [field.name for field in fields(PullOptions)]

    @functools.wraps(command)
    def collected(*arguments: Any, **given: Any) -> Any:
        options = PullOptions(**{name: given.pop(name) for name in names})
        return command(*arguments, options=options, **given)

    declared: list[Callable[..., Any]] = [
        click.option(
            "--from",
            "words",
            multiple=True,
            metavar="SOURCE",
            help="Ask only this source (repeatable). URL: this hub or mirror; KIND+URL[=NAME]: a"
            " source of another kind, and the model's name there; lan: neighbours;"
            " swarm: neighbours and static peers, by BitTorrent only; peer:HOST:PORT: this node"
            " and the static peers; catalogue[:NAME]: catalogues that are followed",
        ),
        form_options,
        strict_option,
        click.option("--dry-run", is_flag=True, help="Print what would be done; change nothing"),
        click.option(
            "--limit-rate", metavar="RATE", help="At most this many bytes per second, e.g. 10M"
        ),
        click.option(
            "--connections",
            type=click.IntRange(1, 256),
            help="At most this many connections at once, to all sources together  [default: 8]",
        ),
        click.option(
            "--no-swarm", is_flag=True, help="Ask hubs and mirrors only: no neighbours, no peers"
        ),
        click.option(
            "--linger",
            type=click.FloatRange(0),
            default=60,
            show_default=True,
            metavar="SECONDS",
            help="At the end, stay up to SECONDS while neighbours still need what was pulled",
        ),
    ]
    for option in reversed(declared):
        collected = option(collected)
    return collected


@contextlib.contextmanager
def opened(
    run: Session, options: PullOptions, command: str = "pull", *, named: bool = False
) -> Iterator[Puller]:
    """The archive, the sources, and the node that exchanges files while the block runs, which
    `status` shows as `command`; at the end it stays for neighbours that still need something.
    `named`: one model will be pulled, which the command line names.
    """
    config = run.config
    finding = found_by(run.features, options.words)
    urls, scope = parse_origins(finding.others, config.sources, named=named)
    if finding.words and not finding.others:
        urls, scope = (), Scope()  # the places that were named, and neighbours for the bytes
    if options.no_swarm or not config.swarm.enabled:
        scope = Scope(lan=False, peers=())
    http = HttpClient(config.http())
    sources = hub_sources(config.upstreams(urls), config.http())
    sources += finding.sources(config.home, http)
    if not sources and not scope.needs_node:
        raise UsageError("no source to pull from", hint="name one with --from")
    wishes = Wishes(
        connections=options.connections or config.connections,
        rate=parse_rate(options.limit_rate) if options.limit_rate else config.rate,
        forms=form_wishes(config, options.form, options.base, no_base=options.no_base),
    )
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(
            open_archive(config.home, keep=not options.dry_run, gate=run.gate())
        )
        run.govern(archive)
        if not options.dry_run:
            run.warn_of_locks(archive)
        around = stack.enter_context(
            open_neighbourhood(archive, config.node(), run.control, scope, command=command)
        )
        yield Puller(archive, sources, around, wishes, _existing(config.home))
        if around is not None and options.linger and not options.dry_run:
            hand_on(around.node, run.control, options.linger, partial(_say_handing_on, run))


def _existing(path: Path) -> Path:
    """`path`, or its nearest parent that exists."""
    return path if path.exists() or path == path.parent else _existing(path.parent)


def _say_handing_on(run: Session, count: int) -> None:
    run.say(f"handing on to {plural(count, 'neighbour')}; Ctrl-C ends it")
