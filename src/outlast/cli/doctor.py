"""``outlast doctor``."""

import click

from outlast.cli.edge import common, session
from outlast.cli.screen.render import plural, print_json, print_table
from outlast.ops import doctor as ops


@click.command(
    epilog="""\b
Examples:
  outlast doctor
  outlast doctor --rebuild

\b
Exit status:
  0 nothing is wrong · 1 something is wrong
"""
)
@click.option("--rebuild", is_flag=True, help="Recreate the index from the archive's files")
@common
def doctor(*, rebuild: bool, home: str | None, as_json: bool, quiet: bool) -> int:
    """Find problems of this machine or archive, and say how to fix each of them.

    The command reads everything but the archived files ('outlast verify' reads those). It changes
    nothing, except that --rebuild recreates the index.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        if rebuild:
            count = ops.rebuild(run.config.home)
            run.say(f"index rebuilt from {plural(count, 'manifest')}")
        findings = list(ops.examine(run.config.home))
        for listed in run.features:
            findings += listed.load().checks(run.config.home)
    if as_json:
        for finding in findings:
            print_json(finding)
    else:
        print_table([(f.health.value, f.check, f.text) for f in findings])
        for finding in findings:
            if finding.mend:
                print(f"  {finding.check}: {finding.mend}")
    return int(any(finding.health is ops.Health.WRONG for finding in findings))
