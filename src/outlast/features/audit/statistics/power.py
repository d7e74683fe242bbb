"""How surely a test of ranks finds a deviation, and the smallest that it finds."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from outlast.features.audit.statistics.conformal import tail

DRAWS: Final = 1000
"""Groups of prompts that are drawn. The standard error of a power of 90 % is then 1 %."""
_STEPS: Final = 40


def least_count(calibrated: int, audited: int, alpha: float) -> int:
    """The smallest count of exceeding pairs that is an alarm at `alpha`; more than there are pairs,
    where none is.
    """
    low, high = 0, calibrated * audited + 1
    while low < high:
        middle = (low + high) // 2
        if tail(calibrated, audited, middle) <= alpha:
            high = middle
        else:
            low = middle + 1
    return low


def rank_power(
    calibration: Sequence[float],
    alternative: Sequence[float],
    audited: int,
    alpha: float,
    *,
    floor: float = 0.0,
    seed: int = 0,
) -> float:
    """The share of groups of `audited` scores, drawn from `alternative` with replacement, that are
    an alarm at `alpha` and have a mean above `floor`.
    """
    chosen = np.random.default_rng(seed).integers(0, len(alternative), (DRAWS, audited))
    drawn = np.asarray(alternative, dtype=np.float64)[chosen]
    ordered = np.sort(np.asarray(calibration, dtype=np.float64))
    counts = np.searchsorted(ordered, drawn, "left").sum(axis=1)
    alarm = counts >= least_count(len(calibration), audited, alpha)
    return float(np.mean(alarm & (drawn.mean(axis=1) > floor)))


def smallest_shift(
    calibration: Sequence[float], audited: int, alpha: float, power: float, floor: float = 0.0
) -> float | None:
    """The smallest amount, in the unit of the scores, by which all scores must be higher than
    honest ones to be found with this power; None where no amount is.
    """
    scores = np.asarray(calibration, dtype=np.float64)

    def found(shift: float) -> bool:
        return rank_power(calibration, list(scores + shift), audited, alpha, floor=floor) >= power

    low, high = 0.0, float(scores.max() - scores.min()) + floor + 1e-9
    if not found(high):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
