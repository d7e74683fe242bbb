"""What else a divergent endpoint may serve: the distances of its answers to each candidate."""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from outlast.engines.scoring.base import ScoredPosition
from outlast.features.audit.evidence import GREEDY, LOGPROBS, distances_of
from outlast.features.audit.gathering import KEEP, compared, margin
from outlast.features.audit.reference.reference import OWN, Reference
from outlast.features.audit.statistics.outcomes import TEMPERATURES


def candidates(
    test: str, reference: Reference, answers: Sequence[tuple[list[int], list[int], Any]]
) -> dict[str, list[list[float]]]:
    """By candidate, the distances of each answer at its positions: of the weights as they are, of
    each change, and for log probabilities of other temperatures. `answers` are the tokens of a
    prompt, those of the served text, and the positions that were compared, at least one.
    """
    found: dict[str, list[list[float]]] = {}
    for change in (OWN, *reference.alternatives):
        scored = [reference.score(change, prompt, text, KEEP) for prompt, text, _ in answers]
        for name, sampled in _at_temperatures(test, change, scored).items():
            found[name] = [
                _distances(test, one, positions)
                for one, (_, _, positions) in zip(sampled, answers, strict=True)
            ]
    return found


def _at_temperatures(
    test: str, change: str, scored: Sequence[Sequence[ScoredPosition]]
) -> dict[str, list[list[ScoredPosition]]]:
    found = {change: [list(one) for one in scored]}
    if test == LOGPROBS and change == OWN:
        for name, temperature in TEMPERATURES.items():
            found[name] = [[tempered(at, temperature) for at in one] for one in scored]
    return found


def tempered(position: ScoredPosition, temperature: float) -> ScoredPosition:
    """The list as an endpoint has it that tells probabilities after temperature; what the list
    lacks counts as one token.
    """
    rest = max(1e-9, 1 - sum(map(math.exp, position.logprobs)))
    scaled = [one / temperature for one in position.logprobs]
    total = math.log(sum(map(math.exp, scaled)) + math.exp(math.log(rest) / temperature))
    return replace(position, logprobs=array("d", (one - total for one in scaled)))


def _distances(
    test: str, scored: Sequence[ScoredPosition], positions: Sequence[Mapping[str, Any]]
) -> list[float]:
    if test == GREEDY:
        return distances_of(test, [margin(one) for one in scored[: len(positions)]])
    rows = []
    for one in positions:
        served = {bytes.fromhex(piece): logprob for piece, logprob in one["served"]}
        rows.append(compared(scored[one["at"]], served))
    return distances_of(test, rows)
