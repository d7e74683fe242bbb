"""What `doctor` finds of the log of sealed runs."""

from collections.abc import Iterator
from pathlib import Path

from outlast.core.errors import OutlastError
from outlast.ops.doctor import Finding, Health
from outlast.store.records.logs.sealed_runs import NAME, SealedRuns


def sealed_run_findings(home: Path) -> Iterator[Finding]:
    """The log is evidence: damage to it is told."""
    try:
        lines = SealedRuns(home).damaged()
    except OutlastError as error:
        yield Finding("sealed runs", Health.WRONG, str(error), error.hint)
        return
    if lines:
        some = ", ".join(map(str, lines[:5]))
        yield Finding(
            "sealed runs",
            Health.WRONG,
            f"{len(lines)} lines of the log of sealed runs have changed: {some}",
            f"the others are intact; compare with a backup of {NAME}",
        )
