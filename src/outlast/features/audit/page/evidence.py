"""What the charts of a page show: the numbers of a report, in the units of its test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean

from outlast.features.audit.evidence import SAMPLED, AuditFinding, log_course
from outlast.features.audit.reports.document import AuditReport
from outlast.features.audit.reports.replaying import audited_distances, sampled_positions

_NATS = "mean difference, nats"


@dataclass(frozen=True, slots=True)
class PageEvidence:
    """`audited`, `honest` and `others`: distances of questions with their positions; `course`: what
    the verdict rests on after each token, `threshold` what it must exceed for an alarm; `expected`:
    where alternatives would be. `beside`: what is drawn of the endpoint beside the calibration.
    `level`: what single questions are compared with. `comparable`: whether the calibration's rows
    are in the unit of single questions.
    """

    audited: Sequence[Sequence[float]]
    honest: Mapping[str, Sequence[Sequence[float]]]
    others: Mapping[str, Sequence[Sequence[float]]]
    course: Sequence[float]
    threshold: float
    expected: Sequence[tuple[str, float]]
    beside: Sequence[float]
    level: float
    level_name: str
    seconds: Sequence[float]
    unit: str = _NATS
    course_unit: str = _NATS
    calibration_unit: str = "mean difference of a question, nats"
    course_caption: str = (
        "The mean difference between the endpoint and the archived weights, as more tokens came. "
        "It has to be above the dashed line at the end, and most questions above honest ones, for "
        "the verdict divergent."
    )
    question_caption: str = (
        "The mean difference of each question's answer. One that is far from the others may be a "
        "hidden system prompt, or a request that was routed elsewhere."
    )
    calibration_caption: str = (
        "The same measure on questions that were asked here: of the archived weights through other "
        "honest numerics, and of the same weights with fewer bits. Each dot is a question. The "
        "dashed line is what the mean of this endpoint has to exceed."
    )
    comparable: bool = True


def page_evidence(report: AuditReport, finding: AuditFinding) -> PageEvidence:
    """The numbers of a report with this finding. Raises
    :class:`~outlast.core.errors.MalformedError`.
    """
    if report.test == SAMPLED:
        return _of_sampled(report, finding)
    audited = [] if report.test is None else audited_distances(report)
    threshold = finding.floor or 0.0
    others = report.calibration.alternatives
    return PageEvidence(
        audited,
        report.calibration.honest,
        others,
        _course(audited),
        threshold,
        [(name, fmean(map(fmean, rows))) for name, rows in others.items() if rows],
        [fmean(one) for one in audited],
        threshold,
        "alarm, mean",
        [one.seconds for one in report.exchanges],
    )


def _of_sampled(report: AuditReport, finding: AuditFinding) -> PageEvidence:
    rows = sampled_positions(report)
    level = finding.floor or 0.0
    return PageEvidence(
        [[float(log_course([row])[-1])] for row in rows if row],
        {name: [[one] for one in runs[0]] for name, runs in report.calibration.honest.items()},
        {
            name: [[one] for one in runs[0]]
            for name, runs in report.calibration.alternatives.items()
        },
        [float(one) for one in log_course(rows)],
        level,
        [],
        [] if finding.statistic is None else [finding.statistic],
        0.0,
        "no evidence",
        [one.seconds for one in report.exchanges],
        "log evidence",
        "log evidence",
        "highest log evidence",
        "How much likelier the text is from changed weights, or sampled otherwise, than from the "
        "archived weights: the natural logarithm of the ratio, as more tokens came. Where it ever "
        "reaches the dashed line, the verdict is divergent; an honest endpoint does so with at "
        "most the error rate.",
        "The same ratio for each answer alone. Single answers prove little in either direction.",
        "What the highest log evidence would be, by what answers: simulated runs of the same "
        "length, drawn from each distribution. Runs at the right of the dashed line are found.",
        comparable=False,
    )


def _course(answers: Sequence[Sequence[float]]) -> list[float]:
    """After each token, the mean over the answers so far of the mean of each."""
    found: list[float] = []
    whole: list[float] = []
    for one in answers:
        means = [total / n for n, total in enumerate(accumulate(one), start=1)]
        found += [(sum(whole) + mean) / (len(whole) + 1) for mean in means]
        whole.append(means[-1])
    return found
