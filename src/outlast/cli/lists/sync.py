"""``outlast sync``."""

import shlex
from collections.abc import Sequence

import click

from outlast.cli.documents.lists import LeftDocument, SyncedDocument
from outlast.cli.edge import Session, common, session
from outlast.cli.lists.keep import KeptAll, keep_all, summary
from outlast.cli.lists.read import list_option, read_list
from outlast.cli.options.pulling import PullOptions, opened, pull_options
from outlast.cli.screen.render import print_document
from outlast.core.errors import one_line
from outlast.ops import removal
from outlast.ops.keep import Left, left_list
from outlast.store.archive import Archive


@click.command(
    epilog="""\b
Examples:
  outlast sync -f models.txt
  outlast sync -f models.txt --remove --dry-run
  outlast sync -f models.txt --json
A list:
  Qwen/Qwen3-0.6B                            # a comment
  meta-llama/Llama-3.2-1B@v1.0               exclude=original/*
  unsloth/gemma-3-GGUF                       include=*Q4_K_M* include=*.json
  datasets/squad

\b
Exit status:
  0 all is well · else that of the worst failure, in this order: 130 interrupted · 8 storage ·
  4 wrong bytes · 1 another failure · 7 access denied or against a rule · 3 not found · 2 usage ·
  5 transient
"""
)
@list_option("The keep-list (-: stdin)", required=True)
@click.option("--remove", is_flag=True, help="Remove what was pulled and the list does not name")
@pull_options
@common
def sync(
    *,
    file: str,
    remove: bool,
    options: PullOptions,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Archive what a keep-list names, as 'pull --file' does, and say what else the archive holds.

    Every branch and tag of the list is looked up again. One model that fails does not stop the
    others. Only --remove removes anything, and only if all lines succeeded: models, and refs of
    models, that were pulled and that the list does not name. What was added here, came by a link,
    was adopted, or was withdrawn by its source stays: 'outlast rm' removes it. The bytes stay until
    'outlast gc'.

    \b
    STATE in the table:
      new        the ref was not in the archive
      updated    the ref names another commit now; the older one stays
      completed  the same commit; files that were missing came
      unchanged  nothing was to be done
      failed     NOTE says why; what came stays, and the next run goes on
      skipped    the disk was full, or Ctrl-C ended the run, before its turn
      partial    (added to these) globs leave out files of the commit
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        lines = read_list(file)
        with opened(run, options, "sync") as puller:
            result = keep_all(run, puller, lines, options, ends=False)
            left = left_list(puller.archive, lines)
            _tell(run, left)
            gone = [one for one in left if remove and result.well and not one.kept]
            _remove(run, puller.archive, gone, dry_run=options.dry_run)
            _conclude(run, result, left, gone, file, remove=remove, dry_run=options.dry_run)
        return result.status


def _tell(run: Session, left: Sequence[Left]) -> None:
    for one in left:
        if run.as_json:
            target = one.target
            print_document(LeftDocument(repo=target.repo, ref=target.ref, kept=one.kept))
        else:
            run.say(f"not on the list: {one.target}{f' ({one.kept})' if one.kept else ''}")


def _remove(run: Session, archive: Archive, gone: Sequence[Left], *, dry_run: bool) -> None:
    for one in gone:
        run.control.cancel.check()
        removal.remove(archive, one.target, dry_run=dry_run, control=run.control)


def _conclude(
    run: Session,
    result: KeptAll,
    left: Sequence[Left],
    gone: Sequence[Left],
    file: str,
    *,
    remove: bool,
    dry_run: bool,
) -> None:
    if run.as_json:
        fields = summary(result, dry_run=dry_run)
        print_document(SyncedDocument(**fields, left=len(left), removed=len(gone)))
        return
    if remove and not result.well and left:
        run.say("nothing was removed: a model of the list failed")
    elif gone and dry_run:
        run.say(f"would remove {len(gone)} of them; nothing was changed")
    elif gone:
        run.say("removed; 'outlast gc' moves the bytes to the trash")
    elif not remove and result.well and any(not one.kept for one in left):
        command = f"outlast sync -f {shlex.quote(file)} --remove"
        run.say(f"what is not on the list goes with: {one_line(command)}")
