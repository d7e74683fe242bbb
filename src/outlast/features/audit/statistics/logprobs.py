"""Test A: how far served log probabilities are from those of the reference.

At each position the reference's likeliest tokens are looked up in the list that the endpoint
served. What the list lacks is less likely than its last entry: then the distance is at least that
from the reference to the last entry, and that bound is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

TOP: Final = 5
"""Tokens of the reference that are compared at a position."""


@dataclass(frozen=True, slots=True)
class LogprobDistance:
    """Of one position or of a prompt: `mean` absolute differences of log probabilities in nats,
    over `compared` tokens, of which `censored` were known by a bound alone.
    """

    mean: float
    compared: int
    censored: int


def position_distance(
    reference: Sequence[tuple[bytes, float]], served: Mapping[bytes, float], top: int = TOP
) -> LogprobDistance:
    """The distance at one position. `reference` are (token's bytes, log probability in nats), the
    likeliest first; `served` is the list of the endpoint, not empty.
    """
    if not served or not reference:
        raise ValueError("a position without probabilities")
    bound = min(served.values())
    total, censored = 0.0, 0
    compared = reference[:top]
    for token, logprob in compared:
        if token in served:
            total += abs(logprob - served[token])
        else:
            total += max(0.0, logprob - bound)
            censored += 1
    return LogprobDistance(total / len(compared), len(compared), censored)
