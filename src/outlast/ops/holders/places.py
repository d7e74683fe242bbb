"""Asks hubs, mirrors and sources of other kinds what they have of a model."""

from collections.abc import Sequence
from dataclasses import dataclass

from outlast.core.errors import (
    BadConfigError,
    BadNameError,
    IntegrityError,
    NotFoundError,
    OutlastError,
    PolicyError,
    RepoNotFoundError,
    RevisionNotFoundError,
    WithdrawnError,
    one_line,
)
from outlast.core.names import RepoId
from outlast.ops.holders.compare import Match, compare
from outlast.ops.holders.independence import group_of
from outlast.ops.holders.values import Holder, HolderKind, HolderState, WantedFiles
from outlast.sources.base import Listing, Source
from outlast.sources.kinds import HUB, SourceAddress, parse_source

_NOTE = 120


@dataclass(frozen=True, slots=True)
class PlaceAnswer:
    """What a source lists of a model, and the name that this has there."""

    listing: Listing
    name: RepoId


def address_of(source: Source) -> SourceAddress:
    """Where a source is, and of which kind."""
    try:
        return parse_source(source.name)
    except BadConfigError:  # its name is no address
        return SourceAddress(HUB, source.name)


def share_names(one: Source, other: Source) -> bool:
    """Whether a name stands for the same model at both: so it is at all hubs, and at no two sources
    of other kinds. A namesake elsewhere says nothing of what a name stands for.
    """
    first, second = address_of(one), address_of(other)
    if HUB in {first.kind, second.kind}:
        return first.kind == second.kind
    return (first.kind, first.url) == (second.kind, second.url)


def ask_place(
    source: Source, repo: RepoId, refs: Sequence[str], other_names: Sequence[RepoId], timeout: float
) -> PlaceAnswer:
    """What a source has of the first of `refs` that it knows. If it does not know the name, it is
    asked for the first of `other_names`, under which it had the same files once.
    """
    at = address_of(source)
    name = RepoId.parse(at.other_name) if _is_name(at.other_name) else repo
    try:
        return PlaceAnswer(_first(source, repo, refs, timeout), name)
    except RepoNotFoundError:
        others = [other for other in other_names if other not in (repo, name)]
        if not others or at.other_name:
            raise
        return PlaceAnswer(_first(source, others[0], refs, timeout), others[0])


def _first(source: Source, repo: RepoId, refs: Sequence[str], timeout: float) -> Listing:
    *early, last = refs
    for ref in early:
        try:
            return source.describe(repo, ref, timeout)
        except RevisionNotFoundError:
            continue
    return source.describe(repo, last, timeout)


def _is_name(text: str) -> bool:
    try:
        return bool(text and RepoId.parse(text))
    except BadNameError:  # the path of a folder
        return False


def place_holder(source: Source, wanted: WantedFiles, answer: PlaceAnswer) -> Holder:
    """What the answer of a source says of the wanted files. A mirror counts for what it has itself,
    and not for what it would fetch.
    """
    listing = answer.listing
    held = [
        entry for entry in listing.entries if listing.held is None or entry.path in listing.held
    ]
    match = compare(wanted.entries, held)
    state = match.state(len(wanted.entries))
    return Holder(
        name=source.name,
        kind=_kind(source, listing),
        group=group_of(address_of(source).url),
        state=state,
        files=match.files,
        size=wanted.size_of(match.files),
        commit=listing.commit,
        note=_note(wanted, answer, match, fetches=len(listing.entries) - len(held)),
    )


def _kind(source: Source, listing: Listing) -> HolderKind:
    if listing.held is not None:
        return HolderKind.MIRROR
    return HolderKind.HUB if address_of(source).kind == HUB else HolderKind.SOURCE


def _note(wanted: WantedFiles, answer: PlaceAnswer, match: Match, *, fetches: int) -> str:
    listing = answer.listing
    told = [match.note]
    if answer.name != wanted.repo:
        told.append(f"as {answer.name}")
    if fetches:
        told.append(f"would fetch {fetches} more from its hub")
    if listing.unlisted:
        told.append("lists not all files")
    if listing.told_by:
        told.append("no hub has confirmed it")
    return "; ".join(text for text in told if text)


def failed_place(source: Source, error: BaseException | None) -> Holder:
    """A source that gave no list of files; `error` is None if it did not answer in time."""
    kind = HolderKind.HUB if address_of(source).kind == HUB else HolderKind.SOURCE
    note = "" if error is None else one_line(str(error), _NOTE)
    return Holder(source.name, kind, group_of(address_of(source).url), state_of(error), note=note)


def state_of(error: BaseException | None) -> HolderState:
    """The state of a holder from whom an error came, or nothing."""
    states: tuple[tuple[type[OutlastError], HolderState], ...] = (
        (WithdrawnError, HolderState.WITHDRAWN),
        (NotFoundError, HolderState.ABSENT),
        (PolicyError, HolderState.REFUSED),
        (IntegrityError, HolderState.MALFORMED),
    )
    if error is None:
        return HolderState.NO_ANSWER
    found = (state for kind, state in states if isinstance(error, kind))
    return next(found, HolderState.UNREACHABLE)
