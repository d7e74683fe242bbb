"""What `doctor` finds of the log of screenings."""

from collections.abc import Iterator
from pathlib import Path

from outlast.core.errors import OutlastError
from outlast.features.trust.screening.screening_log import ScreeningLog
from outlast.ops.doctor import Finding, Health


def log_findings(home: Path) -> Iterator[Finding]:
    """The log of screenings is evidence: damage to it is told."""
    try:
        lines = ScreeningLog(home).damaged()
    except OutlastError as error:
        yield Finding("screenings", Health.WRONG, str(error), error.hint)
        return
    if lines:
        some = ", ".join(map(str, lines[:5]))
        yield Finding(
            "screenings",
            Health.WRONG,
            f"{len(lines)} lines of the log of screenings have changed: {some}",
            "the others are intact; compare with a backup of trust/screenings.jsonl",
        )
