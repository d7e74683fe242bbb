"""What `show` says of a model's making: the record, and the tree of what is here."""

from collections.abc import Iterator

from outlast.cli.documents.details import AncestorPart, FamilyPart, LineagePart
from outlast.core.digest import Digest
from outlast.core.records.lineage import LineageRecord, Making, WeightsForm
from outlast.ops.listing import Family
from outlast.store.records.lineage import FamilyMember

_WORDS = {Making.ADAPTER: "adapter", Making.MERGE: "merged", Making.CONVERSION: "converted"}


def lineage_part(record: LineageRecord | None) -> LineagePart | None:
    """The record for programs."""
    if record is None:
        return None
    return LineagePart(
        making=record.making,
        ancestors=[
            AncestorPart(
                repo=one.repo,
                manifest=one.manifest,
                commit=one.commit,
                role=one.role,
                form=one.form,
                file=one.file,
            )
            for one in record.ancestors
        ],
        data=record.data,
        tokenizer=record.tokenizer,
        template=record.template,
        seed=record.seed,
        parameters=dict(record.parameters),
        versions=dict(record.versions),
        metrics=dict(record.metrics),
    )


def family_parts(family: FamilyMember | None) -> list[FamilyPart]:
    """The tree for programs: parents before their children."""
    if family is None:
        return []
    return [
        FamilyPart(
            repo=member.repo,
            manifest=member.manifest,
            making=member.making,
            here=member.here,
            parent=parent,
        )
        for member, parent in _walk(family, None)
    ]


def lineage_lines(found: Family) -> Iterator[str]:
    """The same for people."""
    record = found.record
    if found.fault:
        yield f"lineage   its record cannot be read: {found.fault}"
    if record is not None:
        how = [f"{_WORDS[record.making]} of {record.base.repo}"]
        how += [f"with {one.repo}" for one in record.ancestors[1:]]
        if record.base.form is WeightsForm.DEQUANTISED:
            how.append(f"dequantised from {record.base.file}")
        yield f"lineage   {', '.join(how)}"
        if record.data is not None:
            yield f"          data {record.data.short}…{_figures(record)}"
    if found.tree is not None:
        for place, line in enumerate(_branches(found.tree, "", "")):
            yield f"{'' if place else 'family':10}{line}"


def _figures(record: LineageRecord) -> str:
    seed = "" if record.seed is None else f", seed {record.seed}"
    before = record.metrics.get("held_out_loss_before")
    after = record.metrics.get("held_out_loss_after")
    if isinstance(before, int | float) and isinstance(after, int | float):
        return f"{seed}, held-out loss {before:.3f} → {after:.3f}"
    return seed


def _branches(member: FamilyMember, first: str, rest: str) -> Iterator[str]:
    how = f"  {_WORDS[member.making]}" if member.making is not None else ""
    away = "" if member.here else "  (not here)"
    mark = "  ←" if member.is_asked else ""
    yield f"{first}{member.repo} {member.manifest.short}…{how}{away}{mark}"
    for place, child in enumerate(member.children, 1):
        last = place == len(member.children)
        yield from _branches(
            child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  ")
        )


def _walk(
    member: FamilyMember, parent: Digest | None
) -> Iterator[tuple[FamilyMember, Digest | None]]:
    yield member, parent
    for child in member.children:
        yield from _walk(child, member.manifest)
