"""The verdict of a report, computed anew: from the raw answers that it holds, and from what the
reference said of their tokens.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from outlast.core.errors import IntegrityError, MalformedError
from outlast.features.audit.asking.answers import ServedToken, UntestableError, read_answer
from outlast.features.audit.evidence import (
    GREEDY,
    LOGPROBS,
    SAMPLED,
    AuditFinding,
    Verdict,
    distances_of,
    explained,
    explained_sampled,
    judge,
    judge_sampled,
)
from outlast.features.audit.reports.commitment import commitment
from outlast.features.audit.reports.document import (
    AuditReport,
    ReportedAnswer,
    ReportedFinding,
    report_of_finding,
)

_ROUNDING: Final = 1e-9
"""Relative. Processors and versions of numpy differ in the last bits of exponentials and sums."""


def replayed(report: AuditReport) -> AuditFinding:
    """The verdict that follows from a report's evidence. Raises :class:`MalformedError` for
    evidence that is none, and :class:`IntegrityError` where the questions are not those that were
    committed to, or were not those that were asked.
    """
    _check_questions(report)
    if report.test is None:
        return AuditFinding(_verdict(report), report.finding.reason)
    if report.test not in {LOGPROBS, GREEDY, SAMPLED}:
        raise MalformedError(f"a report of another test: {report.test[:40]!r}")
    try:
        if report.test == SAMPLED:
            calibrated = report.calibration.alternatives
            rows = sampled_positions(report)
            finding = judge_sampled(rows, calibrated, report.alpha)
            return explained_sampled(finding, rows, report.honest, report.alternatives)
        audited, honest = audited_distances(report), report.calibration.honest
        if any(len(rows) != len(audited) for rows in report.candidates.values()):
            raise MalformedError("the report has candidates that are not about its answers")
        finding = judge(audited, honest, report.calibration.alternatives, report.alpha)
        return explained(finding, report.candidates, honest)
    except (TypeError, ValueError, ArithmeticError):
        raise MalformedError("the report lacks evidence, or has it in another form") from None


def follows(said: ReportedFinding, finding: AuditFinding) -> bool:
    """Whether a report says what was computed anew; numbers may be rounded in another way."""
    found = report_of_finding(finding)
    return all(_alike(getattr(said, name), getattr(found, name)) for name in said.__struct_fields__)


def _alike(one: object, other: object) -> bool:
    match one, other:
        case float(), float():
            return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING / 1000)
        case dict(), dict():
            return one.keys() == other.keys() and all(_alike(one[k], other[k]) for k in one)
        case _:
            return one == other


def audited_distances(report: AuditReport) -> list[list[float]]:
    """The distances of each answer that has any, in nats. Raises :class:`MalformedError`."""
    assert report.test is not None
    rows = [evidence_of(report, one) for one in report.audited]
    try:
        return [distances_of(report.test, row) for row in rows if row]
    except (TypeError, ValueError):
        raise MalformedError("the report lacks evidence, or has it in another form") from None


def sampled_positions(report: AuditReport) -> list[list[dict[str, list[float]]]]:
    """The positions of each answer of sampled text. Raises :class:`MalformedError` where they are
    not about the hypotheses that the report names.
    """
    rows = [
        [{"honest": at.honest, "alternatives": at.alternatives} for at in one.positions]
        for one in report.audited
    ]
    counts = {(len(at["honest"]), len(at["alternatives"])) for row in rows for at in row}
    if counts - {(len(report.honest), len(report.alternatives))} or (0, 0) in counts:
        raise MalformedError("the report lacks the probabilities of a hypothesis that it names")
    calibrated = [*report.calibration.honest.values(), *report.calibration.alternatives.values()]
    if any(len(runs) != 1 for runs in calibrated):
        raise MalformedError("the report lacks the simulated runs of a hypothesis")
    return rows


def evidence_of(report: AuditReport, answer: ReportedAnswer) -> Sequence[Mapping[str, Any]]:
    """The positions of an answer as :func:`~outlast.features.audit.evidence.distances_of` takes
    them; what was served is read from the raw exchange. Raises :class:`MalformedError`.
    """
    if report.test == GREEDY:
        if any(one.highest is None for one in answer.positions):
            raise MalformedError("the report lacks evidence, or has it in another form")
        return [{"highest": one.highest, "chosen": one.chosen} for one in answer.positions]
    served = served_tokens(report, answer)
    try:
        return [
            {
                "reference": one.reference,
                "served": [[k.hex(), v] for k, v in served[one.at].top.items()],
            }
            for one in answer.positions
        ]
    except IndexError:
        raise MalformedError("the report compares a token that was not served") from None


def served_tokens(report: AuditReport, answer: ReportedAnswer) -> tuple[ServedToken, ...]:
    """The tokens that the endpoint told of in an answer. Raises :class:`MalformedError`."""
    try:
        return read_answer(report.exchanges[answer.exchange].response.encode()).tokens or ()
    except (UntestableError, IndexError, UnicodeEncodeError):
        raise MalformedError("the report has an answer that is none") from None


def _verdict(report: AuditReport) -> Verdict:
    """That of a report that nothing could be tested for: it can only be that."""
    if report.finding.verdict != Verdict.UNTESTABLE.value:
        raise IntegrityError("the report has a verdict, and no test", hint="it was changed")
    return Verdict.UNTESTABLE


def _check_questions(report: AuditReport) -> None:
    if report.commitment != commitment(report.seed, report.prompts):
        raise IntegrityError(
            "the questions are not those that the auditor committed to",
            hint="the report was changed",
        )
    for one in report.exchanges:
        try:
            asked = json.loads(one.request)["messages"][-1]["content"]
            same = asked == report.prompts[one.prompt]
        except (ValueError, LookupError, TypeError, RecursionError):
            same = False
        if not same:
            raise IntegrityError(
                "a question that was asked is not the one that the report says",
                hint="the report was changed",
            )
    audited = [one.exchange for one in report.audited]
    if audited != sorted(set(audited)) or any(n >= len(report.exchanges) for n in audited):
        raise MalformedError("the report counts an answer twice, or one that it does not have")
