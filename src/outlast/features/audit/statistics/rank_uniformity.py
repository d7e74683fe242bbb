"""Test C2: rank-based uniformity (RUT, Zhu et al. 2025, arXiv 2506.06975).

For each prompt the endpoint gives one sample, and the reference many. The percentile of the served
sample's score among the reference's is uniform where both sample alike; ties are broken by chance.
The percentiles of all prompts are compared with the uniform distribution by the statistic of
Cramér and von Mises. The score is the mean logarithm of the rank that the reference gives a token.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

_TERMS: Final = 60
_FEW: Final = 200
_SIMULATED: Final = 9999
_NODES: Final = 4001
_REACH: Final = 12.0


def log_rank(ranks: Sequence[int]) -> float:
    """The score of a text: `ranks` are those of its tokens in the reference, from 1."""
    return float(np.mean(np.log(np.asarray(ranks, dtype=np.float64))))


def percentile(served: float, own: Sequence[float], uniform: float) -> float:
    """Where the `served` score lies among the reference's `own`, from 0 to 1. `uniform` is a draw
    from [0, 1]: it places the score among those that equal it.
    """
    scores = np.asarray(own, dtype=np.float64)
    below, equal = int((scores < served).sum()), int((scores == served).sum())
    return (below + uniform * (equal + 1)) / (len(own) + 1)


def cramer_von_mises(percentiles: Sequence[float]) -> float:
    """The statistic W² of the distance from the uniform distribution on [0, 1]."""
    ordered = np.sort(np.asarray(percentiles, dtype=np.float64))
    count = len(ordered)
    expected = (2 * np.arange(1, count + 1) - 1) / (2 * count)
    return float(1 / (12 * count) + ((ordered - expected) ** 2).sum())


def uniformity_p_value(percentiles: Sequence[float]) -> float:
    """The p-value of W²: by simulation of uniform values for up to :data:`_FEW` of them, always of
    the same ones, and by its limit for more.
    """
    count = len(percentiles)
    found = cramer_von_mises(percentiles)
    if count > _FEW:
        return 1 - limit_distribution(found)
    drawn = np.sort(np.random.default_rng(count).random((_SIMULATED, count)), axis=1)
    expected = (2 * np.arange(1, count + 1) - 1) / (2 * count)
    values = 1 / (12 * count) + ((drawn - expected) ** 2).sum(axis=1)
    return float((1 + (values >= found).sum()) / (_SIMULATED + 1))


def limit_distribution(value: float) -> float:
    """P(W² ≤ `value`) for infinitely many values: the series of Anderson and Darling (1952)."""
    if value <= 0:
        return 0.0
    total = 0.0
    for k in range(_TERMS):
        y = 4 * k + 1
        q = y * y / (16 * value)
        if 2 * q > 700:
            break
        factor = math.exp(math.lgamma(k + 0.5) - math.lgamma(k + 1))
        total += factor * math.sqrt(y) * math.exp(-q) * _bessel(0.25, q)
    return min(1.0, float(total / (math.pi**1.5 * math.sqrt(value))))


def _bessel(order: float, at: float) -> float:
    """K of this order: the integral of exp(-at cosh t) cosh(order t) from 0, by the trapezoidal
    rule, which converges geometrically here.
    """
    t = np.linspace(0.0, _REACH + max(0.0, -math.log(at)), _NODES)
    values = np.exp(-at * np.cosh(t)) * np.cosh(order * t)
    step = float(t[1] - t[0])
    return float((values.sum() - values[0] / 2 - values[-1] / 2) * step)
