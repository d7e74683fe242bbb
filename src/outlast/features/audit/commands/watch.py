"""``outlast audit watch``."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.options.duration import Duration
from outlast.cli.screen.render import plural, print_document
from outlast.core.digest import Digest
from outlast.core.errors import BusyError, UsageError
from outlast.core.records.audit import AuditVerdict
from outlast.features.audit.audit import AuditOptions
from outlast.features.audit.commands.asking import (
    AuditRequest,
    asked_endpoint,
    bounds,
    questions,
    record_options,
    reference_options,
)
from outlast.features.audit.commands.documents import WatchedAuditDocument
from outlast.features.audit.evidence import EXIT, AuditFinding, Verdict
from outlast.features.audit.statistics.eprocess import threshold
from outlast.features.audit.watched import WatchedEndpoint, begun, read_state, write_state
from outlast.store import disk, locks
from outlast.store.archive import Archive

_LEAST: Final = 60.0
"""Seconds between two audits. Guess: a typing error should not cost money."""


@click.command(
    epilog="""\b
Examples:
  outlast audit watch https://api.example/v1 --model m --against org/name --state m.json
  outlast audit watch URL --model m --against org/name --state m.json --every 6h

\b
Exit status:
  0 no alarm so far · 2 usage · 3 not archived · 4 the state is damaged · 5 another process uses the
  state · 8 storage · 9 engine · 10 alarm: divergent · 12 no alarm, and the last audit was
  untestable · 130 interrupted (run again: it goes on)
"""
)
@click.argument("url")
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Where the evidence of all audits is kept",
)
@click.option(
    "--every",
    type=Duration(),
    metavar="TIME",
    help="Audit again after so long, as 6h, until an alarm  [default: audit once]",
)
@asked_endpoint
@questions
@bounds
@record_options
@reference_options
@common
def watch(
    url: str,
    *,
    state: Path,
    every: float | None,
    test: str | None,
    prompts: int,
    tokens: int,
    calibration: int,
    alpha: float,
    home: str | None,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> int:
    """Audit the endpoint at URL again and again, and add up the evidence.

    Each run asks new questions, and what honest engines answer is measured anew. The evidence of
    all runs is kept in the state FILE: an endpoint that serves a part of the requests otherwise is
    found in the end. However long it is watched, an honest endpoint raises an alarm with a
    probability of at most --alpha. An alarm stays until you remove the FILE; it is kept as a
    divergent record in the archive, which the gateway heeds.

    Bounds, as --max-tokens, are those of one audit. Run it from a timer, or with --every.
    """
    if every is not None and every < _LEAST:
        raise UsageError(f"--every must be at least {_LEAST:.0f} seconds")
    request = AuditRequest(url=url, **asked)

    def options() -> AuditOptions:
        seed = secrets.token_bytes(16)
        return AuditOptions(seed, prompts, tokens, calibration, alpha, test, afresh=True)

    options()  # what is out of bounds is refused before anything begins
    with session(home, as_json=as_json, quiet=quiet) as call, _alone(state):
        while True:
            known = read_state(state)
            with call.archive() as archive:
                finding, now = _round(call, archive, request, options(), (state, known))
            _show(call, finding, now)
            if now.alarmed:
                return EXIT[Verdict.DIVERGENT]
            if every is None:
                break
            call.control.cancel.wait(every)
        return EXIT[Verdict.UNTESTABLE] if finding.verdict is Verdict.UNTESTABLE else 0


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Keeps other processes from the state: two would each forget what the other found. Raises
    :class:`BusyError`.
    """
    lock = state.with_name(f".{state.name}.lock")
    with disk.reporting(lock), lock.open("ab") as file:
        if not locks.try_lock(file.fileno(), lock):
            raise BusyError(f"another process uses {state}")
        yield


def _round(
    call: Session,
    archive: Archive,
    request: AuditRequest,
    options: AuditOptions,
    at: tuple[Path, WatchedEndpoint | None],
) -> tuple[AuditFinding, WatchedEndpoint]:
    """One audit. Its evidence is on the disk before anything is said of it."""
    path, known = at
    manifest = request.manifest(archive)
    where = (request.endpoint, request.model, manifest.hex, options.alpha)
    if known is None:
        known = begun(*where)
    known.require(*where)
    finding, found = request.run(call, archive, options)
    known.require(found["endpoint"], found["model"], found["manifest"], options.alpha)
    now = known.after(finding, found)
    write_state(path, now)
    note = f"{plural(now.rounds, 'audit')}, alpha {options.alpha:g}"
    if now.alarmed:
        request.keep(archive, found, AuditVerdict.DIVERGENT, note)
    elif finding.verdict is Verdict.CONSISTENT:
        request.keep(archive, found, AuditVerdict.CONSISTENT, note)
    return finding, now


def _show(call: Session, finding: AuditFinding, now: WatchedEndpoint) -> None:
    need = threshold(now.alpha)
    if call.as_json:
        print_document(
            WatchedAuditDocument(
                endpoint=now.endpoint,
                model=now.model,
                manifest=Digest(now.manifest),
                alarm=now.alarmed,
                evidence=now.evidence,
                highest=now.highest,
                needed=need,
                alpha=now.alpha,
                rounds=now.rounds,
                untestable=now.untestable,
                verdict=finding.verdict.value,
                reason=finding.reason,
                p_value=finding.p_value,
                requests=now.requests,
                tokens=now.tokens,
            )
        )
        return
    word = "divergent: alarm" if now.alarmed else "no alarm"
    print(f"{word} after {plural(now.rounds, 'audit')}, {now.tokens:,} tokens in all")
    print(f"evidence    {now.evidence:.2f} now, {now.highest:.2f} at most; alarm from {need:.2f}")
    print(f"this audit  {finding.verdict.value}: {finding.reason}")
    if now.untestable:
        print(f"untestable  {plural(now.untestable, 'audit')}, which count for nothing")
