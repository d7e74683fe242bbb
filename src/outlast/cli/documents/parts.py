"""Parts of lines that several commands have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from outlast.core.claims import Claim, Claims, ForeignStanding, Standing
from outlast.core.digest import GitOid
from outlast.intake.content import Flaw, Suspect
from outlast.intake.vouched import Vouched
from outlast.store.archive import Archive
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
class ClaimPart:
    """How one of the four claims stands."""

    claim: Annotated[Claim, "which one"]
    standing: Annotated[Standing, "how it stands; it holds if that is `holds` or `stale`"]
    who: Annotated[Sequence[str], "who makes it: keys, observers or catalogues"]
    since: Annotated[str, "when it was made, or ended (ISO 8601, UTC); empty: not known"]
    why: Annotated[str, "what is to know of it, for a person; may be empty"]


def claim_parts(claims: Claims) -> tuple[ClaimPart, ...]:
    """All four, in order."""
    return tuple(
        ClaimPart(
            claim=state.claim,
            standing=state.standing,
            who=state.who,
            since=state.since,
            why=state.why,
        )
        for state in claims.states
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPart:
    """Whether `run` uses a revision."""

    by: Annotated[
        Literal["claims", "word", "rules", "nothing"],
        "what decides: claims that hold, the operator's word, the operator's rules; or nothing "
        "speaks for it, and `run` refuses",
    ]
    why: Annotated[str, "in words, for a person"]


def run_part(archive: Archive, found: Vouched) -> RunPart:
    """What `run` says of a revision, as far as claims and the operator's word decide."""
    if not archive.rules.is_open:
        return RunPart(by="rules", why=f"as the rules say: {found.describe()}")
    if found.accepted is not None and not found.claims:
        return RunPart(by="word", why=found.describe())
    return RunPart(by="claims" if found.claims else "nothing", why=found.describe())


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignPart:
    """A signature of another tool, a file of the model."""

    path: Annotated[str, "the file"]
    format: Annotated[str, "what it is"]
    standing: Annotated[ForeignStanding, "what it comes to here"]
    who: Annotated[str, "whose key or certificate signed; empty: not known"]
    why: Annotated[str, "what it covers, or what is wrong or missing"]


def foreign_parts(claims: Claims | None) -> tuple[ForeignPart, ...]:
    """Those of a revision."""
    return tuple(
        ForeignPart(
            path=one.path, format=one.format, standing=one.standing, who=one.who, why=one.why
        )
        for one in (claims.foreign if claims is not None else ())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitPart:
    """What the archived text of the hub's commit comes to."""

    id: Annotated[GitOid, "the commit that the text is of"]
    proved: Annotated[bool, "whether the id was computed again from the manifest's files"]
    files: Annotated[int, "from how many files; 0 if it was not"]
    lacks: Annotated[int, "entries of the commit that are not in the manifest: links, submodules"]
    author: Annotated[str, "as the text names the person, which proves nothing"]
    why: Annotated[str, "what is wrong; empty: the id follows"]


def commit_part(claims: Claims | None) -> CommitPart | None:
    """That of a revision; None where the text is not here."""
    found = None if claims is None else claims.commit
    if found is None:
        return None
    return CommitPart(
        id=found.commit,
        proved=not found.why,
        files=found.files,
        lacks=found.lacks,
        author=found.author,
        why=found.why,
    )


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
