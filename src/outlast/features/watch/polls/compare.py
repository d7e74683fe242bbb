"""What happened between two observations of a model. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from outlast.core.digest import GitOid
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change, ChangeKind, HubStanding, Observation

MAIN: Final = "main"
MOST_NAMED: Final = 100
"""Paths that a change names."""
_GONE: Final = {
    HubStanding.REFUSED: ChangeKind.REFUSED,
    HubStanding.MISSING: ChangeKind.DELETED,
    HubStanding.GONE: ChangeKind.DELETED,
    HubStanding.BLOCKED: ChangeKind.BLOCKED,
}
_NARROWED: Final = {
    (HubStanding.OPEN, HubStanding.GATED): ChangeKind.GATED,
    (HubStanding.OPEN, HubStanding.PRIVATE): ChangeKind.MADE_PRIVATE,
    (HubStanding.GATED, HubStanding.OPEN): ChangeKind.UNGATED,
    (HubStanding.GATED, HubStanding.PRIVATE): ChangeKind.MADE_PRIVATE,
    (HubStanding.PRIVATE, HubStanding.OPEN): ChangeKind.RETURNED,
    (HubStanding.PRIVATE, HubStanding.GATED): ChangeKind.RETURNED,
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """Which model, at which hub, and when it was looked at (ISO 8601, UTC)."""

    hub: str
    repo: RepoId
    when: str


@dataclass(frozen=True, slots=True)
class Particulars:
    """What was asked for since the commit moved, or the model went. It counts only where the two
    observations differ.
    """

    descends: Mapping[str, bool | None] = field(default_factory=dict)
    """By ref: whether the new commit has the old one among its ancestors. None: the hub did not
    say, or not within bounds."""
    dropped: tuple[str, ...] = ()
    """Paths that the old commit of `main` had, and the new one lacks."""
    card: str = ""
    """A diff of the model card."""
    licence: str = ""
    """A diff of the licence texts."""
    account_gone: bool = False
    """Whether all models of the organisation went at once."""


def compare(
    before: Observation, after: Observation, place: Sighting, details: Particulars | None = None
) -> tuple[Change, ...]:
    """The changes from `before` to `after`: none if these say the same."""
    details = details or Particulars()
    if not after.standing.serves:
        return tuple(_withdrawal(before, after, place, details))
    found: list[Change] = []
    if not before.standing.serves:
        found.append(_returned(before, after, place))
    found += _name(before, after, place)
    if before.standing.serves:
        found += _standing(before, after, place)
    moved = list(_refs(before, after, place, details))
    found += moved
    main = [change for change in moved if change.ref == MAIN]
    found += _contents(before, after, place, details if main else Particulars())
    return tuple(found)


def merged(before: Observation | None, after: Observation) -> Observation:
    """What is known after both: a hub that no longer serves a model says nothing of it, and what
    was not asked for is as it was.
    """
    if before is None:
        return after
    if not after.standing.serves:
        return replace(before, standing=after.standing, reason=after.reason)
    refs = before.refs if after.refs is None else after.refs
    if after.refs is None and refs is not None:
        others = {ref: commit for ref, commit in refs.items() if ref != MAIN}
        refs = others if after.commit is None else {**others, MAIN: after.commit}
    return replace(after, refs=refs, name=after.name or before.name)


def moved_refs(before: Observation, after: Observation) -> dict[str, tuple[GitOid, GitOid]]:
    """The refs that both have, and that name another commit now: old and new."""
    old, new = _heads(before), _heads(after)
    return {name: (old[name], new[name]) for name in new if name in old and old[name] != new[name]}


def _heads(seen: Observation) -> dict[str, GitOid]:
    heads = dict(seen.refs or {})
    if seen.commit is not None:
        heads[MAIN] = seen.commit
    return heads


def _withdrawal(
    before: Observation, after: Observation, place: Sighting, details: Particulars
) -> Iterator[Change]:
    kind = _GONE[after.standing]
    if not before.standing.serves and kind is _GONE[before.standing]:
        return
    if before.standing.serves and details.account_gone:
        kind = ChangeKind.ACCOUNT_GONE
    yield Change(
        kind=kind,
        hub=place.hub,
        when=place.when,
        repo=place.repo,
        before=str(before.standing),
        after=str(after.standing),
        reason=after.reason,
    )


def _returned(before: Observation, after: Observation, place: Sighting) -> Change:
    """It is there: again, or, if it never was, for the first time."""
    return Change(
        kind=ChangeKind.RETURNED if before.name else ChangeKind.APPEARED,
        hub=place.hub,
        when=place.when,
        repo=place.repo,
        before=str(before.standing),
        after=str(after.standing),
    )


def _name(before: Observation, after: Observation, place: Sighting) -> Iterator[Change]:
    old, new = before.name, after.name
    if not old or not new or old.lower() == new.lower():
        return
    same = owner(old).lower() == owner(new).lower()
    yield Change(
        kind=ChangeKind.RENAMED if same else ChangeKind.TRANSFERRED,
        hub=place.hub,
        when=place.when,
        repo=place.repo,
        before=old,
        after=new,
    )


def owner(name: str) -> str:
    """The organisation in a model's name; empty for the oldest models, which have none."""
    return name.rpartition("/")[0]


def _standing(before: Observation, after: Observation, place: Sighting) -> Iterator[Change]:
    if before.standing is after.standing:
        return
    yield Change(
        kind=_NARROWED[before.standing, after.standing],
        hub=place.hub,
        when=place.when,
        repo=place.repo,
        before=str(before.standing),
        after=str(after.standing),
        reason=after.reason,
    )


def _refs(
    before: Observation, after: Observation, place: Sighting, details: Particulars
) -> Iterator[Change]:
    old, new = _heads(before), _heads(after)

    def change(kind: ChangeKind, ref: str, reason: str = "") -> Change:
        return Change(
            kind=kind,
            hub=place.hub,
            when=place.when,
            repo=place.repo,
            ref=ref,
            before=old[ref].hex if ref in old else "",
            after=new[ref].hex if ref in new else "",
            reason=reason,
        )

    for ref in sorted(old.keys() & new.keys()):
        if old[ref] == new[ref]:
            continue
        descends = details.descends.get(ref)
        if descends is False:
            yield change(ChangeKind.FORCE_PUSHED, ref)
        else:
            unknown = "" if descends else "whether it kept its history is not known"
            yield change(ChangeKind.MOVED, ref, unknown)
    if before.refs is None or after.refs is None:
        yield from (
            change(ChangeKind.REF_DELETED, MAIN)
            for _ in range(before.commit is not None and after.commit is None)
        )
        return
    yield from (change(ChangeKind.REF_DELETED, ref) for ref in sorted(old.keys() - new.keys()))
    yield from (change(ChangeKind.NEW_REF, ref) for ref in sorted(new.keys() - old.keys()))


def _contents(
    before: Observation, after: Observation, place: Sighting, details: Particulars
) -> Iterator[Change]:
    def change(kind: ChangeKind, **more: Any) -> Change:
        made = Change(kind=kind, hub=place.hub, when=place.when, repo=place.repo, ref=MAIN)
        return replace(made, **more)

    if details.dropped:
        count = len(details.dropped)
        yield change(
            ChangeKind.FILES_DROPPED,
            before=before.commit.hex if before.commit else "",
            after=after.commit.hex if after.commit else "",
            reason=f"{count} file{'s' if count > 1 else ''}",
            files=details.dropped[:MOST_NAMED],
        )
    other_word = bool(before.licence) and before.licence != after.licence
    if other_word or details.licence:
        yield change(
            ChangeKind.RELICENSED,
            before=before.licence,
            after=after.licence,
            diff=details.licence,
        )
    if details.card:
        yield change(ChangeKind.CARD_CHANGED, diff=details.card)
