"""Parts of lines that several commands have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from outlast.intake.content import Flaw, Suspect
from outlast.store.records.facts import About


@dataclass(frozen=True, slots=True)
class FileWarning:
    """A file that is not what its name says."""

    path: Annotated[str, "the file's path in the revision"]
    kind: Annotated[Flaw, "in which way"]
    reason: Annotated[str, "how, for a person"]


def warnings_of(suspects: Iterable[Suspect]) -> tuple[FileWarning, ...]:
    """Suspect files as parts of a line."""
    return tuple(FileWarning(s.path, s.flaw, s.reason) for s in suspects)


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawnPart:
    """What a source does not give out any more."""

    source: Annotated[str, "the source"]
    path: Annotated[str, "the file; empty: the whole model"]
    since: Annotated[str, "when this archive noticed (ISO 8601, UTC)"]
    reason: Annotated[str, "what the source said; may be empty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticePart:
    """A takedown notice that the operator of the archive recorded."""

    since: Annotated[str, "since when it stands (ISO 8601, UTC)"]
    reason: Annotated[str, "why"]
    stopped: Annotated[bool, "whether the model is not given out"]


def withdrawn_parts(about: About) -> tuple[WithdrawnPart, ...]:
    """What sources withdrew of a model, by source and path."""
    found = []
    for what, since in sorted(about.withdrawn.items()):
        source, _, path = what.partition(" ")
        reason = about.withdrawn_reasons.get(what, "")
        found.append(WithdrawnPart(source=source, path=path, since=since, reason=reason))
    return tuple(found)


def notice_part(about: About) -> NoticePart | None:
    """The notice against a model, if there is one."""
    notice = about.notice
    if notice is None:
        return None
    return NoticePart(since=notice.since, reason=notice.reason, stopped=notice.stopped)
