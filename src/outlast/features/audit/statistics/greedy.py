"""Test B: how much better than each served token the reference finds its own first choice.

The endpoint answers at temperature 0. The reference reads the same text, and the margin at a
position is its highest logit less that of the served token: 0 where both agree. A difference of
logits is one of log probabilities. Source: Token-DiFR (2025), there with shared sampling noise.
"""

from typing import Final

CLIP: Final = 1.0
"""Nats that a position counts at most: one disagreement is no more than a disagreement."""


def clipped_margin(highest: float, chosen: float | None, clip: float = CLIP) -> float:
    """The margin of a position in nats, from 0 to `clip`. `chosen` of None: the token is none of
    those that the reference kept, and counts `clip`.
    """
    if chosen is None:
        return clip
    return min(clip, max(0.0, highest - chosen))
