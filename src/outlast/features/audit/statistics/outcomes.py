"""Distributions of one token: over the tokens that the reference finds likely.

All hypotheses are about the same outcomes, given that the token is one of them. A token that is
none says nothing: an answer that ends, of which texts do not tell surely; and unlikely tokens. Many
of those come about because a text, read anew, has other tokens than it was written in: they would
be evidence against honest endpoints. The expectation of a likelihood ratio stays 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from outlast.engines.scoring.base import ScoredPosition

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

TEMPERATURES: Final[Mapping[str, float]] = {
    f"temperature {t:g}": t for t in (0.7, 0.9, 0.95, 1.05, 1.1, 1.2)
}
"""Alternatives that need no other weights: an endpoint that samples at another temperature."""
TOP_P: Final[Mapping[str, float]] = {"top-p 0.95": 0.95, "top-p 0.9": 0.9}
"""And one that samples from the likeliest tokens alone."""
TOP_K: Final[Mapping[str, int]] = {"top-k 40": 40, "top-k 20": 20}
MIN_P: Final[Mapping[str, float]] = {"min-p 0.05": 0.05}
"""Those that are not as likely as this share of the likeliest are left out."""
_LEAK: Final = 1e-3
"""What is left of the whole distribution where only the likeliest are sampled from: one token that
was read otherwise than it was written must not end all evidence."""
LIKELY: Final = 3e-4
"""The probability that a token must have in the reference. A guess: tokens of a text that was
written in other ones have mostly less than 1e-5."""
_LEAST: Final = 1e-12

SAMPLING: Final = (*TEMPERATURES, *TOP_P, *TOP_K, *MIN_P)


class LikelyTokens(NamedTuple):
    """Tokens and log probabilities of one position, without their texts; `ends`: those of them
    that are no text. Shapes: (tokens,).
    """

    ids: "np.ndarray[Any, np.dtype[np.int32]]"
    logprobs: Floats
    ends: "np.ndarray[Any, np.dtype[np.bool_]]"

    @classmethod
    def of(cls, position: ScoredPosition) -> "LikelyTokens":
        return cls(
            np.array(position.ids, dtype=np.int32),
            np.array(position.logprobs, dtype=np.float64),
            np.array([not piece for piece in position.pieces], dtype=np.bool_),
        )

    @property
    def likely(self) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Which of them are outcomes; at least one is."""
        found: np.ndarray[Any, np.dtype[np.bool_]]
        found = ~self.ends & (self.logprobs >= np.log(LIKELY))
        if not found.any():
            found[0] = True
        return found


def outcomes(own: LikelyTokens) -> Floats:
    """Log probabilities of the outcomes under the reference. Shape: (outcomes,)."""
    return _normal(own.logprobs[own.likely])


def under(own: LikelyTokens, other: LikelyTokens, *, honest: bool) -> Floats:
    """Log probabilities of the outcomes of `own` under other weights or numerics. An outcome that
    their list lacks has at most the probability of its last entry. Where they are `honest`, that
    counts as a bound from above, so that evidence against them is never too high.
    """
    wanted = own.ids[own.likely]
    order = np.argsort(other.ids)
    at = np.minimum(np.searchsorted(other.ids[order], wanted), len(order) - 1)
    known = other.ids[order][at] == wanted
    shares = np.where(known, np.exp(other.logprobs[order][at]), np.exp(other.logprobs.min()))
    whole = shares[known].sum() if honest else shares.sum()
    logs: Floats = np.log(np.maximum(shares, _LEAST)) - np.log(max(whole, _LEAST))
    return logs


def sampled_otherwise(own: Floats) -> dict[str, Floats]:
    """What other sampling makes of the reference's outcomes, by the names of :data:`SAMPLING`."""
    found = {name: _normal(own / t) for name, t in TEMPERATURES.items()}
    order = np.argsort(-own)
    before = np.cumsum(np.exp(own[order])) - np.exp(own[order])
    cuts = {name: order[before < most] for name, most in TOP_P.items()}
    cuts |= {name: order[:most] for name, most in TOP_K.items()}
    cuts |= {name: np.nonzero(own >= own.max() + np.log(p))[0] for name, p in MIN_P.items()}
    for name, cut in cuts.items():
        kept = np.zeros(len(own), dtype=np.bool_)
        kept[cut] = True
        shares = np.where(kept, np.exp(own), 0.0)
        found[name] = np.log((1 - _LEAK) * shares / shares.sum() + _LEAK * np.exp(own))
    return found


def index_of(own: LikelyTokens, token: int) -> int | None:
    """Which outcome a token is; None for one that is none."""
    found = np.nonzero(own.ids[own.likely] == token)[0]
    return int(found[0]) if len(found) else None


def names(changed: Sequence[str]) -> list[str]:
    """All alternatives, in the order of their log probabilities: those of other weights first."""
    return [*changed, *SAMPLING]


def _normal(logs: Floats) -> Floats:
    highest = logs.max()
    found: Floats = logs - highest - np.log(np.exp(logs - highest).sum())
    return found
