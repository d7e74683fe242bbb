"""What an endpoint's answers come to beside the reference: the distances of each question."""

from collections.abc import Sequence
from typing import Final

from outlast.core.cancel import Cancel
from outlast.engines.scoring.base import ScoredPosition, Scorer
from outlast.features.audit.evidence import GREEDY, LOGPROBS, distances_of
from outlast.features.audit.gathering import KEEP, Lengths, calibrate, compared, margin
from outlast.features.audit.gathering import prompt_tokens as tokens_of
from outlast.features.audit.reference.reference import OWN, Reference

TOKENS: Final = {LOGPROBS: 12, GREEDY: 16}
"""Of an answer."""
LISTED: Final = 20
Rows = list[list[float]]


def audited(test: str, reference: Reference, scorer: Scorer, questions: Sequence[str]) -> Rows:
    """The distances of the endpoint's own answers, of the questions that it answers at all."""
    found = []
    for number, question in enumerate(questions):
        asked = tokens_of(reference, question)
        made = _answer(test, scorer, asked, number)
        if made:
            own = reference.score(OWN, asked, [one.token for one in made], KEEP)
            found.append(_distances(test, own, made))
    return found


def honest(test: str, reference: Reference, questions: Sequence[str]) -> Rows:
    """The distances of the calibration, which an audit makes without an endpoint."""
    made = calibrate(test, reference, questions, Lengths(TOKENS[test], LISTED))
    [rows] = made["honest"].values()
    return [list(row) for row in rows]


def _answer(test: str, scorer: Scorer, asked: list[int], seed: int) -> list[ScoredPosition]:
    """Without a token that ends it: endpoints do not tell of that."""
    how = {"temperature": 0.0} if test == GREEDY else {"temperature": 1.0}
    keep = KEEP if test == GREEDY else LISTED
    made = scorer.generate(asked, TOKENS[test], keep, Cancel(), seed=seed, **how)
    return made[:-1] if len(made) < TOKENS[test] else made


def _distances(
    test: str, own: Sequence[ScoredPosition], made: Sequence[ScoredPosition]
) -> list[float]:
    if test == GREEDY:
        return distances_of(test, [margin(one) for one in own])
    return distances_of(
        test,
        [
            compared(a, dict(zip(b.pieces, b.logprobs, strict=True)))
            for a, b in zip(own, made, strict=True)
        ],
    )
