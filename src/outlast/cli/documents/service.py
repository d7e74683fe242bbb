"""Lines of `service`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPart:
    """A unit that was written."""

    path: Annotated[Path, "its file"]
    new: Annotated[bool, "whether the file is new or has changed"]


@document("service")
class UnitDocument(Document):
    """A unit that would be written (--print)."""

    type: Literal["unit"] = "unit"
    path: Annotated[Path, "its file"]
    text: Annotated[str, "what the file would hold"]


@document("service")
class InstalledDocument(Document):
    """The result of an install."""

    type: Literal["installed"] = "installed"
    units: Annotated[Sequence[UnitPart], "the units"]
    commands: Annotated[Sequence[Sequence[str]], "what to run next, each as its words"]


@document("service")
class UninstalledDocument(Document):
    """The result of an uninstall; with --dry-run what it would do."""

    type: Literal["uninstalled", "would-uninstall"]
    deleted: Annotated[Sequence[Path], "the files"]
    commands: Annotated[Sequence[Sequence[str]], "what to run next, each as its words"]
