"""Several endpoints that are said to serve one model, side by side, from the reports of audits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeAlias

from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, UsageError
from outlast.features.audit.evidence import AuditFinding, Verdict
from outlast.features.audit.reports.document import AuditReport
from outlast.features.audit.reports.replaying import follows, replayed

_BEST_FIRST: Final = (
    Verdict.CONSISTENT,
    Verdict.INCONCLUSIVE,
    Verdict.UNTESTABLE,
    Verdict.DIVERGENT,
)
"""An endpoint that cannot be tested may be right."""
_WORST_FIRST: Final = (
    Verdict.DIVERGENT,
    Verdict.INCONCLUSIVE,
    Verdict.UNTESTABLE,
    Verdict.CONSISTENT,
)
Prices: TypeAlias = tuple[float, float]
"""Of a million tokens: of prompts, and of answers."""


@dataclass(frozen=True, slots=True)
class ComparedEndpoint:
    """What a report says of an endpoint. `deviation` is the statistic over what raises an alarm (1
    and more: it differs as much), None where nothing was tested. `seconds` is the median of whole
    answers of at most `tokens` tokens, None where none came. `weights` names what it was compared
    with, `manifest` is that exactly.
    """

    endpoint: str
    model: str
    weights: str
    manifest: Digest
    time: int
    test: str | None
    finding: AuditFinding
    deviation: float | None
    seconds: float | None
    tokens: int
    price: Prices | None


def compared(report: AuditReport, prices: Mapping[str, Prices]) -> ComparedEndpoint:
    """The row of a report, with the price of its endpoint; its verdict is computed anew. Raises
    :class:`IntegrityError` where the report says another one, and what :func:`replayed` raises.
    """
    finding = replayed(report)
    if not follows(report.finding, finding):
        raise IntegrityError(
            f"the report on {report.endpoint} says what does not follow from its evidence",
            hint="it was changed, or another version wrote it",
        )
    deviation = None
    if finding.statistic is not None and finding.floor:
        deviation = max(0.0, finding.statistic / finding.floor)
    seconds = [one.seconds for one in report.exchanges]
    return ComparedEndpoint(
        endpoint=report.endpoint,
        model=report.model,
        weights=f"{report.repo}@{report.revision[:12]}",
        manifest=Digest(report.manifest),
        time=report.time,
        test=report.test,
        finding=finding,
        deviation=deviation,
        seconds=median(seconds) if seconds else None,
        tokens=report.tokens,
        price=prices.get(report.endpoint),
    )


def require_one_model(rows: Sequence[ComparedEndpoint]) -> None:
    """Raises :class:`UsageError` where reports are about the weights of several models."""
    if len({row.manifest for row in rows}) > 1:
        names = sorted({row.weights for row in rows})
        raise UsageError(
            f"the reports are about different weights: {', '.join(names)[:300]}",
            hint="compare audits against one revision",
        )


def worst(rows: Sequence[ComparedEndpoint]) -> Verdict:
    """The verdict that says most against an endpoint, of those that there are."""
    found = {row.finding.verdict for row in rows}
    return next(one for one in _WORST_FIRST if one in found)


def order(rows: Sequence[ComparedEndpoint], *, by_price: bool) -> list[ComparedEndpoint]:
    """The rows, the best first: by verdict, then by speed or by price. How far an endpoint is
    below an alarm does not count: among honest ones that is chance.
    """

    def key(row: ComparedEndpoint) -> tuple[int, float, float, str]:
        unknown = float("inf")
        speed = unknown if row.seconds is None else row.seconds / row.tokens
        price = unknown if row.price is None else sum(row.price)
        first, second = (price, speed) if by_price else (speed, price)
        return _BEST_FIRST.index(row.finding.verdict), first, second, row.endpoint

    return sorted(rows, key=key)
