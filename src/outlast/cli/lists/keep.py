"""Pulls all that a keep-list names, and says what became of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from outlast.cli.documents.lists import ErrorPart, KeptDocument, PulledListDocument
from outlast.cli.documents.parts import warnings_of
from outlast.cli.edge import Session
from outlast.cli.options.pulling import Puller, PullOptions
from outlast.cli.screen.render import plural, print_document, print_table
from outlast.core.digest import GitOid
from outlast.core.errors import one_line
from outlast.core.keep_list import KeepLine
from outlast.core.sizes import human_size
from outlast.fetch.file_filter import Selection
from outlast.ops import pull as ops
from outlast.ops.keep import Change, Kept, exit_status, keep

_WRITTEN_AS: Final = "include= and exclude= of the line"
"""The globs."""


@dataclass(frozen=True, slots=True)
class KeptAll:
    """What became of all lines, and the exit status that says so."""

    kept: Sequence[Kept]
    status: int

    @property
    def well(self) -> bool:
        return self.status == 0

    def counts(self) -> dict[str, int]:
        """How many lines went which way."""
        found = Counter(one.change for one in self.kept)
        return {change.value: found[change] for change in Change}


def keep_all(
    run: Session,
    puller: Puller,
    lines: Sequence[KeepLine],
    options: PullOptions,
    *,
    ends: bool = True,
) -> KeptAll:
    """Pulls the lines one after the other; each that fails is told at once, and a table at the end
    has all. In JSON each line is told as it ends, and `ends` says whether the summary follows.
    """

    def pull(line: KeepLine) -> ops.Pulled:
        return ops.pull(
            puller.archive,
            line.target,
            puller.sources,
            selection=Selection(line.include, line.exclude, _WRITTEN_AS),
            wishes=puller.wishes,
            control=run.control,
            around=puller.around,
            dry_run=options.dry_run,
            room=puller.room,
            strict=options.strict,
        )

    kept: list[Kept] = []
    for one in keep(puller.archive, lines, pull, run.control):
        kept.append(one)
        if one.error is not None:
            run.screen.log(_failure(one))
        if run.as_json:
            print_document(_document(one, dry_run=options.dry_run))
    run.screen.settle()
    result = KeptAll(kept, exit_status(kept))
    if not run.as_json:
        _print_table(kept)
        _say_total(run, result, dry_run=options.dry_run)
    elif ends:
        print_document(PulledListDocument(**summary(result, dry_run=options.dry_run)))
    return result


def summary(result: KeptAll, *, dry_run: bool) -> dict[str, Any]:
    """The fields of the last line in JSON."""
    return {
        "dry_run": dry_run,
        "models": len(result.kept),
        **result.counts(),
        "fetched_bytes": _fetched(result.kept),
        "to_fetch_bytes": _to_fetch(result.kept),
        "status": result.status,
    }


def _failure(one: Kept) -> str:
    error = one.error
    assert error is not None
    hint = f" (hint: {error.hint})" if error.hint else ""
    return f"line {one.line.number}, {one.line.target}: error[{error.code}]: {error}{hint}"


def _document(one: Kept, *, dry_run: bool) -> KeptDocument:
    error, pulled = one.error, one.pulled
    plan = pulled.plan if pulled is not None else None
    return KeptDocument(
        dry_run=dry_run,
        line=one.line.number,
        repo=plan.repo if plan is not None else one.line.target.repo,
        ref=one.line.ref,
        state=one.change,
        before=one.before,
        commit=plan.commit if plan is not None else None,
        manifest=pulled.manifest if pulled is not None else None,
        partial=pulled.partial if pulled is not None else None,
        files=len(plan.wanted) if plan is not None else None,
        bytes=plan.total_bytes if plan is not None else None,
        to_fetch_bytes=plan.fetch_bytes - plan.resumed if plan is not None else None,
        fetched=pulled.fetched if pulled is not None else {},
        warnings=warnings_of(pulled.suspects if pulled is not None else ()),
        error=None
        if error is None
        else ErrorPart(code=error.code, message=str(error), hint=error.hint),
    )


def _print_table(kept: Sequence[Kept]) -> None:
    rows = [("MODEL", "STATE", "COMMIT", "FILES", "SIZE", "NOTE")]
    rows += [
        (
            str(one.line.target),
            _state(one),
            _commits(one.before, one.pulled.plan.commit) if one.pulled is not None else "-",
            f"{len(one.pulled.plan.wanted):,}" if one.pulled is not None else "-",
            human_size(one.pulled.plan.total_bytes) if one.pulled is not None else "-",
            _note(one),
        )
        for one in kept
    ]
    print_table(rows, right=(3, 4))


def _state(one: Kept) -> str:
    return f"{one.change}, partial" if one.pulled is not None and one.pulled.partial else one.change


def _commits(before: GitOid | None, now: GitOid) -> str:
    moved = before is not None and before != now
    return f"{before.hex[:12]} → {now.hex[:12]}" if before and moved else now.hex[:12]


def _note(one: Kept) -> str:
    if one.error is not None:
        return one_line(f"{one.error.code}: {one.error}", 100)
    if one.pulled is None:
        return "not tried"
    warnings = len(one.pulled.suspects)
    return plural(warnings, "WARNING") if warnings else ""


def _fetched(kept: Sequence[Kept]) -> int:
    return sum(sum(one.pulled.fetched.values()) for one in kept if one.pulled is not None)


def _to_fetch(kept: Sequence[Kept]) -> int:
    plans = [one.pulled.plan for one in kept if one.pulled is not None]
    return sum(plan.fetch_bytes - plan.resumed for plan in plans)


def _say_total(run: Session, result: KeptAll, *, dry_run: bool) -> None:
    parts = [f"{count} {change}" for change, count in result.counts().items() if count]
    came = (
        f"{human_size(_to_fetch(result.kept))} would be fetched; nothing was changed"
        if dry_run
        else f"{human_size(_fetched(result.kept))} fetched"
    )
    run.say(f"{plural(len(result.kept), 'model')}: {', '.join(parts)}; {came}")
