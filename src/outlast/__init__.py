"""Keeps open-weight models available, verified and runnable, no matter who stops hosting them.

``with outlast.open("~/models") as archive:`` opens an archive. docs/guide/python.md is the guide;
the names of `__all__` are promised there.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

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
    "__version__",
    "open",
]

if TYPE_CHECKING:
    from outlast.api.public import (
        AddedRevision,
        Again,
        Archive,
        BundleExport,
        BundleImport,
        Cancel,
        Cancelled,
        Error,
        Event,
        File,
        FileDone,
        FileProblem,
        FileWaiting,
        FoundHere,
        IntegrityError,
        Note,
        NotFoundError,
        Plan,
        Planned,
        PolicyError,
        Progress,
        PulledRevision,
        Revision,
        RevisionSummary,
        ScrubReport,
        SourceBanned,
        SourceWaiting,
        SourceWithdrew,
        StorageError,
        SuspectContent,
        TransientError,
        UsageError,
        Verification,
        open,  # noqa: A004 - it is called outlast.open
    )
else:  # a checker would take any name for granted

    def __getattr__(name: str) -> Any:
        """Loads the API when it is first used: the command line does without it."""
        if name not in __all__:
            raise AttributeError(f"module 'outlast' has no attribute {name!r}")
        import importlib  # noqa: PLC0415 - as above

        found = getattr(importlib.import_module("outlast.api.public"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
