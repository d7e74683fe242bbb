"""The names that ``import outlast`` promises, in one place; `outlast` hands them on when they are
first used.
"""

from outlast.api.archive import (
    Archive,
    open,  # noqa: A004 - called outlast.open
)
from outlast.api.values import (
    AddedRevision,
    BundleExport,
    BundleImport,
    File,
    FoundHere,
    Plan,
    PulledRevision,
    Revision,
    RevisionSummary,
    ScrubReport,
    Verification,
)
from outlast.core.cancel import (
    Cancel,
)
from outlast.core.errors import (
    Cancelled,
    IntegrityError,
    NotFoundError,
    OutlastError,
    PolicyError,
    StorageError,
    TransientError,
    UsageError,
)
from outlast.core.events import (
    Again,
    Event,
    FileDone,
    FileProblem,
    FileWaiting,
    Note,
    Planned,
    Progress,
    SourceBanned,
    SourceWaiting,
    SourceWithdrew,
    SuspectContent,
)

Error = OutlastError

__all__ = [
    "AddedRevision",
    "Again",
    "Archive",
    "BundleExport",
    "BundleImport",
    "Cancel",
    "Cancelled",
    "Error",
    "Event",
    "File",
    "FileDone",
    "FileProblem",
    "FileWaiting",
    "FoundHere",
    "IntegrityError",
    "NotFoundError",
    "Note",
    "Plan",
    "Planned",
    "PolicyError",
    "Progress",
    "PulledRevision",
    "Revision",
    "RevisionSummary",
    "ScrubReport",
    "SourceBanned",
    "SourceWaiting",
    "SourceWithdrew",
    "StorageError",
    "SuspectContent",
    "TransientError",
    "UsageError",
    "Verification",
    "open",
]
