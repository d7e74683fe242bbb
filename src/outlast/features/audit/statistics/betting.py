"""Evidence that grows over many audits of one endpoint: betting against the honest one.

Each audit, or each answer of sampled text, gives an e-value: a number from 0 whose expectation is
at most 1 where the endpoint is honest, whatever came before. A fraction of the wealth is bet on
each, so wealth stays a test martingale (Ville, 1939), and honest endpoints ever reach 1/alpha with
a probability of at most alpha. Several fractions are held at once, and their mean counts: small
ones find an endpoint that serves a part of the requests otherwise, where most e-values are below 1
(Kelly, 1956; Waudby-Smith and Ramdas, 2024).
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final

FRACTIONS: Final = (0.02, 0.1, 0.3, 1.0)
"""Guess: a part of 2 % of the requests is found in the end, and a whole change at once."""
_LEAST: Final = 1e-12
"""Of an e-value: who bets all on it has still something."""


def e_value(p: float) -> float:
    """The e-value of a p-value: the mean of κ·p^(κ-1) over all κ from 0 to 1 (Vovk and Wang, 2021).
    `p` must be above 0.
    """
    if not 0 < p <= 1:
        raise ValueError("a p-value lies above 0, and is at most 1")
    if p > 1 - 1e-6:  # the formula is 0/0 there; its limit is 1/2
        return 0.5
    log = math.log(p)
    return (1 - p + p * log) / (p * log * log)


def bet(wealth: Sequence[float], e: float) -> list[float]:
    """The logarithm of the wealth of each fraction after a bet on one more e-value."""
    gains = (1 + fraction * (max(e, _LEAST) - 1) for fraction in FRACTIONS)
    return [log + math.log(gain) for log, gain in zip(wealth, gains, strict=True)]


def log_wealth(wealth: Sequence[float]) -> float:
    """The logarithm of the mean wealth, which began as 1."""
    highest = max(wealth)
    return highest + math.log(fmean(math.exp(one - highest) for one in wealth))
