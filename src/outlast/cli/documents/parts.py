"""Parts of lines that several commands have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from outlast.intake.content import Flaw, Suspect


@dataclass(frozen=True, slots=True)
class FileWarning:
    """A file that is not what its name says."""

    path: Annotated[str, "the file's path in the revision"]
    kind: Annotated[Flaw, "in which way"]
    reason: Annotated[str, "how, for a person"]


def warnings_of(suspects: Iterable[Suspect]) -> tuple[FileWarning, ...]:
    """Suspect files as parts of a line."""
    return tuple(FileWarning(s.path, s.flaw, s.reason) for s in suspects)
