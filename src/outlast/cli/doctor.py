"""``outlast doctor``."""

from pathlib import Path

import click

from outlast.cli.documents.machine import FindingDocument, MendedDocument
from outlast.cli.edge import common, session
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.errors import UsageError, one_line
from outlast.ops import doctor as ops
from outlast.ops import mend as mending


@click.command(
    epilog="""\b
Examples:
  outlast doctor
  outlast doctor --rebuild
  outlast doctor --mend
  outlast doctor /mnt/nas

\b
Exit status:
  0 nothing is wrong · 1 something is wrong · 2 usage · 3 no such folder · 8 storage
  130 interrupted
"""
)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--rebuild", is_flag=True, help="Recreate the index from the archive's files")
@click.option(
    "--mend",
    is_flag=True,
    help="Restore damaged small files, or set them aside",
)
@common
def doctor(
    folder: Path | None,
    *,
    rebuild: bool,
    mend: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Find problems of this machine or archive, and say how to fix each of them.

    The command reads everything but the archived files, of which it reads the heads ('outlast
    verify' reads all of them). It changes nothing, except that --rebuild recreates the index, and
    --mend restores small files that are damaged: refs, drafts, what is known of a model and the
    like. What cannot be restored is moved to the folder quarantine/records. Nothing becomes public
    or complete by it.

    With FOLDER the command tries only whether the file system there has what an archive needs
    (writes, locks, links and more), before you put an archive there. It leaves nothing behind.
    """
    if folder is not None and (rebuild or mend):
        raise UsageError("FOLDER goes without --rebuild and --mend")
    mended: list[mending.Mended] = []
    with session(home, as_json=as_json, quiet=quiet) as run:
        if folder is not None:
            findings = list(ops.examine_folder(folder))
        else:
            if rebuild:
                count = ops.rebuild(run.config.home, run.control)
                run.say(f"index rebuilt from {plural(count, 'manifest')}")
            mended = list(mending.mend(run.config.home)) if mend else []
            findings = list(ops.examine(run.config.home))
            for listed in run.features:
                findings += listed.load().checks(run.config.home)
    _print(mended, findings, as_json=as_json)
    return int(any(finding.health is ops.Health.WRONG for finding in findings))


def _print(mended: list[mending.Mended], findings: list[ops.Finding], *, as_json: bool) -> None:
    if as_json:
        for each in mended:
            print_document(MendedDocument(name=each.name, outcome=each.outcome, lost=each.lost))
        for f in findings:
            print_document(
                FindingDocument(check=f.check, health=f.health, text=f.text, mend=f.mend)
            )
    else:
        for each in mended:
            lost = f"; lost is {each.lost}" if each.lost else ""
            print(one_line(f"{each.outcome.value.replace('-', ' ')}: {each.name}{lost}", 2000))
        print_table([(f.health.value, f.check, f.text) for f in findings])
        for finding in findings:
            if finding.mend:
                print(one_line(f"  {finding.check}: {finding.mend}"))
