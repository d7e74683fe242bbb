"""``outlast doctor``."""

import click

from outlast.cli.edge import common, session
from outlast.cli.screen.render import jsonable, plural, print_json, print_table
from outlast.core.errors import one_line
from outlast.ops import doctor as ops
from outlast.ops import mend as mending


@click.command(
    epilog="""\b
Examples:
  outlast doctor
  outlast doctor --rebuild
  outlast doctor --mend

\b
Exit status:
  0 nothing is wrong · 1 something is wrong
"""
)
@click.option("--rebuild", is_flag=True, help="Recreate the index from the archive's files")
@click.option(
    "--mend",
    is_flag=True,
    help="Restore damaged small files, or set them aside",
)
@common
def doctor(*, rebuild: bool, mend: bool, home: str | None, as_json: bool, quiet: bool) -> int:
    """Find problems of this machine or archive, and say how to fix each of them.

    The command reads everything but the archived files, of which it reads the heads ('outlast
    verify' reads all of them). It changes nothing, except that --rebuild recreates the index, and
    --mend restores small files that are damaged: refs, drafts, what is known of a model and the
    like. What cannot be restored is moved to the folder quarantine/records. Nothing becomes public
    or complete by it.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        if rebuild:
            count = ops.rebuild(run.config.home)
            run.say(f"index rebuilt from {plural(count, 'manifest')}")
        mended = list(mending.mend(run.config.home)) if mend else []
        findings = list(ops.examine(run.config.home))
        for listed in run.features:
            findings += listed.load().checks(run.config.home)
    if as_json:
        for each in mended:
            print_json({"type": "mended", **jsonable(each)})
        for finding in findings:
            print_json(finding)
    else:
        for each in mended:
            lost = f"; lost is {each.lost}" if each.lost else ""
            print(one_line(f"{each.outcome.value.replace('-', ' ')}: {each.name}{lost}", 2000))
        print_table([(f.health.value, f.check, f.text) for f in findings])
        for finding in findings:
            if finding.mend:
                print(one_line(f"  {finding.check}: {finding.mend}"))
    return int(any(finding.health is ops.Health.WRONG for finding in findings))
