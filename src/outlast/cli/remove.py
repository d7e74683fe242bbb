"""``outlast rm`` and ``outlast gc``."""

import click

from outlast.cli.documents.space import (
    CollectedDocument,
    RemovedAllDocument,
    RestoredDocument,
    SparedPart,
)
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import IntegrityError, UsageError, one_line
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.ops import removal
from outlast.store.collect import Spared
from outlast.store.garbage.tuning import DAY


@click.command(
    epilog="""\b
Examples:
  outlast rm Qwen/Qwen3-0.6B --dry-run
  outlast rm Qwen/Qwen3-0.6B@v1.0

\b
Exit status:
  0 done · 3 not archived
"""
)
@click.argument("target", nargs=-1, required=True, type=TARGET)
@click.option("--dry-run", is_flag=True, help="Print what would be removed; change nothing")
@common
def rm(
    target: tuple[Target, ...], *, dry_run: bool, home: str | None, as_json: bool, quiet: bool
) -> None:
    """Remove TARGET from the archive: a model, a revision or a ref.

    Removing a ref also removes its revision unless another ref names it. The bytes stay on the disk
    until 'outlast gc' moves them to the trash, and 'outlast gc --now' deletes them.
    """
    count, gone = 0, []
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        for one in target:
            gone += [(one.repo, commit) for commit in removal.named(archive, one)[1]]
            count += len(removal.remove(archive, one, dry_run=dry_run, control=run.control))
        kept = removal.bases_kept(archive, gone)
    if as_json:
        print_document(
            RemovedAllDocument(
                type="would-remove" if dry_run else "removed-all",
                count=count,
                kept=kept.count,
                kept_bytes=kept.size,
            )
        )
        return
    if dry_run:
        run.say(f"would remove {plural(count, 'ref or revision')}; nothing was changed")
    else:
        run.say(
            "removed; 'outlast gc' moves the bytes to the trash, 'outlast gc --now' frees the space"
        )
    _say_kept(run, kept)


@click.command(
    epilog="""\b
Examples:
  outlast gc --dry-run
  outlast gc
  outlast gc --undo
  outlast gc --now

\b
Exit status:
  0 done · 2 usage · 3 no archive, or no such record · 4 a record cannot be read: what it may
  name was kept · 8 storage · 130 interrupted
"""
)
@click.option("--dry-run", is_flag=True, help="Print what would be removed; change nothing")
@click.option("--now", is_flag=True, help="Delete at once, and empty the trash")
@click.option("--undo", is_flag=True, help="Put everything in the trash back")
@click.option(
    "--discard",
    multiple=True,
    metavar="RECORD",
    help="Give up a record that cannot be read; it goes to the trash, and protects nothing",
)
@click.option(
    "--alone",
    is_flag=True,
    help="No other process uses the archive: collect although its file system has no locks",
)
@common
def gc(
    *,
    dry_run: bool,
    now: bool,
    undo: bool,
    discard: tuple[str, ...],
    alone: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Move files that no revision needs to the trash, and delete what has been there for 7 days.

    The setting 'gc-grace' changes the 7 days. Interrupted downloads that nothing waits for are
    deleted at once. The base of a delta capsule stays as long as the capsule does, even after its
    own model was removed. The command is safe while pulls and servers run. On a file system whose
    locks do not work it refuses, because it cannot see them: end them, and use --alone.

    If a manifest or draft cannot be read, or is in quarantine, everything that it may name stays:
    all that was in the archive when the command first met that record. To give the record up, name
    it with --discard.
    """
    if undo and (dry_run or now or discard or alone):
        raise UsageError("--undo stands alone")
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        if undo:
            _report_undone(run, removal.restore_trash(archive, run.control))
            return 0
        result = removal.collect_garbage(
            archive,
            dry_run=dry_run,
            control=run.control,
            grace=0 if now else run.config.gc_grace * DAY,
            discard=discard,
            alone=alone,
        )
    if as_json:
        print_document(_document(result, dry_run=dry_run))
    else:
        _print_collected(run, result, dry_run=dry_run)
    return IntegrityError.exit_code if result.spared else 0


def _document(result: removal.Collected, *, dry_run: bool) -> CollectedDocument:
    return CollectedDocument(
        dry_run=dry_run,
        count=result.count,
        bytes=result.size,
        freed_bytes=result.freed,
        trash_bytes=result.trash,
        spared=[
            SparedPart(record=each.record, reason=each.reason, count=each.count, size=each.size)
            for each in result.spared
        ],
        kept=result.kept.count,
        kept_bytes=result.kept.size,
    )


def _report_undone(run: Session, undone: removal.Undone) -> None:
    if run.as_json:
        print_document(RestoredDocument(count=undone.count, bytes=undone.size, left=undone.left))
        return
    print(f"restored {human_size(undone.size)} ({plural(undone.count, 'file')})")
    if undone.left:
        run.say(f"{plural(undone.left, 'file')} stayed in the trash: the archive has them again")


def _print_collected(run: Session, result: removal.Collected, *, dry_run: bool) -> None:
    verb, moving = ("would free", "would move") if dry_run else ("freed", "moved")
    items = plural(result.count, "item")
    moved = result.size - result.freed
    if moved:
        days = f"{run.config.gc_grace:g} days"
        print(f"{moving} {human_size(moved)} to the trash for {days}, {verb} "
              f"{human_size(result.freed)} ({items})")  # fmt: skip
    else:
        print(f"{verb} {human_size(result.freed)} ({items})")
    if result.trash:
        run.say(
            f"the trash holds {human_size(result.trash)}: 'outlast gc --now' deletes it, "
            "'outlast gc --undo' puts it back"
        )
    _say_kept(run, result.kept)
    for record in result.spared:
        run.say(one_line(_spared(record)))


def _spared(record: Spared) -> str:
    kept = f"kept: {plural(record.count, 'blob')} ({human_size(record.size)}), because "
    return (
        f"{kept if record.count else ''}{record.record} cannot be relied on ({record.reason}); "
        f"pull the model again, or give it up with 'outlast gc --discard {record.record}'"
    )


def _say_kept(run: Session, kept: removal.KeptBases) -> None:
    if kept.count:
        run.say(
            f"kept: {plural(kept.count, 'blob')} ({human_size(kept.size)}) that delta capsules "
            "depend on; 'outlast pack --no-base' or 'outlast unpack' of the fine-tunes frees them"
        )
