"""``outlast audit replay``."""

from pathlib import Path

import click

from outlast.cli.edge import common, session
from outlast.cli.screen.render import print_document
from outlast.core.errors import IntegrityError
from outlast.features.audit.commands.documents import ReplayedAuditDocument
from outlast.features.audit.evidence import EXIT
from outlast.features.audit.report import read_report, replayed


@click.command(
    epilog="""\b
Example:
  outlast audit replay report.json

\b
Exit status:
  0 consistent · 3 no such file · 4 what the report says does not follow from its evidence, or it is
  no report of this version · 10 divergent · 11 inconclusive · 12 untestable
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@common
def replay(file: Path, *, home: str | None, as_json: bool, quiet: bool) -> int:
    """Compute the verdict of the report FILE anew from its evidence, without network and model.

    The evidence itself is believed: what the endpoint served, and what the reference says of it.
    """
    with session(home, as_json=as_json, quiet=quiet):
        report = read_report(file)
        finding = replayed(report)
        said = report.get("finding")
        same = said == finding.to_json()
        named = str(said.get("verdict")) if isinstance(said, dict) else ""
        if as_json:
            print_document(
                ReplayedAuditDocument(
                    verdict=finding.verdict.value,
                    said=named[:40],
                    same=same,
                    reason=finding.reason,
                    p_value=finding.p_value,
                    statistic=finding.statistic,
                )
            )
        else:
            print(f"{finding.verdict.value}: {finding.reason}")
        if not same:
            raise IntegrityError(
                f"the report says {named[:40]!r}, and its evidence {finding.verdict.value!r}",
                hint="it was changed, or another version wrote it",
            )
        return EXIT[finding.verdict]
