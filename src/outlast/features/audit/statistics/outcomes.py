"""Distributions of one token: the reference's likeliest tokens, and one bucket for all others.

All hypotheses are about the same outcomes: the tokens of the reference's list that are text, and
the bucket. That an answer ends is no outcome: texts do not tell of it surely, so each distribution
is that of a token given that the answer goes on.
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
_LEAK: Final = 1e-3
"""What is left of the whole distribution where only the likeliest are sampled from: one token that
was read otherwise than it was written must not end all evidence."""
_LEAST: Final = 1e-12


class Listed(NamedTuple):
    """Tokens and log probabilities of one position, without their texts; `ends`: those of them
    that are no text. Shapes: (tokens,).
    """

    ids: "np.ndarray[Any, np.dtype[np.int32]]"
    logprobs: Floats
    ends: "np.ndarray[Any, np.dtype[np.bool_]]"

    @classmethod
    def of(cls, position: ScoredPosition) -> "Listed":
        return cls(
            np.array(position.ids, dtype=np.int32),
            np.array(position.logprobs, dtype=np.float64),
            np.array([not piece for piece in position.pieces], dtype=np.bool_),
        )


def outcomes(own: Listed) -> Floats:
    """Log probabilities under the reference: of each token of its list that is text, and of the
    bucket. Shape: (outcomes,).
    """
    return _given_on(np.exp(own.logprobs[~own.ends]), float(np.exp(own.logprobs[own.ends]).sum()))


def under(own: Listed, other: Listed, *, honest: bool) -> Floats:
    """Log probabilities of the outcomes of `own` under other weights or numerics. What their list
    lacks is bounded from above where they are `honest`, so that evidence against them is never too
    high; else it shares what the list leaves.
    """
    wanted = own.ids[~own.ends]
    order = np.argsort(other.ids)
    at = np.minimum(np.searchsorted(other.ids[order], wanted), len(order) - 1)
    known = other.ids[order][at] == wanted
    shares = np.where(known, np.exp(other.logprobs[order][at]), 0.0)
    ends = float(np.exp(other.logprobs[np.isin(other.ids, own.ids[own.ends])]).sum())
    left = max(_LEAST, 1 - float(shares.sum()) - ends)
    missing = int((~known).sum())
    if missing and honest:
        shares[~known] = min(left, float(np.exp(other.logprobs.min())))
        return _given_on(shares, ends, left)
    shares[~known] = left / (missing + 1)
    return _given_on(shares, ends)


def sampled_otherwise(own: Floats) -> dict[str, Floats]:
    """What :data:`TEMPERATURES` and :data:`TOP_P` make of the reference's outcomes."""
    found = {name: _normal(own / t) for name, t in TEMPERATURES.items()}
    order = np.argsort(-own)
    before = np.cumsum(np.exp(own[order])) - np.exp(own[order])
    for name, most in TOP_P.items():
        kept = np.zeros(len(own), dtype=np.bool_)
        kept[order[before < most]] = True
        shares = np.where(kept, np.exp(own), 0.0)
        found[name] = np.log((1 - _LEAK) * shares / shares.sum() + _LEAK * np.exp(own))
    return found


def index_of(own: Listed, token: int) -> int:
    """Which outcome a token is."""
    wanted = own.ids[~own.ends]
    found = np.nonzero(wanted == token)[0]
    return int(found[0]) if len(found) else len(wanted)


def names(changed: Sequence[str]) -> list[str]:
    """All alternatives, in the order of their log probabilities: those of other weights first."""
    return [*changed, *TEMPERATURES, *TOP_P]


def _given_on(shares: Floats, ends: float, rest: float | None = None) -> Floats:
    if rest is None:
        rest = 1 - float(shares.sum()) - ends
    found = np.append(shares, max(_LEAST, rest)) / max(_LEAST, 1 - ends)
    logs: Floats = np.log(np.maximum(found, _LEAST))
    return logs


def _normal(logs: Floats) -> Floats:
    highest = logs.max()
    found: Floats = logs - highest - np.log(np.exp(logs - highest).sum())
    return found
