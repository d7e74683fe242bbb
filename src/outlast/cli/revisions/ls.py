"""``outlast ls``."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from outlast.cli.documents.parts import claim_parts, notice_part, withdrawn_parts
from outlast.cli.documents.revisions import DamagedDocument, RevisionDocument
from outlast.cli.documents.second_home import StoredRevisionDocument
from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import (
    plural,
    print_document,
    print_table,
    saved_part,
    saving,
    table_width,
)
from outlast.core.claims import Claims
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import IntegrityError, UsageError, one_line
from outlast.core.names import RepoId
from outlast.core.sizes import human_size
from outlast.ops import listing
from outlast.ops.claims import claims_of
from outlast.store.disk import space_used
from outlast.store.records.facts import About

if TYPE_CHECKING:
    from outlast.ops.second_home.listing import HomeRevision

_HEAD: Final[tuple[str, ...]] = (
    *("MODEL", "REVISION", "REFS", "FILES", "SIZE", "STORED", "SAVED", "DATE", "STATE"),
)
_STORED_HEAD: Final[tuple[str, ...]] = (
    *("MODEL", "REVISION", "REFS", "FILES", "SIZE", "STORED", "STATE"),
)
_DATE: Final = _HEAD.index("DATE")
_WIDTH: Final = 100
"""Columns that the table has, where it can."""


@click.command(
    epilog="""\b
Examples:
  outlast ls
  outlast ls 'Qwen/*' --json
  outlast ls --sort size
  outlast ls --partial --sort date --reverse
  outlast ls --store s3://models/archive

\b
Exit status:
  0 done · 2 usage · 3 no archive · 4 a ref or draft is damaged; the rest is listed
  5 no answer from the store · 7 the store refuses
"""
)
@click.argument("pattern", nargs=-1)
@click.option(
    "--sort",
    type=click.Choice([order.value for order in listing.Order]),
    default=listing.Order.NAME.value,
    show_default=True,
    help="Sort by name, by SIZE (largest first) or by DATE (newest first)",
)
@click.option("--reverse", is_flag=True, help="Reverse the order")
@click.option("--partial", is_flag=True, help="List only revisions that lack files")
@click.option("--store", metavar="URL", help="List what a second home has, as s3://BUCKET")
@common
def ls(
    pattern: tuple[str, ...],
    *,
    sort: str,
    reverse: bool,
    partial: bool,
    store: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """List archived revisions, or those of models that match PATTERN (a glob).

    SIZE is that of the files as a client sees them. STORED is what the disk holds of them, as 'du'
    counts: compressed, in whole blocks, each content once. A delta's base is counted with the model
    that it belongs to. The last line adds up: what several revisions share counts once. In JSON,
    own_bytes are those of stored_bytes that no line before has. A ref or draft that cannot be read
    has a line of its own, DAMAGED, after the others. STATE says unconfirmed where only a node on
    the LAN (pull --from lan) said which files the revision has, or that it is what the ref names,
    and damaged where bytes of it are known not to be right: they are not given out, and 'outlast
    pull' fetches them again. It says REVOKED of what is not to be used any more ('outlast verify
    --who' tells more); in JSON, each line has all claims.

    DATE is the day (UTC) on which a source last said that one of the REFS names the revision. Where
    no source said so, as for a local folder, it is the day on which its record in the archive was
    written. It is shown with --sort date, and wherever 100 columns have room for it.

    With --store the second home is listed, from its list and its manifests: no file of a model is
    read, so 'complete' says that all files are there, and not that they are right.
    """
    order = listing.Order(sort)
    if store is not None:
        with session(home, as_json=as_json, quiet=quiet) as run:
            return _list_store(run, store, pattern, order, reverse=reverse, partial=partial)
    claims: dict[Digest, Claims] = {}
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        listed = listing.list_revisions(
            archive, pattern, order=order, reverse=reverse, partial=partial
        )
        if as_json and (assessor := run.assessor(archive)) is not None:
            digests = [line.summary.digest for line in listed.lines]
            claims = claims_of(archive, assessor, filter(None, digests), run.control.cancel)
        revoked = frozenset(archive.revocations.stopped())
    # The archive is closed by now: its index has no journal beside it any more.
    if as_json:
        for line in listed.lines:
            print_document(_document(line, claims))
        for bad in listed.damaged:
            print_document(_damaged_document(bad))
    else:
        _print(run, listed, order, revoked, whole=not pattern and not partial)
    return IntegrityError.exit_code if listed.damaged else 0


def _list_store(
    run: Session,
    url: str,
    pattern: Sequence[str],
    order: listing.Order,
    *,
    reverse: bool,
    partial: bool,
) -> int:
    from outlast.ops.second_home.listing import listing as stored  # noqa: PLC0415 - for this alone

    if order is listing.Order.DATE:
        raise UsageError("--store knows no dates", hint="--sort name or --sort size")
    there = run.config.open_home(url)
    lines = [one for one in stored(there, pattern) if not (partial and one.complete)]
    if order is listing.Order.SIZE:
        lines.sort(key=lambda one: -one.size)
    if reverse:
        lines.reverse()
    if run.as_json:
        for line in lines:
            print_document(_stored_document(there.name, line))
    elif lines:
        print_table([_STORED_HEAD, *map(_stored_row, lines)], right=(3, 4, 5))
    size = sum(line.size for line in lines)
    run.say(f"{plural(len(lines), 'revision')}, {human_size(size)} in {there.name}")
    return IntegrityError.exit_code if any(line.problem for line in lines) else 0


def _stored_document(store: str, line: "HomeRevision") -> StoredRevisionDocument:
    return StoredRevisionDocument(
        store=store,
        repo=line.repo,
        revision=line.revision,
        refs=line.refs,
        files=line.files,
        bytes=line.size,
        stored_bytes=line.stored,
        capsules=line.capsules,
        missing=line.missing,
        partial=line.partial,
        complete=line.complete,
        damaged=line.problem,
    )


def _stored_row(line: "HomeRevision") -> tuple[str, ...]:
    state = "complete"
    if line.problem:
        state = f"DAMAGED: {line.problem}"
    elif line.missing:
        state = f"lacks {plural(line.missing, 'file')}"
    elif line.partial:
        state = "partial"
    known = not line.problem
    return (
        str(line.repo),
        line.revision.hex[:12],
        ",".join(line.refs) or "-",
        f"{line.files:,}" if known else "?",
        human_size(line.size) if known else "?",
        human_size(line.stored) if known else "?",
        one_line(state),
    )


def _document(line: listing.RevisionLine, claims: Mapping[Digest, Claims]) -> RevisionDocument:
    s = line.summary
    found = None if s.digest is None else claims.get(s.digest)
    return RevisionDocument(
        repo=s.repo,
        revision=s.revision,
        refs=line.refs,
        manifest=s.digest,
        files=s.files,
        bytes=s.size,
        missing=s.missing,
        partial=s.partial,
        unlisted=s.unlisted,
        stored_bytes=line.stored,
        own_bytes=line.own,
        saving=saved_part(s.size, line.stored),
        capsules=line.capsules,
        thin=line.thin,
        bases=line.bases,
        damaged=line.damaged,
        unconfirmed=line.unconfirmed,
        withdrawn=sorted({part.source for part in withdrawn_parts(line.about)}),
        notice=notice_part(line.about),
        date=line.date.isoformat(timespec="seconds"),
        observed=line.observed,
        claims=() if found is None else claim_parts(found),
        revoked="" if found is None else found.revoked,
    )


def _damaged_document(bad: listing.DamagedLine) -> DamagedDocument:
    return DamagedDocument(
        repo=bad.repo,
        revision=bad.revision,
        refs=[] if bad.ref is None else [bad.ref],
        damaged=bad.problem,
    )


def _print(
    run: Session,
    listed: listing.Contents,
    order: listing.Order,
    revoked: Collection[tuple[RepoId, GitOid]],
    *,
    whole: bool,
) -> None:
    """The table, and its sum; with `whole` the archive's size too."""
    lines, damaged = listed.lines, listed.damaged
    rows = [_HEAD, *(_row(line, revoked) for line in lines)]
    dated = order is listing.Order.DATE or table_width(rows) <= _WIDTH
    rows += map(_damaged_row, damaged)
    if not dated:
        rows = [(*row[:_DATE], *row[_DATE + 1 :]) for row in rows]
    if lines or damaged:
        print_table(rows, right=(3, 4, 5, 6))
    size, stored = sum(line.summary.size for line in lines), sum(line.own for line in lines)
    bad_text = f", {len(damaged)} damaged: see 'outlast doctor'" if damaged else ""
    taken = f"; the archive takes {human_size(space_used(run.config.home))}" if whole else ""
    run.say(
        f"{plural(len(lines), 'revision')}, {human_size(size)}, stored in {human_size(stored)}"
        f"{taken}{bad_text}"
    )


def _row(line: listing.RevisionLine, revoked: Collection[tuple[RepoId, GitOid]]) -> tuple[str, ...]:
    s = line.summary
    bad = ", REVOKED" * ((s.repo.folded, s.revision) in revoked)
    return (
        str(s.repo),
        s.revision.hex[:12],
        ",".join(line.refs) or "-",
        f"{s.files:,}",
        human_size(s.size),
        human_size(line.stored),
        saving(s.size, line.stored),
        f"{line.date:%Y-%m-%d}",
        _state(line)
        + bad
        + ", unconfirmed" * line.unconfirmed
        + _bases(line.bases)
        + _gone(line.about),
    )


def _gone(about: About) -> str:
    """What is to know of a model that a hub withdrew, or the operator of this archive did."""
    notice = about.notice
    here = "" if notice is None else ", not given out" if notice.stopped else ", notice"
    return ", withdrawn" * bool(about.withdrawn) + here


def _damaged_row(bad: listing.DamagedLine) -> tuple[str, ...]:
    return (
        str(bad.repo),
        bad.revision.hex[:12] if bad.revision is not None else "?",
        bad.ref or "-",
        *("?",) * 5,
        one_line(f"DAMAGED: {bad.problem}"),
    )


def _state(line: listing.RevisionLine) -> str:
    summary = line.summary
    if line.damaged:
        return f"damaged ({plural(line.damaged, 'file')})"
    if summary.unlisted:
        return "partial (may lack files)"
    return f"partial (lacks {summary.missing})" if summary.missing else "complete"


def _bases(bases: Sequence[str]) -> str:
    return f", delta against {', '.join(bases)}" if bases else ""
