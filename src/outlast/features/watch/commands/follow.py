"""``outlast follow``."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import click

from outlast.app import open_archive
from outlast.cli.edge import Session, SizeType, common, session
from outlast.cli.options.selection import selection_options
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.errors import NotFoundError, OutlastError, UsageError, one_line
from outlast.core.keep_list import Priority
from outlast.core.sizes import human_size
from outlast.features.watch.commands.documents import FollowDocument, TakesPart
from outlast.features.watch.estimate import Takes, estimate
from outlast.features.watch.follow import Follow
from outlast.features.watch.follows import (
    drop_follow,
    own_follows,
    parse_pattern,
    put_follow,
    read_follows,
)
from outlast.features.watch.settings import WatchSettings
from outlast.fetch.lookalikes import lookalike_warning
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.hub_watch import HubWatch
from outlast.store import disk

_LIST: Final = "ls"
_REMOVE: Final = "rm"
Change = Literal["added", "changed", "removed"]


@click.command(
    epilog="""\b
Examples:
  outlast follow Qwen/Qwen3-0.6B --budget 5GB
  outlast follow 'Qwen/*' --include '*.safetensors' --include '*.json' --budget 500GB
  outlast follow datasets/squad --priority low
  outlast follow collections/Qwen/qwen3-67dd247413f0e2e4f653967f
  outlast follow search:author=google,tag=gguf,license=apache-2.0
  outlast follow ls
  outlast follow rm 'Qwen/*'

\b
Exit status:
  0 done · 2 usage, or a line of the list is wrong · 3 not followed, or the hub knows nothing of
  that name · 8 storage
"""
)
@click.argument("words", nargs=-1, required=True, metavar="PATTERN... | ls | rm PATTERN...")
@selection_options
@click.option(
    "--budget",
    type=SizeType(),
    metavar="SIZE",
    help="Archive what is new, up to this many bytes in all, as 500GB; without it, only watch",
)
@click.option(
    "--priority",
    type=click.Choice([one.value for one in Priority]),
    default=Priority.NORMAL.value,
    show_default=True,
    help="What goes first where not all can be polled or archived at once",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done; change nothing")
@common
def follow(
    *,
    words: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    budget: int | None,
    priority: str,
    dry_run: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Follow PATTERN: 'outlast watch' then looks what its hub does to it, and tells.

    PATTERN is a model (org/name, org/name@ref, datasets/org/name), an organisation (org/*), a
    collection (collections/ORG/SLUG) or a search (search:author=…,tag=…,license=…,base_model=…).
    One that is followed already is changed. The list is a text file, watch/follows.txt in the
    archive's folder, that you may edit; 'ls' lists it, with the keep-lists that the setting 'lists'
    of [watch] names.

    Without --budget the hub is asked what archiving all of it would take, and it is watched only.
    """
    verb, patterns = _verb(words)
    with session(home, as_json=as_json, quiet=quiet) as run:
        if verb == _LIST:
            _list(run)
            return
        wanted = [_pattern(text, include, exclude, budget, priority) for text in patterns]
        for one in wanted:
            if verb == _REMOVE:
                _remove(run, one, dry_run=dry_run)
            else:
                _follow(run, one, dry_run=dry_run)


def _verb(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """``ls``, ``rm`` or nothing, and the patterns."""
    verb = words[0] if words[0] in {_LIST, _REMOVE} else ""
    patterns = words[1:] if verb else words
    if (verb == _LIST) == bool(patterns):
        hint = "see 'outlast follow --help'"
        text = "ls takes no pattern" if patterns else "name the patterns to remove"
        raise UsageError(text, hint=hint)
    return verb, patterns


def _pattern(
    text: str, include: Sequence[str], exclude: Sequence[str], budget: int | None, priority: str
) -> Follow:
    for glob in (*include, *exclude):
        if not glob or not glob.isprintable() or set(glob) & set(" \t"):
            raise UsageError(
                f"not a glob for a list: {glob[:100]!r}", hint="write a space in a glob as ?"
            )
    return replace(
        parse_pattern(text),
        include=tuple(include),
        exclude=tuple(exclude),
        budget=budget,
        priority=Priority(priority),
    )


def _follow(run: Session, wanted: Follow, *, dry_run: bool) -> None:
    takes = _asked(run, wanted) if wanted.budget is None else None
    with open_archive(run.config.home, keep=not dry_run) as archive:
        home = archive.layout.home
        run.govern(archive)
        if wanted.repo is not None and (said := lookalike_warning(archive, wanted.repo)):
            run.say(f"warning: {said}")
        before = _named(own_follows(home), wanted)
        if not dry_run:
            before = put_follow(archive, wanted)
        free = disk.free_bytes(home)
    if run.as_json:
        change: Change = "added" if before is None else "changed"
        print_document(_document(wanted, free, change=change, takes=takes, dry_run=dry_run))
        return
    would = "would follow" if dry_run else "following"
    room = f"{human_size(free)} are free"
    if wanted.budget is not None:
        print(f"{would} {wanted.text}: up to {human_size(wanted.budget)} are archived; {room}")
        return
    print(f"{would} {wanted.text}: it is watched, and not archived")
    if takes is not None:
        unknown = f", and {plural(takes.unknown, 'model')} of unknown size" * bool(takes.unknown)
        print(
            f"all of it is {plural(takes.models, 'model')}, {human_size(takes.bytes)}{unknown}; "
            f"{room}: --budget SIZE archives it"
        )


def _asked(run: Session, wanted: Follow) -> TakesPart | None:
    """What the first hub says it would take. A hub that does not answer keeps no follow back; one
    that knows no such model may mean a slip of the pen.
    """
    urls = run.config.sources[:1]
    with HttpClient(run.config.http()) as http:
        for hub in run.config.upstreams(urls):
            run.say(f"asking {hub.url} what {wanted.text} would take")
            try:
                found: Takes = estimate(
                    HubWatch(http, hub.url, hub.token),
                    HubSource(http, hub.url, hub.token),
                    wanted,
                    run.control,
                )
            except NotFoundError as error:
                if wanted.repo is not None and "/" not in wanted.repo.name:
                    error.hint = f"to follow all of an organisation, write '{wanted.repo.name}/*'"
                raise
            except OutlastError as error:
                run.control.cancel.check()
                run.say(f"not known what it would take: {error}")
            else:
                return TakesPart(
                    hub=hub.url, models=found.models, bytes=found.size, unknown=found.unknown
                )
    return None


def _remove(run: Session, wanted: Follow, *, dry_run: bool) -> None:
    home = run.config.home
    found = _named(own_follows(home), wanted)
    if found is None:
        other = _named(_all(run), wanted)
        where = "" if other is None else f"; {other.origin} names it: edit that list"
        raise NotFoundError(
            one_line(f"{wanted.text} is not followed by a command{where}"),
            hint="'outlast follow ls' lists what is followed",
        )
    if not dry_run:
        with run.archive() as archive:
            drop_follow(archive, wanted.key)
    if run.as_json:
        free = disk.free_bytes(home)
        print_document(_document(found, free, change="removed", dry_run=dry_run))
        return
    would = "would follow" if dry_run else "following"
    print(f"{would} {found.text} no more; what is archived stays")


def _list(run: Session) -> None:
    found = _all(run)
    if run.as_json:
        home = run.config.home
        free = disk.free_bytes(home) if home.exists() else 0
        for one in found:
            print_document(_document(one, free))
        return
    head = ("PATTERN", "WHAT", "BUDGET", "PRIORITY", "FILES", "LIST")
    rows = [
        (
            one.text,
            one.kind,
            "-" if one.budget is None else human_size(one.budget),
            one.priority,
            " ".join([*one.include, *(f"not {glob}" for glob in one.exclude)]) or "all",
            one.origin or "-",
        )
        for one in found
    ]
    if rows:
        print_table([head, *(tuple(map(one_line, row)) for row in rows)])
    run.say(plural(len(rows), "follow"))


def _all(run: Session) -> tuple[Follow, ...]:
    settings = run.config.features.get("watch", WatchSettings())
    return read_follows(run.config.home, settings.lists)


def _named(follows: Sequence[Follow], wanted: Follow) -> Follow | None:
    """The one of `follows` that follows the same."""
    return next((one for one in follows if one.key == wanted.key), None)


def _document(
    one: Follow,
    free: int,
    *,
    change: Change | None = None,
    takes: TakesPart | None = None,
    dry_run: bool = False,
) -> FollowDocument:
    return FollowDocument(
        pattern=one.text,
        kind=one.kind,
        include=one.include,
        exclude=one.exclude,
        budget=one.budget,
        priority=one.priority,
        list=one.origin,
        dry_run=dry_run,
        change=change,
        takes=takes,
        free_bytes=free,
    )
