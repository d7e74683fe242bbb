"""Test C: evidence from sampled text that is valid at any time.

After each token, the evidence is the likelihood of all text so far under a mixture of alternatives,
divided by that under the honest numerics: E = mean over a of ∏ q_a(x) / max over h of ∏ p_h(x). For
each honest h it is at most a likelihood ratio, whose expectation is 1, as q_a sums to at most 1. So
by Ville's inequality (1939) an honest endpoint has E ≥ 1/alpha at any time with a probability of at
most alpha, whatever the reason for which one stops. Mixtures: Robbins (1970). E-processes: Ramdas
and others (2023).

All logarithms are natural; shapes: (tokens, hypotheses).
"""

import math
from typing import Any, TypeAlias

import numpy as np

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


def threshold(alpha: float) -> float:
    """What the log evidence has to reach for an alarm."""
    return -math.log(alpha)


def log_evidence(honest: Floats, alternatives: Floats) -> Floats:
    """The logarithm of E after each token, from the log probabilities of each token under each
    hypothesis. Shape: (tokens,).
    """
    return of_sums(np.cumsum(honest, axis=0), np.cumsum(alternatives, axis=0))


def of_sums(honest: Floats, alternatives: Floats) -> Floats:
    """The same from sums of log probabilities; hypotheses are the last axis."""
    highest = alternatives.max(axis=-1)
    spread = np.exp(alternatives - highest[..., None]).mean(axis=-1)
    found: Floats = highest + np.log(spread) - honest.max(axis=-1)
    return found


def anytime_p(highest: float) -> float:
    """The p-value that is valid at any time, of the highest log evidence that was seen."""
    return min(1.0, math.exp(-max(0.0, highest)))


class Simulated:
    """What the highest log evidence comes to where each of the hypotheses in turn is true, at the
    positions of a text: in each of `draws` runs a token is drawn at each position. Only sums are
    kept, so memory does not grow with the text.
    """

    def __init__(self, honest: int, alternatives: int, draws: int, seed: int = 0) -> None:
        self._honest = honest
        self._rng = np.random.default_rng(seed)
        shape = (1 + alternatives, draws)
        self._sums = np.zeros((*shape, honest + alternatives))
        self.highest: Floats = np.full(shape, -np.inf)
        """By hypothesis: the first of the honest ones, then the alternatives. (…, draws)"""

    def add(self, tables: Floats) -> None:
        """One position. `tables` are the log probabilities of its outcomes under each honest
        hypothesis and each alternative: (hypotheses, outcomes).
        """
        sources = [0, *range(self._honest, len(tables))]
        draws = self.highest.shape[1]
        for row, source in enumerate(sources):
            shares = np.cumsum(np.exp(tables[source]))
            at = np.searchsorted(shares, self._rng.random(draws) * shares[-1], "right")
            self._sums[row] += tables[:, np.minimum(at, len(shares) - 1)].T
        now = of_sums(self._sums[..., : self._honest], self._sums[..., self._honest :])
        np.maximum(self.highest, now, out=self.highest)
