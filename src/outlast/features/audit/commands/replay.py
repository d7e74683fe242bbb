"""``outlast audit replay``."""

from pathlib import Path

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import print_document
from outlast.core.errors import IntegrityError
from outlast.features.audit.commands.documents import ReplayedAuditDocument
from outlast.features.audit.commands.page_option import page_option, write_page
from outlast.features.audit.evidence import EXIT
from outlast.features.audit.reports.files import read_file, read_report
from outlast.features.audit.reports.replaying import follows, replayed
from outlast.features.audit.reports.signature import MOST_SIGNATURE, beside, check_signature


@click.command(
    epilog="""\b
Examples:
  outlast audit replay report.json
  outlast audit replay report.json --page report.html

\b
Exit status:
  0 consistent · 3 no such file · 4 what the report says does not follow from its evidence, or it is
  no report of this version · 10 divergent · 11 inconclusive · 12 untestable
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@page_option
@common
def replay(file: Path, *, page: Path | None, home: str | None, as_json: bool, quiet: bool) -> int:
    """Compute the verdict of the report FILE anew from its evidence, without network and model.

    The questions must be those that the auditor committed to, and the verdict must follow from the
    raw answers. What the reference says of them is believed. A signature in FILE.dsse.json is
    checked: whether its keys count is for you to say.
    """
    with session(home, as_json=as_json, quiet=quiet) as call:
        data = read_file(file)
        keys = _signed_by(call, file, data)
        report = read_report(data)
        finding = replayed(report)
        named = report.finding.verdict
        same = follows(report.finding, finding)
        if page is not None and same:
            write_page(page, report, finding)
        if as_json:
            print_document(
                ReplayedAuditDocument(
                    verdict=finding.verdict.value,
                    said=named[:40],
                    same=same,
                    keys=list(keys),
                    reason=finding.reason,
                    p_value=finding.p_value,
                    statistic=finding.statistic,
                )
            )
        else:
            print(f"{finding.verdict.value}: {finding.reason}")
            print(f"signed by   {', '.join(keys) or 'no key'}")
        if not same:
            raise IntegrityError(
                f"the report says {named[:40]!r}, and its evidence {finding.verdict.value!r}",
                hint="it was changed, or another version wrote it",
            )
        return EXIT[finding.verdict]


def _signed_by(call: Session, file: Path, data: bytes) -> tuple[str, ...]:
    """The fingerprints of the keys that signed; none where no signature is there."""
    path, signer = beside(file), call.statement_signer()
    if signer is None or not path.exists():
        return ()
    return check_signature(signer, read_file(path, MOST_SIGNATURE), data)
