"""Gathers the evidence of sampled text: each token's probability under each hypothesis."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from outlast.features.audit.reference.reference import OWN, Reference
from outlast.features.audit.statistics.eprocess import Simulated
from outlast.features.audit.statistics.outcomes import (
    LikelyTokens,
    index_of,
    names,
    outcomes,
    sampled_otherwise,
    under,
)

KEEP_SAMPLED: Final = 512
"""Likeliest tokens that are kept at a position. A guess: those with a probability of 3e-4 are fewer
at nearly all."""
MOST_SAMPLED: Final = 20_000
"""Tokens of all answers that are compared: their distributions take 30 KB each."""
DRAWS: Final = 200
"""Runs for the power. The standard error of a power of 90 % is then 2 %."""


@dataclass(frozen=True, slots=True)
class SampledText:
    """The tokens of a prompt, and of an answer to it; `lists`: for each hypothesis of the
    reference, the distribution before each token.
    """

    prompt: list[int]
    tokens: list[int]
    lists: dict[str, list[LikelyTokens]] = field(default_factory=dict)


def read_sampled(reference: Reference, prompt: list[int], said: str, most: int) -> SampledText:
    """The first `most` tokens of an answer, as the reference reads it, without the last one, which
    may have been cut.
    """
    tokens = [token.id for token in reference.tokenize(said)[:most]]
    return SampledText(prompt, tokens[:-1])


def compare_sampled(
    reference: Reference, texts: Sequence[SampledText]
) -> tuple[list[list[dict[str, Any]]], dict[str, Any]]:
    """The positions of each text, and what the highest log evidence would be under each
    hypothesis, as a report has them. Each change of the weights is loaded once. Tokens that the
    reference finds unlikely are left out.
    """
    for change in (*reference.honest, *reference.alternatives):
        for text in texts:
            scored = reference.score(change, text.prompt, text.tokens, KEEP_SAMPLED)
            text.lists[change] = [LikelyTokens.of(one) for one in scored]
    others = names(reference.alternatives)
    simulated = Simulated(len(reference.honest), len(others), DRAWS)
    rows = [
        [
            found
            for at in range(len(text.tokens))
            if (found := _position(reference, text, at, simulated)) is not None
        ]
        for text in texts
    ]
    honest, *alternatives = (
        [[round(float(value), 4) for value in row]] for row in simulated.highest
    )
    return rows, {
        "honest": {OWN: honest},
        "alternatives": dict(zip(others, alternatives, strict=True)),
    }


def _position(
    reference: Reference, text: SampledText, at: int, simulated: Simulated
) -> dict[str, Any] | None:
    """The log probabilities of a token under each hypothesis; None for an unlikely one."""
    own = text.lists[OWN][at]
    index = index_of(own, text.tokens[at])
    if index is None:
        return None
    base = outcomes(own)
    honest = [
        base if name == OWN else under(own, text.lists[name][at], honest=True)
        for name in reference.honest
    ]
    others = [under(own, text.lists[name][at], honest=False) for name in reference.alternatives]
    tables = np.array([*honest, *others, *sampled_otherwise(base).values()])
    simulated.add(tables)
    found = [round(float(value), 6) for value in tables[:, index]]
    count = len(honest)
    return {"honest": found[:count], "alternatives": found[count:]}
