"""``outlast locate``."""

import contextlib
from collections.abc import Iterator, Sequence

import click

from outlast.app import Scope, open_places
from outlast.cli.config.file import Config
from outlast.cli.documents.located import HolderDocument, LocatedDocument
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.feature import finders
from outlast.cli.options.target import parse_origins
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.errors import TransientError, UsageError, one_line
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.ops.holders.locate import Around, locate
from outlast.ops.holders.tuning import TUNING, Tuning
from outlast.ops.holders.values import Holder, Located
from outlast.sources.http import HttpClient
from outlast.sources.peer import peer_client
from outlast.store.archive import Archive
from outlast.store.layout import Layout

_NONE = 3


@click.command(
    "locate",
    epilog="""\b
Examples:
  outlast locate Qwen/Qwen3-0.6B
  outlast locate Qwen/Qwen3-0.6B@v1.0 --from lan --json
  outlast locate Qwen/Qwen3-0.6B --from https://mirror.example --from peer:10.0.0.7

\b
Exit status:
  0 others have all files, together at least · 2 usage · 3 they do not, or the model is unknown ·
  5 they do not, and some gave no answer (run again) · 7 access denied · 130 interrupted
""",
)
@click.argument("target", type=TARGET)
@click.option(
    "--from",
    "words",
    multiple=True,
    metavar="SOURCE",
    help="Ask only this source (repeatable). URL: this hub or mirror; KIND+URL[=NAME]: a source of"
    " another kind, and the model's name there; lan: neighbours, also by name; peer:HOST:PORT: this"
    " node and the static peers  [default: all that are configured, the LAN, trackers, the DHT]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    default=TUNING.answer,
    show_default=True,
    metavar="SECONDS",
    help="Each of up to three rounds of questions ends after so long",
)
@common
def find_holders(
    target: Target,
    *,
    words: tuple[str, ...],
    timeout: float,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Show who has which files of a model now: hubs, mirrors, other sources, nodes, swarms, and
    this archive.

    The revision is the one that is archived here, or else the one that the first source names. Two
    files are the same if their digests are, whatever their names are: a place that has the model's
    name with other bytes is shown as such. A mirror counts for what it holds itself. What others
    say to have is not verified; a pull verifies every file.

    Sources and static peers hear the model's name. Nodes on the LAN are asked by the files'
    digests, and by name only with --from lan; trackers and the DHT are asked for the files'
    torrents, if the configuration uses them, and nothing is announced there. Of a private or gated
    model only sources and static peers are asked.

    What was learned is kept in the archive: 'outlast show' prints which models elsewhere are the
    same.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, archive_if_any(run.config) as archive:
        urls, scope = parse_origins(words, run.config.sources, named=True)
        with open_places(run.config.upstreams(urls), run.config.http()) as sources:
            http = HttpClient(run.config.http())
            known = {source.name for source in sources}
            disputes: list[str] = []
            for finder in () if words else finders(run.features):
                disputes += finder.disputes(run.config.home, http, target.repo)
                more = finder.sources_of(run.config.home, http, target.repo)
                sources += [source for source in more if source.name not in known]
            found = locate(
                archive,
                target,
                sources,
                around_of(run.config, scope),
                run.control,
                tuning=Tuning(answer=timeout),
            )
        status = _status(found)
        _print(run, found, status, disputes)
    return status


@contextlib.contextmanager
def archive_if_any(config: Config) -> Iterator[Archive | None]:
    """The archive, where there is one: to ask others, none is needed."""
    if not Layout(config.home).marker.exists():
        yield None
        return
    with Archive(config.home) as archive:
        yield archive


def around_of(config: Config, scope: Scope) -> Around:
    """The nodes and swarms that the settings and `scope` allow to ask; nodes that the user names
    are asked in any case. Raises :class:`UsageError` if the user names what the settings turn off.
    """
    swarm = config.swarm
    allowed = swarm.enabled and not swarm.private
    if scope.named and not allowed:
        raise UsageError("the configuration turns off looking for nodes on the LAN")
    configured = swarm.peers if swarm.enabled and scope.static else ()
    return Around(
        peer_client(config.http()),
        swarm,
        config.share,
        (*configured, *(scope.peers or ())),
        lan=allowed and scope.lan,
        named=scope.named,
    )


def _status(found: Located) -> int:
    if found.is_safe:
        return 0
    return _NONE if found.is_sure else TransientError.exit_code


def _print(run: Session, found: Located, status: int, disputes: Sequence[str]) -> None:
    rows = [found.here, *found.others]
    if run.as_json:
        for holder in rows:
            print_document(_document(holder))
        print_document(_summary(found, status, disputes))
        return
    wanted = found.wanted
    head = ("HOLDER", "KIND", "FILES", "BYTES", "COMMIT", "STATE", "NOTE")
    print_table([head, *(_row(found, holder) for holder in rows)], right=(2, 3))
    may_more = " or more" if wanted.unlisted else ""
    run.say(
        f"{wanted.repo}@{wanted.commit.hex[:12]} has {plural(len(wanted.entries), 'file')}"
        f"{may_more}, {human_size(wanted.size)}, as {wanted.told_by} says"
    )
    if wanted.closed:
        run.say("it is restricted: no node that is not a static peer, tracker or DHT was asked")
    for text in disputes:
        run.say(one_line(text))
    if found.silent:
        run.say(f"{plural(found.silent, 'node')} on the LAN have nothing of it")
    run.say(
        f"independent holders of all files, beside this archive: {len(found.whole_groups)}"
        if found.whole_groups or not found.is_safe
        else "no other holder has all files; together they have"
    )


def _row(found: Located, holder: Holder) -> tuple[str, ...]:
    return (
        holder.name,
        holder.kind.value,
        f"{len(holder.files):,} of {len(found.wanted.entries):,}",
        human_size(holder.size),
        holder.commit.hex[:12] if holder.commit is not None else "-",
        holder.state.value,
        one_line(holder.note, 160),
    )


def _document(holder: Holder) -> HolderDocument:
    return HolderDocument(
        holder=holder.name,
        kind=holder.kind,
        group=holder.group,
        state=holder.state,
        files=len(holder.files),
        bytes=holder.size,
        commit=holder.commit,
        note=holder.note,
    )


def _summary(found: Located, status: int, disputes: Sequence[str]) -> LocatedDocument:
    wanted = found.wanted
    return LocatedDocument(
        repo=wanted.repo,
        revision=wanted.commit,
        told_by=wanted.told_by,
        files=len(wanted.entries),
        bytes=wanted.size,
        restricted=wanted.closed,
        holders=len(found.whole_groups),
        here=len(found.here.files),
        elsewhere=found.is_safe,
        nodes_without=found.silent,
        status=status,
        disputes=disputes,
    )
