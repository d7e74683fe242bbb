"""``outlast withdraw``."""

import datetime as dt

import click

from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import print_document
from outlast.core.errors import UsageError, one_line
from outlast.core.names import Target
from outlast.features.watch.commands.documents import NoticeDocument
from outlast.ops.words.withdraw import Withdrawn, lift
from outlast.ops.words.withdraw import withdraw as record


@click.command(
    epilog="""\b
Examples:
  outlast withdraw org/name --reason "takedown notice of 2026-11-30, no. 4711"
  outlast withdraw org/name --reason "licence dispute" --stop-serving --dry-run
  outlast withdraw org/name --undo

\b
Exit status:
  0 done · 2 usage · 3 not archived, or no notice to lift · 4 its record is damaged · 8 storage
"""
)
@click.argument("target", type=TARGET)
@click.option("--reason", metavar="TEXT", help="Why, in one line; clients are told")
@click.option("--stop-serving", is_flag=True, help="Do not give the model out any more")
@click.option("--undo", is_flag=True, help="Lift the notice, and give the model out as before")
@click.option("--dry-run", is_flag=True, help="Print what would be recorded; change nothing")
@common
def withdraw(
    target: Target,
    *,
    reason: str | None,
    stop_serving: bool,
    undo: bool,
    dry_run: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Record a takedown notice against a model of this archive. Its bytes stay.

    With --stop-serving the model is not given out any more, from the next request on: clients of
    'serve' get HTTP 451 with the reason, other nodes do not learn of it, and its torrents are not
    seeded. Static peers and clients with a token are no exception. On this machine everything works
    as before. Files that another model has too are still given out as files of that.

    A notice keeps its date when its reason is written anew, and what was stopped stays so until
    --undo. 'outlast rm' and 'outlast gc --now' delete the bytes; the notice then stays, so that
    what a mirror fetches anew is not given out either.
    """
    if target.ref is not None:
        raise UsageError("a notice is against the whole model", hint="leave out what follows the @")
    if undo == (reason is not None) or (undo and stop_serving):
        raise UsageError(
            "give --reason TEXT (with --stop-serving, if you like), or --undo",
            hint="see 'outlast withdraw --help'",
        )
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        if reason is None:
            done = lift(archive, target.repo, dry_run=dry_run)
        else:
            now = dt.datetime.now(dt.UTC)
            done = record(archive, target.repo, reason, stop=stop_serving, now=now, dry_run=dry_run)
        _tell(run, done, dry_run=dry_run)


def _tell(run: Session, done: Withdrawn, *, dry_run: bool) -> None:
    notice = done.after
    if run.as_json:
        print_document(
            NoticeDocument(
                repo=done.repo,
                dry_run=dry_run,
                since=None if notice is None else notice.since,
                reason="" if notice is None else notice.reason,
                stopped=notice is not None and notice.stopped,
            )
        )
        return
    if notice is None:
        text = f"{done.repo}: the notice is lifted; it is given out as before"
    else:
        given = "not given out any more" if notice.stopped else "still given out"
        text = one_line(f"{done.repo}: withdrawn since {notice.since}: {notice.reason}; {given}")
    print(text if not dry_run else f"nothing was changed; without --dry-run: {text}")
