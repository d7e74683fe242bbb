"""The option of audits that writes a page."""

from pathlib import Path

import click

from outlast.features.audit.evidence import AuditFinding
from outlast.features.audit.page.page import page
from outlast.features.audit.reports.document import AuditReport
from outlast.features.audit.reports.files import write_file

page_option = click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write the result to FILE.html, with charts, to be read and printed",
)


def write_page(path: Path, report: AuditReport, finding: AuditFinding) -> None:
    """Writes the page of a report. Raises :class:`~outlast.core.errors.StorageError` and
    :class:`~outlast.core.errors.MalformedError`.
    """
    write_file(path, page(report, finding).encode())
