"""The use case: what a model was made from, and what was made from it, of all that is here."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError, UsageError
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.core.records.lineage import LineageRecord, Making
from outlast.features.lineage.compare import ComparedWeights, compare, is_significant
from outlast.features.lineage.likeness import structure
from outlast.features.lineage.merges import between
from outlast.features.lineage.relative import (
    Bond,
    EvidenceKind,
    LineageEvidence,
    LineageFound,
    Relative,
)
from outlast.features.lineage.search import near_models
from outlast.features.lineage.statistics import holm
from outlast.features.lineage.tuning import TUNING, Tuning
from outlast.features.lineage.weights import Weights
from outlast.store.archive import Archive
from outlast.store.records.lineage import FamilyMember, family_of, lineage_of

_MOST_OTHERS = 200
_MOST_PARENTS = 8
_MAKINGS = {
    Making.ADAPTER: "an adapter",
    Making.MERGE: "a merge",
    Making.CONVERSION: "a conversion",
}
_ORDER = list(Bond)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What records say of a manifest: how it is bound to the model."""

    bond: Bond
    evidence: LineageEvidence


@dataclass(frozen=True, slots=True)
class _Pair:
    """A model that was compared; its `weights` stay open where it may be a relative."""

    revision: Revision
    compared: ComparedWeights
    weights: Weights | None


def find_lineage(
    archive: Archive,
    target: Target,
    others: Sequence[Target],
    *,
    control: Control,
    tuning: Tuning = TUNING,
) -> LineageFound:
    """Compares a model with `others`, or, where there are none, with all revisions of the archive:
    in full those that records name or whose sketch is near. Raises :class:`UsageError` for more
    than 200 others, :class:`NotFoundError` for a model that is not here, and what reading the
    model's blobs raises; another that cannot be read is `untested`.
    """
    if len(others) > _MOST_OTHERS:
        raise UsageError(f"{len(others)} models to compare with", hint=f"at most {_MOST_OTHERS}")
    asked = archive.revision(target.repo, target.ref)
    recorded, ancestors = _records(archive, asked)
    with contextlib.ExitStack() as opened:
        weights = opened.enter_context(Weights(archive, asked, tuning))
        revisions, considered, unread = _candidates(
            archive, weights, others, recorded, control=control, tuning=tuning
        )
        found = list(unread)
        pairs: list[_Pair] = []
        for revision in revisions:
            control.cancel.check()
            try:
                pairs.append(
                    _compare(archive, weights, revision, opened, control=control, tuning=tuning)
                )
            except OutlastError as error:
                control.cancel.check()
                found.append(_untested(revision, str(error)))
        found += _relatives(weights, pairs, recorded, considered, tuning)
        made = structure(weights)
    found += _absent(ancestors, {one.manifest for one in found})
    found.sort(key=lambda one: (_ORDER.index(one.bond), one.distance, str(one.repo)))
    return LineageFound(
        asked.repo,
        asked.digest,
        asked.id,
        made,
        tuple(one for one in found if one.is_bound),
        tuple(one for one in found if not one.is_bound),
        considered,
        len(pairs),
    )


def _compare(
    archive: Archive,
    asked: Weights,
    revision: Revision,
    opened: contextlib.ExitStack,
    *,
    control: Control,
    tuning: Tuning,
) -> _Pair:
    with contextlib.ExitStack() as own:
        other = own.enter_context(Weights(archive, revision, tuning))
        compared = compare(archive, asked, other, cancel=control.cancel, tuning=tuning)
        if compared.bond is None and not is_significant(compared.log_p, tuning):
            return _Pair(revision, compared, None)
        opened.push(own.pop_all())
    return _Pair(revision, compared, other)


def _records(
    archive: Archive, asked: Revision
) -> tuple[dict[Digest, _Recorded], LineageRecord | None]:
    """What the model's own record says, and those of what was made from it. A record that cannot be
    read says nothing.
    """
    found: dict[Digest, _Recorded] = {}
    own: LineageRecord | None = None
    with contextlib.suppress(OutlastError):
        own = lineage_of(archive, asked)
    if own is not None:
        for ancestor in own.ancestors:
            text = f"its own record: {_MAKINGS[own.making]} of this {ancestor.role.value}"
            found[ancestor.manifest] = _Recorded(
                Bond.PARENT, LineageEvidence(EvidenceKind.RECORD, text)
            )
    with contextlib.suppress(OutlastError):
        family = family_of(archive, asked)
        for child in _children(family, asked.digest):
            how = "" if child.making is None else f": {_MAKINGS[child.making]} of the model"
            evidence = LineageEvidence(EvidenceKind.RECORD, f"the record of the other{how}")
            found.setdefault(child.manifest, _Recorded(Bond.CHILD, evidence))
    return found, own


def _children(family: FamilyMember | None, asked: Digest) -> Iterator[FamilyMember]:
    if family is None:
        return
    if family.manifest == asked:
        yield from family.children
    for child in family.children:
        yield from _children(child, asked)


def _candidates(
    archive: Archive,
    asked: Weights,
    others: Sequence[Target],
    recorded: dict[Digest, _Recorded],
    *,
    control: Control,
    tuning: Tuning,
) -> tuple[list[Revision], int, list[Relative]]:
    """What is compared in full, the size of the family of tests, and what cannot be read."""
    own = asked.revision.digest
    if others:
        named = [archive.revision(other.repo, other.ref) for other in others]
        unique = {revision.digest: revision for revision in named}
        unique.pop(own, None)
        return list(unique.values()), len(unique), []
    all_of = [s for s in archive.summaries() if s.digest is not None and s.digest != own]
    near = near_models(archive, asked, all_of, control=control, tuning=tuning)
    chosen = {one.summary.digest: one.summary for one in near}
    chosen |= {summary.digest: summary for summary in all_of if summary.digest in recorded}
    revisions: list[Revision] = []
    unread: list[Relative] = []
    for summary in chosen.values():
        try:
            revision = archive.load(summary.repo, summary.revision)
        except OutlastError as error:
            assert summary.digest is not None
            evidence = (LineageEvidence(EvidenceKind.FAULT, str(error)),)
            unread.append(
                Relative(summary.repo, summary.digest, summary.revision, Bond.UNTESTED, evidence)
            )
            continue
        if revision is not None:
            revisions.append(revision)
    return revisions, len(all_of), unread


def _untested(revision: Revision, why: str) -> Relative:
    evidence = (LineageEvidence(EvidenceKind.FAULT, why),)
    return Relative(revision.repo, revision.digest, revision.id, Bond.UNTESTED, evidence)


def _relatives(
    weights: Weights,
    pairs: list[_Pair],
    recorded: dict[Digest, _Recorded],
    considered: int,
    tuning: Tuning,
) -> list[Relative]:
    """What each comparison comes to, with Holm over all models and merges found."""
    tested = [one.compared.log_p for one in pairs if one.compared.log_p is not None]
    adjusted = iter(holm(tested, considered))
    found = []
    for pair in pairs:
        revision, compared = pair.revision, pair.compared
        log_p = None if compared.log_p is None else next(adjusted)
        said = recorded.get(revision.digest)
        evidence = compared.evidence if said is None else (said.evidence, *compared.evidence)
        found.append(
            Relative(
                revision.repo,
                revision.digest,
                revision.id,
                _bond(compared, said, log_p, tuning),
                evidence,
                log_p,
                compared.distance,
            )
        )
    return _merged(weights, found, [one.weights for one in pairs], tuning)


def _bond(
    compared: ComparedWeights, said: _Recorded | None, log_p: float | None, tuning: Tuning
) -> Bond:
    if compared.bond is Bond.SAME:
        return Bond.SAME
    if said is not None:
        return said.bond
    if compared.bond is Bond.RELATED or is_significant(log_p, tuning):
        if compared.bond in (Bond.PARENT, Bond.CHILD):
            return compared.bond
        return {1: Bond.PARENT, -1: Bond.CHILD}.get(compared.pruned, Bond.RELATED)
    if compared.bond is not None:
        return compared.bond
    return Bond.UNTESTED if log_p is None else Bond.UNRELATED


def _merged(
    weights: Weights, found: list[Relative], others: list[Weights | None], tuning: Tuning
) -> list[Relative]:
    """Names the parents of a merge among the relatives of which nothing says the direction."""
    open_ = [at for at, one in enumerate(found) if one.bond is Bond.RELATED]
    open_ = sorted(open_, key=lambda at: found[at].distance)[:_MOST_PARENTS]
    kept = [other for at in open_ if (other := others[at]) is not None]
    if len(kept) < 2 or len(kept) != len(open_):
        return found
    merge = between(weights, kept, tuning)
    if merge is None:
        return found
    for place, share in zip(merge.parents, merge.shares, strict=True):
        at = open_[place]
        text = f"the model lies between {len(merge.parents)} parents: {share:.0%} of this one, "
        text += f"{merge.residue:.1%} of the distance is left"
        evidence = LineageEvidence(EvidenceKind.MERGE, text, value=share)
        found[at] = replace(found[at], bond=Bond.PARENT, evidence=(evidence, *found[at].evidence))
    return found


def _absent(record: LineageRecord | None, known: set[Digest]) -> list[Relative]:
    """Ancestors that the record names and that are not in the archive, or were not compared."""
    if record is None:
        return []
    return [
        Relative(
            one.repo,
            one.manifest,
            one.commit,
            Bond.PARENT,
            (
                LineageEvidence(
                    EvidenceKind.RECORD,
                    f"its own record: {_MAKINGS[record.making]} of this {one.role.value}",
                ),
            ),
            here=False,
        )
        for one in record.ancestors
        if one.manifest not in known
    ]
