"""What an audit gathered, and the verdict that follows from it: pure, so that it can be replayed.

Each position of an answer has a distance in nats: for the test ``logprobs`` that of the served log
probabilities from the reference's, for ``greedy`` the clipped margin. The score of a prompt is the
mean of its positions. It is compared with the scores of honest prompts, cut to as many positions.
For ``sampled`` a position has log probabilities by hypothesis, and evidence is their sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean as mean
from typing import Any, Final, TypeAlias

import numpy as np

from outlast.features.audit.statistics.calibration import Calibration
from outlast.features.audit.statistics.eprocess import anytime_p, log_evidence, threshold
from outlast.features.audit.statistics.explanation import by_distance, by_likelihood
from outlast.features.audit.statistics.greedy import clipped_margin
from outlast.features.audit.statistics.logprobs import position_distance

LOGPROBS: Final = "logprobs"
GREEDY: Final = "greedy"
SAMPLED: Final = "sampled"
POWER: Final = 0.9
"""With which an alternative has to be found before an endpoint is called consistent."""
ALLOWANCE: Final = 1.1
"""By how much honest distances are multiplied before they are compared: engines that cannot be run
here may differ that much more than those that can."""
LEAST_FLOOR: Final = 0.002
_SHOWN: Final = 0.01
_OWN: Final = "own"
"""What the reference calls the weights as they are."""
Distances: TypeAlias = Sequence[Sequence[float]]
"""Of prompts, each with its positions (at least one), in nats."""


class Verdict(StrEnum):
    """What an audit comes to."""

    CONSISTENT = "consistent"
    DIVERGENT = "divergent"
    INCONCLUSIVE = "inconclusive"
    UNTESTABLE = "untestable"


EXIT: Final[Mapping[Verdict, int]] = {
    Verdict.CONSISTENT: 0,
    Verdict.DIVERGENT: 10,
    Verdict.INCONCLUSIVE: 11,
    Verdict.UNTESTABLE: 12,
}
"""The exit status of each verdict."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """The verdict, and why. `statistic`: the mean score; `floor`: what it must exceed for an alarm,
    beside ranks that honest scores have with a probability of at most alpha; of sampled text: the
    highest log evidence, and what it must reach. `smallest`: the deviation (in nats of the score)
    that would have been found with a power of :data:`POWER`; `power`: that for each alternative;
    `explanations` of a divergent endpoint: by name, its share of the likelihood.
    """

    verdict: Verdict
    reason: str
    statistic: float | None = None
    p_value: float | None = None
    floor: float | None = None
    smallest: float | None = None
    power: Mapping[str, float] | None = None
    explanations: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "statistic": self.statistic,
            "p_value": self.p_value,
            "floor": self.floor,
            "smallest": self.smallest,
            "power": None if self.power is None else dict(self.power),
            "explanations": None if self.explanations is None else dict(self.explanations),
        }


def distances_of(test: str, positions: Sequence[Mapping[str, Any]]) -> list[float]:
    """The distance of each position, from its evidence."""
    if test == GREEDY:
        return [clipped_margin(one["highest"], one["chosen"]) for one in positions]
    return [
        position_distance(
            [(bytes.fromhex(piece), logprob) for piece, logprob in one["reference"]],
            {bytes.fromhex(piece): logprob for piece, logprob in one["served"]},
        ).mean
        for one in positions
    ]


def score_of(test: str, positions: Sequence[Mapping[str, Any]]) -> float:
    """The score of a prompt from the evidence of its positions, of which there is at least one."""
    return mean(distances_of(test, positions))


def judge(
    audited: Distances,
    honest: Mapping[str, Distances],
    alternatives: Mapping[str, Distances],
    alpha: float,
) -> AuditFinding:
    """The verdict on the audited prompts, given honest prompts (by numerics; the same prompts in
    the same order) and alternatives (by name).
    """
    if not audited or not honest or not all(honest.values()):
        return AuditFinding(Verdict.UNTESTABLE, "no prompt could be compared")
    lengths = [len(one) for one in audited]
    calibration = Calibration(list(honest.values()), lengths, ALLOWANCE)
    statistic = mean([mean(one) for one in audited])
    floor = max(LEAST_FLOOR, calibration.floor)
    found = calibration.p_value(audited)
    power = {
        name: calibration.power(scores, alpha, floor=floor)
        for name, scores in sorted(alternatives.items())
        if scores
    }
    smallest = calibration.smallest_shift(alpha, POWER, floor=floor)
    seen = [name for name, share in power.items() if share >= POWER]
    if found <= alpha and statistic > floor:
        verdict, reason = Verdict.DIVERGENT, "the answers differ more than honest engines do"
    elif found <= alpha:
        verdict = Verdict.INCONCLUSIVE
        reason = "the answers differ a little more than the honest engines that were run here"
    elif seen:
        verdict = Verdict.CONSISTENT
        reason = f"nothing differs, and {', '.join(seen)} would have been found"
    elif statistic > floor:
        verdict = Verdict.INCONCLUSIVE
        reason = "the answers differ, and were too few to exclude chance"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, "no alternative would have been found for sure"
    return AuditFinding(verdict, reason, statistic, found, floor, smallest, power)


def judge_sampled(
    answers: Sequence[Sequence[Mapping[str, Any]]],
    alternatives: Mapping[str, Distances],
    alpha: float,
) -> AuditFinding:
    """The verdict on sampled text: `answers` have positions with the log probabilities of their
    tokens, `alternatives` by name the highest log evidence of simulated runs.
    """
    course = log_course(answers)
    if not len(course):
        return AuditFinding(Verdict.UNTESTABLE, "no prompt could be compared")
    highest, floor = float(course.max()), threshold(alpha)
    power = {
        name: float(np.mean(np.asarray(runs[0]) >= floor))
        for name, runs in sorted(alternatives.items())
    }
    seen = [name for name, share in power.items() if share >= POWER]
    if highest >= floor:
        verdict = Verdict.DIVERGENT
        reason = "the text is likelier from changed weights, or sampled otherwise"
    elif seen:
        verdict = Verdict.CONSISTENT
        reason = f"the text is as the weights write it, and {', '.join(seen)} would have been found"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, "no alternative would have been found for sure"
    return AuditFinding(verdict, reason, highest, anytime_p(highest), floor, None, power)


def log_course(answers: Sequence[Sequence[Mapping[str, Any]]]) -> "np.ndarray[Any, Any]":
    """The log evidence after each token of all answers."""
    rows = [one for positions in answers for one in positions]
    if not rows:
        return np.zeros(0)
    honest = np.array([one["honest"] for one in rows], dtype=np.float64)
    others = np.array([one["alternatives"] for one in rows], dtype=np.float64)
    return log_evidence(honest, others)


def explained(
    finding: AuditFinding, candidates: Mapping[str, Distances], honest: Mapping[str, Distances]
) -> AuditFinding:
    """A divergent finding with its explanations, from the distances of all answers to each
    candidate; without any, as it is.
    """
    if finding.verdict is not Verdict.DIVERGENT or not candidates:
        return finding
    scores = [mean(one) for rows in honest.values() for one in rows]
    return replace(finding, explanations=by_distance(candidates, mean(scores)))


def explained_sampled(
    finding: AuditFinding,
    answers: Sequence[Sequence[Mapping[str, Any]]],
    honest: Sequence[str],
    alternatives: Sequence[str],
) -> AuditFinding:
    """The same for sampled text, from the log probabilities of its tokens; the names are in the
    order of positions.
    """
    if finding.verdict is not Verdict.DIVERGENT:
        return finding
    rows = [positions for positions in answers if positions]
    likely = {
        name: [sum(at[kind][number] for at in positions) for positions in rows]
        for kind, names in (("honest", honest[:1]), ("alternatives", alternatives))
        for number, name in enumerate(names)
    }
    return replace(finding, explanations=by_likelihood(likely))


def ranked(explanations: Mapping[str, float]) -> list[tuple[str, float]]:
    """The explanations that a person should see: those with at least 1 %, the likeliest first."""
    shown = [
        ("the archived weights" if name == _OWN else name, share)
        for name, share in explanations.items()
        if share >= _SHOWN
    ]
    return sorted(shown, key=lambda one: -one[1])
