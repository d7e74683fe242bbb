"""Distributions of the tests, as logarithms: a p-value of 1e-400 is no 0.

All p-values are one-sided and given as natural logarithms, at most 0. Sources: the incomplete beta
function by its continued fraction (Lentz; Numerical Recipes §6.4), Student's t as the distribution
of Spearman's rho (as scipy.stats.spearmanr takes it), Fisher's and Holm's methods.
"""

import math
from collections.abc import Sequence
from typing import Final

_TINY: Final = 1e-300
_PRECISION: Final = 1e-16
_MOST_STEPS: Final = 20_000
_LN10: Final = math.log(10.0)


def log_beta_tail(x: float, a: float, b: float) -> float:
    """The logarithm of the regularised incomplete beta function I_x(a, b); 0 ≤ x ≤ 1, a, b > 0."""
    if x <= 0.0:
        return -math.inf
    if x >= 1.0:
        return 0.0
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return min(0.0, front + math.log(_fraction(x, a, b) / a))
    other = front + math.log(_fraction(1.0 - x, b, a) / b)
    return math.log1p(-math.exp(min(other, 0.0))) if other < 0.0 else -math.inf


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function."""

    def away(value: float) -> float:
        return value if abs(value) > _TINY else _TINY

    c, d = 1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0))
    found = d
    for m in range(1, _MOST_STEPS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / away(1.0 + step * d)
            c = away(1.0 + step / c)
            found *= d * c
        if abs(d * c - 1.0) < _PRECISION:
            break
    return found


def spearman(order: Sequence[int]) -> float:
    """Spearman's rho of a permutation of 0 … n-1 with the identity; n ≥ 2."""
    n = len(order)
    distance = sum((place - to) ** 2 for place, to in enumerate(order))
    return 1.0 - 6.0 * distance / (n * (n * n - 1.0))


def log_p_spearman(rho: float, n: int) -> float:
    """The chance of so large a rho, or a larger one, for a random permutation of n ≥ 3: by
    Student's t, and at least 1 / n!, which is that of the identity.
    """
    floor = -math.lgamma(n + 1.0)
    if rho >= 1.0:
        return floor
    if rho <= -1.0:
        return 0.0
    half = log_beta_tail(1.0 - rho * rho, (n - 2) / 2.0, 0.5) - math.log(2.0)
    return max(half, floor) if rho > 0.0 else math.log1p(-math.exp(half))


def log_p_signs(positive: int, count: int) -> float:
    """The chance of `positive` heads or more of `count` fair coins: exact."""
    if positive <= 0:
        return 0.0
    terms = [
        math.lgamma(count + 1.0) - math.lgamma(k + 1.0) - math.lgamma(count - k + 1.0)
        for k in range(positive, count + 1)
    ]
    top = max(terms)
    total = top + math.log(sum(math.exp(term - top) for term in terms))
    return min(0.0, total - count * math.log(2.0))


def log_p_fisher(log_ps: Sequence[float]) -> float:
    """Fisher's method: one p-value of independent ones. The tail of chi squared with twice as many
    degrees of freedom is a finite sum.
    """
    half = -sum(log_ps)
    if half <= 0.0:
        return 0.0
    terms = [k * math.log(half) - math.lgamma(k + 1.0) for k in range(len(log_ps))]
    top = max(terms)
    return min(0.0, top - half + math.log(sum(math.exp(term - top) for term in terms)))


def holm(log_ps: Sequence[float], family: int) -> list[float]:
    """Holm's adjustment of the smallest p-values of a family of `family` tests: those that are not
    given were not made, and count as 1. In the order that they came in.
    """
    adjusted = [0.0] * len(log_ps)
    highest = -math.inf
    for place, which in enumerate(sorted(range(len(log_ps)), key=lambda one: log_ps[one])):
        highest = max(highest, log_ps[which] + math.log(max(1, family - place)))
        adjusted[which] = min(0.0, highest)
    return adjusted


def log10(log_p: float) -> float:
    """The same to the base of 10."""
    return log_p / _LN10


def written(log_p: float) -> str:
    """For people: ``0.034``, or ``1e-215``."""
    if log_p > math.log(1e-3):
        return f"{math.exp(log_p):.3f}"
    if log_p == -math.inf:
        return "0"
    exponent = math.floor(log10(log_p))
    return (
        f"{math.exp(log_p - exponent * _LN10):.0f}e{exponent}".replace("10e", "1e", 1)
        if (math.exp(log_p - exponent * _LN10) < 9.5)
        else f"1e{exponent + 1}"
    )
