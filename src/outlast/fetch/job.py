"""A file of a transfer, and its state; and who is told of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from outlast.codec import merkle
from outlast.core.manifest import FileEntry
from outlast.fetch.download import Download
from outlast.fetch.plan import DIRECT, FetchPlan
from outlast.intake.base_names import is_card

if TYPE_CHECKING:
    from outlast.core.digest import Digest
    from outlast.core.errors import OutlastError
    from outlast.fetch.source_state import SourceState

Done = Callable[[FileEntry], None]
"""Told of each file once its blob is verified, durable and leased by the write session."""
Watch = Callable[[Download], None]
"""Told of each larger file when its download starts, to follow its frontier."""


class Job:
    """A file to fetch, and its state. `small`: it is fetched in one request, in memory. `aside`: it
    is no file of the revision, but the base of a delta capsule.
    """

    def __init__(self, entry: FileEntry, *, small: bool, aside: bool = False) -> None:
        self.entry = entry
        self.aside = aside
        self.plan: FetchPlan = DIRECT
        self.small = small
        self.download: Download | None = None
        self.damaged: Digest | None = None
        """The blob of the file, if it is here and known to be damaged: it is mended."""
        self.started = False
        self.locked_since = 0.0
        """Since when another process of this archive fetches it (monotonic seconds); or 0."""
        self.done = False
        self.error: OutlastError | None = None
        self.given: dict[str, int] = {}
        """Bytes that came, by source."""
        self.read = 0
        """Bytes that came by HTTP, of pieces that are not complete too."""
        self.taker: SourceState | None = None
        """The source that is asked for a small file,"""
        self.taken_at = 0.0
        """since when (monotonic seconds),"""
        self.doubled = False
        """and whether it is the second, because the first is slow."""
        self.ended = False
        """Whether it is said to be done: two sources may send a small file."""

    @property
    def is_card(self) -> bool:
        """Whether it may name a base of the other files."""
        return is_card(self.entry.path, self.entry.size) and not self.aside

    @property
    def finished(self) -> bool:
        return self.done or self.error is not None

    @property
    def awaited(self) -> int:
        """Bytes that are still to be written, at most."""
        download = self.download
        if download is None:
            return self.entry.size
        return max(0, download.size - sum(download.partial.have) * merkle.PIECE)
