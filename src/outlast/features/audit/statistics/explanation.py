"""Which explanation fits divergent answers: shares of likelihood, and one for none of them.

An answer counts as one observation, however long it is: tokens of an answer are not independent,
and certainty that follows from them would be too great.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

import numpy as np

OTHER: Final = "none of these"
MIXED: Final = "a mix, by request"
_SCALES: Final = np.geomspace(1, 100, 24)
"""How many times as far as honest answers those of something else may be."""
_LEAST: Final = 1e-3
"""Nats: no honest numerics are closer."""


def by_distance(
    candidates: Mapping[str, Sequence[Sequence[float]]], honest: float
) -> dict[str, float]:
    """The shares of candidates, and of :data:`OTHER`, from the distances of all answers (with their
    positions, at least one) to each candidate. `honest`: how far honest answers are on average, in
    nats. Where a candidate is true, distances are taken to be exponential with that mean, which
    spread more than real ones; where none is, with a larger mean that is not known.
    """
    mean = max(_LEAST, honest)
    scores = {name: [fmean(one) for one in rows] for name, rows in sorted(candidates.items())}
    logs = {name: -sum(rows) / mean - len(rows) * math.log(mean) for name, rows in scores.items()}
    nearest = np.array(scores[max(logs, key=logs.__getitem__)])
    wider = mean * _SCALES
    of_scales = -nearest.sum() / wider - len(nearest) * np.log(wider)
    highest = float(of_scales.max())
    logs[OTHER] = highest + math.log(float(np.exp(of_scales - highest).mean()))
    return _shares(logs)


def by_likelihood(answers: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The shares of candidates from the log likelihood of each answer under each, and of
    :data:`MIXED`: each answer is from any one of them. :data:`OTHER` counts as much as the best, so
    that has at most one half: the text of a model in Q4_0 fits a high temperature best.
    """
    table = np.array(list(answers.values()), dtype=np.float64)
    highest = table.max(axis=0)
    mixed = highest + np.log(np.exp(table - highest).mean(axis=0))
    logs = {name: float(row.sum()) for name, row in zip(answers, table, strict=True)}
    logs[MIXED] = float(mixed.sum())
    logs[OTHER] = max(logs.values())
    return _shares(logs)


def _shares(logs: Mapping[str, float]) -> dict[str, float]:
    highest = max(logs.values())
    weights = {name: math.exp(one - highest) for name, one in logs.items()}
    total = math.fsum(weights.values())  # the same in any order
    return {name: weight / total for name, weight in weights.items()}
