"""How often audits say divergent: groups of questions drawn from those that were measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, NamedTuple

import numpy as np

from outlast.features.audit.evidence import ALLOWANCE, LEAST_FLOOR
from outlast.features.audit.statistics.calibration import Calibration

ALPHA: Final = 0.05
CALIBRATION: Final = 16
"""Questions of a calibration: what `audit` has by default."""
Rows = Sequence[Sequence[float]]


class Size(NamedTuple):
    """Of an audit: its questions, and the tokens of an answer."""

    questions: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.questions} questions of {self.tokens} tokens"


@dataclass(frozen=True, slots=True)
class Drawn:
    """Many audits of one endpoint: the p-value of each, and the share of alarms."""

    p_values: list[float]
    alarms: float


def draw(answers: Rows, honest: Rows, size: Size, runs: int) -> Drawn:
    """Audits of this size, drawn without replacement from the answers, beside calibrations drawn
    from the honest ones.
    """
    rng = np.random.default_rng(0)
    p_values, alarms = [], 0
    for _ in range(runs):
        audited = [
            answers[n][: size.tokens]
            for n in rng.choice(len(answers), size.questions, replace=False)
        ]
        known = [honest[n] for n in rng.choice(len(honest), CALIBRATION, replace=False)]
        calibration = Calibration([known], [len(one) for one in audited], ALLOWANCE)
        p_value = calibration.p_value(audited)
        statistic = fmean(fmean(one) for one in audited)
        alarms += p_value <= ALPHA and statistic > max(LEAST_FLOOR, calibration.floor)
        p_values.append(p_value)
    return Drawn(p_values, alarms / runs)
