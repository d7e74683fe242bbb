"""Scores of honest prompts, to compare audited ones with, and how surely that finds a deviation.

A score is the mean distance over the positions of a prompt. One of few positions varies more than
one of many, so an audited prompt is compared with honest ones cut to as many positions. Honest
scores are multiplied by an allowance first: the null is an engine whose scores are, in their
distribution, at most so many times those of the engines that were run here.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, Final, TypeAlias

import numpy as np

from outlast.features.audit.statistics.conformal import exceedances, least_count, tail

Distances: TypeAlias = Sequence[Sequence[float]]
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
DRAWS: Final = 1000
"""Groups of prompts that are drawn. The standard error of a power of 90 % is then 1 %."""
_STEPS: Final = 40


class Calibration:
    """`honest`: by numerics, the distances of the same prompts, of which each has at least one
    position; a prompt has the highest score that any of the numerics gives it. `lengths`:
    positions of the audited prompts, at least one of each.
    """

    def __init__(
        self, honest: Sequence[Distances], lengths: Sequence[int], allowance: float
    ) -> None:
        self._honest = honest
        self._lengths = lengths
        self._allowance = allowance
        self._count = min(len(one) for one in honest)
        self._kept: dict[int, Floats] = {}

    @property
    def floor(self) -> float:
        """The mean score, in nats, of an engine that uses up the allowance."""
        return fmean(float(self._scaled(length).mean()) for length in self._lengths)

    def p_value(self, audited: Distances) -> float:
        """The probability that honest prompts rank as high among the calibration's, or higher."""
        reached = sum(exceedances(self._scaled(len(one)).tolist(), [fmean(one)]) for one in audited)
        return tail(self._count, len(audited), reached)

    def power(self, alternative: Distances, alpha: float, *, floor: float, seed: int = 0) -> float:
        """The share of groups of prompts, drawn from `alternative` with replacement, that are an
        alarm at `alpha` and have a mean above `floor`.
        """
        scores = {length: _scores(alternative, length) for length in set(self._lengths)}
        return self._found(scores, alpha, floor, seed)

    def smallest_shift(self, alpha: float, power: float, *, floor: float) -> float | None:
        """The smallest amount in nats by which all scores must be higher than the honest ones that
        were measured, to be found with this power; None where no amount is.
        """
        own = {length: self._own(length) for length in set(self._lengths)}

        def found(shift: float) -> bool:
            shifted = {length: scores + shift for length, scores in own.items()}
            return self._found(shifted, alpha, floor, 0) >= power

        low = 0.0
        high = self._allowance * max(float(scores.max()) for scores in own.values()) + floor + 1e-9
        if not found(high):
            return None
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if found(middle) else (middle, high)
        return high

    def _found(self, scores: dict[int, Floats], alpha: float, floor: float, seed: int) -> float:
        prompts = len(next(iter(scores.values())))
        chosen = np.random.default_rng(seed).integers(0, prompts, (DRAWS, len(self._lengths)))
        counts, means = np.zeros(DRAWS, dtype=np.int64), np.zeros(DRAWS)
        reached = {
            length: np.searchsorted(self._scaled(length), values, "left")
            for length, values in scores.items()
        }
        for column, length in zip(chosen.T, self._lengths, strict=True):
            counts += reached[length][column]
            means += scores[length][column] / len(self._lengths)
        alarm = counts >= least_count(self._count, len(self._lengths), alpha)
        return float(np.mean(alarm & (means > floor)))

    def _own(self, length: int) -> Floats:
        rows = [_scores(one[: self._count], length) for one in self._honest]
        found: Floats = np.max(rows, axis=0)
        return found

    def _scaled(self, length: int) -> Floats:
        """Allowed scores at this length, in order."""
        if length not in self._kept:
            self._kept[length] = np.sort(self._own(length) * self._allowance)
        return self._kept[length]


def _scores(prompts: Distances, length: int) -> Floats:
    return np.array([fmean(one[:length]) for one in prompts])
