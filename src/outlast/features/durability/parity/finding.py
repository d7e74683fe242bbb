"""What `doctor` says of parity."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from outlast.core.errors import OutlastError
from outlast.core.sizes import human_size
from outlast.features.durability.parity.files import room_of
from outlast.ops.doctor import Finding, Health
from outlast.store.layout import Layout


def parity_findings(home: Path) -> Iterator[Finding]:
    """How much parity takes, if there is any."""
    with contextlib.suppress(OutlastError):  # a folder that cannot be read is found by the others
        count, size = room_of(Layout(home))
        if count:
            text = f"of {count} blobs, takes {human_size(size)}"
            yield Finding("parity", Health.OK, text)
