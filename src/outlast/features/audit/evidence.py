"""What an audit gathered, and the verdict that follows from it: pure, so that it can be replayed.

A score belongs to a prompt. For the test ``logprobs`` it is the mean distance of log probabilities
from the reference's, for ``greedy`` the mean clipped margin; both in nats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from outlast.features.audit.statistics.conformal import p_value
from outlast.features.audit.statistics.greedy import clipped_margin, mean_margin
from outlast.features.audit.statistics.logprobs import position_distance, prompt_distance
from outlast.features.audit.statistics.power import rank_power, smallest_shift

LOGPROBS: Final = "logprobs"
GREEDY: Final = "greedy"
POWER: Final = 0.9
"""With which an alternative has to be found before an endpoint is called consistent."""
ALLOWANCE: Final = 2.0
"""How many times as far as the farthest honest prompt the mean has to be for an alarm. Guess: an
engine that cannot be run here differs at most twice as much as those that can."""
_LEAST_FLOOR: Final = 0.002


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
    """The verdict, and why. `statistic`: the mean score; `floor`: what it must exceed for an alarm;
    `smallest`: the deviation (in nats of the score) that would have been found with a power of
    :data:`POWER`; `power`: that for each alternative.
    """

    verdict: Verdict
    reason: str
    statistic: float | None = None
    p_value: float | None = None
    floor: float | None = None
    smallest: float | None = None
    power: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "statistic": self.statistic,
            "p_value": self.p_value,
            "floor": self.floor,
            "smallest": self.smallest,
            "power": None if self.power is None else dict(self.power),
        }


def score_of(test: str, positions: Sequence[Mapping[str, Any]]) -> float:
    """The score of a prompt from the evidence of its positions, of which there is at least one."""
    if test == GREEDY:
        return mean_margin([clipped_margin(one["highest"], one["chosen"]) for one in positions])
    return prompt_distance(
        [
            position_distance(
                [(bytes.fromhex(piece), logprob) for piece, logprob in one["reference"]],
                {bytes.fromhex(piece): logprob for piece, logprob in one["served"]},
            )
            for one in positions
        ]
    ).mean


def judge(
    audited: Sequence[float],
    honest: Sequence[float],
    alternatives: Mapping[str, Sequence[float]],
    alpha: float,
) -> AuditFinding:
    """The verdict on the scores of the audited prompts, given those of honest prompts and of
    alternatives.
    """
    if not audited or not honest:
        return AuditFinding(Verdict.UNTESTABLE, "no prompt could be compared")
    mean = sum(audited) / len(audited)
    floor = max(_LEAST_FLOOR, ALLOWANCE * max(honest))
    found = p_value(honest, audited)
    count = len(audited)
    power = {
        name: rank_power(honest, scores, count, alpha, floor=floor)
        for name, scores in sorted(alternatives.items())
        if scores
    }
    smallest = smallest_shift(honest, count, alpha, POWER, floor=floor)
    seen = [name for name, share in power.items() if share >= POWER]
    if found <= alpha and mean > floor:
        verdict, reason = Verdict.DIVERGENT, "the answers differ more than honest engines do"
    elif mean > floor:
        verdict = Verdict.INCONCLUSIVE
        reason = "the answers differ, and were too few to exclude chance"
    elif found <= alpha and mean > max(honest):
        verdict = Verdict.INCONCLUSIVE
        reason = "the answers differ a little more than the honest engines that were run here"
    elif not seen:
        verdict, reason = Verdict.INCONCLUSIVE, "no alternative would have been found for sure"
    else:
        verdict = Verdict.CONSISTENT
        reason = f"nothing differs, and {', '.join(seen)} would have been found"
    return AuditFinding(verdict, reason, mean, found, floor, smallest, power)


def replay(report: Mapping[str, Any]) -> AuditFinding:
    """The verdict that follows from the evidence of a report. Raises :class:`KeyError`,
    :class:`TypeError` or :class:`ValueError` for one that is none.
    """
    if report["test"] is None:
        said = report["finding"]
        return AuditFinding(Verdict(said["verdict"]), str(said["reason"]))
    scores = [
        score_of(report["test"], one["positions"]) for one in report["audited"] if one["positions"]
    ]
    calibration = report["calibration"]
    return judge(scores, calibration["honest"], calibration["alternatives"], report["alpha"])
