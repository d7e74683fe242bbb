"""Thresholds without assumptions: scores of prompts are compared with those of honest prompts.

Split conformal prediction (Vovk et al., 2005): where the scores of the audited prompts and of the
calibration are exchangeable, the rank of an audited score among the calibration's is uniform. For
one prompt that is the conformal p-value; for several it is the exact distribution of the rank sum
(Mann and Whitney, 1947). Ties count against the alarm, so the p-value is never too small.
"""

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


def exceedances(calibration: Sequence[float], audited: Sequence[float]) -> int:
    """In how many of all pairs the audited score is strictly higher."""
    ordered = np.sort(np.asarray(calibration, dtype=np.float64))
    return int(np.searchsorted(ordered, np.asarray(audited, dtype=np.float64), "left").sum())


def tail(calibrated: int, audited: int, count: int) -> float:
    """P(U ≥ `count`) for so many prompts of each kind, exactly."""
    if calibrated < 1 or audited < 1:
        raise ValueError("a test without prompts")
    return float(_tails(calibrated, audited)[min(max(count, 0), calibrated * audited + 1)])


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


@functools.lru_cache(maxsize=64)
def _tails(calibrated: int, audited: int) -> Floats:
    """P(U ≥ u) for u from 0 to the number of pairs and 1 more. The generating function of U is
    a Gaussian binomial coefficient; all steps are sums of probabilities, none of which is negative.
    """
    most = calibrated * audited
    # One row a number of calibration prompts: the last prompt of an order is either kind.
    rows = [np.zeros(most + 1) for _ in range(calibrated + 1)]
    for row in rows:
        row[0] = 1.0
    for m in range(1, audited + 1):
        before = rows
        rows = [before[0]]
        for n in range(1, calibrated + 1):
            # The highest is an audited one, and exceeds all n; or it is one of the calibration.
            shifted = np.concatenate((np.zeros(n), before[n][: most + 1 - n]))
            rows.append(shifted * (m / (m + n)) + rows[n - 1] * (n / (m + n)))
    counts: Floats = np.append(np.cumsum(rows[calibrated][::-1])[::-1], 0.0)
    return np.minimum(counts, 1.0)
