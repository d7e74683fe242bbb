"""What `doctor` finds of the catalogues that are followed."""

from collections.abc import Iterator
from pathlib import Path

from outlast.core.errors import OutlastError
from outlast.features.trust.catalogue.folders import followed_names, read_record
from outlast.ops.doctor import Finding, Health


def catalogue_findings(home: Path) -> Iterator[Finding]:
    """A record that cannot be read: which root is trusted is not known any more."""
    for name in followed_names(home):
        try:
            read_record(home, name)
        except OutlastError as error:
            yield Finding("catalogue", Health.WRONG, str(error), error.hint)
