"""``outlast log``."""

import click

from outlast.cli.edge import TARGET, common, session
from outlast.cli.screen.render import print_document, print_table
from outlast.core.errors import RepoNotFoundError, UsageError, one_line
from outlast.core.names import Target
from outlast.features.watch.commands.documents import ChangeDocument
from outlast.features.watch.seen import Seen, moment, seen
from outlast.features.watch.telling.alerts import detail


@click.command(
    epilog="""\b
Examples:
  outlast log Qwen/Qwen3-0.6B
  outlast log --since 2026-11-01 --json

\b
Exit status:
  0 done · 2 usage · 3 no archive, or nothing is known of the model
"""
)
@click.argument("target", type=TARGET, required=False)
@click.option("--since", metavar="DATE", help="Only from this day (UTC) or moment on")
@common
def log(
    target: Target | None,
    *,
    since: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what this archive has seen of a model, or of all, by hub and date.

    That is what 'outlast watch' noticed, what was archived from where, what a source had withdrawn
    when it was asked, and what 'outlast withdraw' recorded. Dates say when this archive looked, not
    when it happened.
    """
    if target is not None and target.ref is not None:
        raise UsageError("the log is of the whole model", hint="leave out what follows the @")
    start = moment(since) if since else ""
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        repo = None if target is None else target.repo
        found = seen(run.config.home, archive, repo, start)
        if repo is not None and not found and not start:
            raise RepoNotFoundError(
                f"nothing is known of {repo}", hint="'outlast follow' begins to watch it"
            )
        if as_json:
            for one in found:
                print_document(_document(one))
            return
        rows = [_row(one, named=target is not None) for one in found]
        head = ("WHEN", "HUB", "MODEL", "WHAT", "DETAIL")
        if rows:
            print_table([head if target is None else (*head[:2], *head[3:]), *rows])
        else:
            run.say("nothing was seen" + f" since {start}" * bool(start))


def _row(one: Seen, *, named: bool) -> tuple[str, ...]:
    model = () if named else (str(one.repo or "-"),)
    return (one.when, one.hub or "-", *model, one.what, one_line(_detail(one), 200))


def _detail(one: Seen) -> str:
    if one.change is not None:
        return detail(one.change)
    commit = one.commit.hex[:12] if one.commit is not None else ""
    return " ".join(filter(None, (one.ref, commit, one.reason)))


def _document(one: Seen) -> ChangeDocument:
    change = one.change
    return ChangeDocument(
        when=one.when,
        hub=one.hub,
        repo=one.repo,
        what=one.what,
        ref=one.ref,
        before=change.before if change is not None else "",
        after=change.after if change is not None else "",
        reason=one.reason,
        diff=change.diff if change is not None else "",
        files=change.files if change is not None else (),
        commit=one.commit,
    )
