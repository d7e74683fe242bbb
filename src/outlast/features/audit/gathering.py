"""Puts what an endpoint served beside what the reference says of the same text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from outlast.engines.base import ChatMessage
from outlast.engines.scoring.base import ScoredPosition, TextToken
from outlast.features.audit.asking.answers import ServedAnswer, ServedToken
from outlast.features.audit.evidence import GREEDY, distances_of
from outlast.features.audit.reference.reference import OWN, Reference
from outlast.features.audit.statistics.logprobs import TOP

KEEP: Final = 64
"""Likeliest tokens of the reference that are kept at a position, for the tests A and B;
for sampled text see :mod:`~outlast.features.audit.sampling`."""
FOR_POWER: Final = 8
"""Prompts of the calibration that alternatives are tried on. A guess: their distances are far from
honest ones, or the power is small anyway."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The evidence of one prompt; `dropped`: served tokens that could not be compared;
    `tokens`: those of the text that was scored.
    """

    positions: list[dict[str, Any]]
    dropped: int
    tokens: Sequence[int] = ()


def prompt_tokens(reference: Reference, prompt: str) -> list[int]:
    """The tokens of a prompt under the model's chat template."""
    return [token.id for token in reference.render([ChatMessage("user", prompt)])]


def gather(
    test: str, reference: Reference, prompt: str, answer: ServedAnswer, most: int
) -> Gathered:
    """The evidence of an answer, of its first `most` tokens."""
    if test == GREEDY:
        return gather_greedy(reference, prompt_tokens(reference, prompt), answer.text, most)
    own = reference.tokenize(answer.text)[:most]
    served = (answer.tokens or ())[:most]
    same = aligned(own, served)
    text = [token.id for token in own[:same]]
    scored = reference.score(OWN, prompt_tokens(reference, prompt), text, KEEP)
    usual = max((len(one.top) for one in served), default=0)
    positions = [
        {"at": at, **compared(one, other.top)}
        for at, (one, other) in enumerate(zip(scored, served, strict=False))
        if len(other.top) >= min(usual, TOP)
    ]
    return Gathered(positions, len(served) - len(positions), text)


def gather_greedy(reference: Reference, prompt: list[int], said: str, most: int) -> Gathered:
    """The evidence of a text that was said at temperature 0, of its first `most` tokens."""
    own = reference.tokenize(said)[:most]
    # An answer that is cut may end within a token.
    text = [token.id for token in own[:-1]]
    scored = reference.score(OWN, prompt, text, KEEP)
    kept = scored[: retokenised(own, scored)]
    return Gathered([margin(one) for one in kept], len(own) - len(kept), text)


def aligned(own: Sequence[TextToken], served: Sequence[ServedToken]) -> int:
    """How many tokens from the start are the same in the served text and in the reference's own
    tokens of it. After the first that is not, contexts differ.
    """
    for number, (one, other) in enumerate(zip(own, served, strict=False)):
        if one.piece != other.piece:
            return number
    return min(len(own), len(served))


def retokenised(own: Sequence[TextToken], scored: Sequence[ScoredPosition]) -> int:
    """How many positions from the start are sound: at the next one the reference's first choice is
    where the served text goes on, but as a shorter token. The endpoint may have taken that one,
    and only the text, read anew, has other tokens.
    """
    for number, position in enumerate(scored):
        first = position.pieces[0]
        rest = b"".join(token.piece for token in own[number : number + len(first) + 1])
        if position.ids[0] != position.token and first and rest.startswith(first):
            return number
    return len(scored)


def margin(position: ScoredPosition) -> dict[str, Any]:
    """The evidence of a position for the test of greedy text."""
    return {"highest": position.logprobs[0], "chosen": position.chosen}


def compared(position: ScoredPosition, served: Mapping[bytes, float]) -> dict[str, Any]:
    """The evidence of a position for the test of log probabilities."""
    own = [
        (piece.hex(), logprob)
        for piece, logprob in zip(position.pieces, position.logprobs, strict=True)
        if piece
    ]
    return {
        "reference": [list(one) for one in own[:TOP]],
        "served": [[piece.hex(), logprob] for piece, logprob in served.items()],
    }


class Lengths(NamedTuple):
    """Tokens of an answer, and of a list of likeliest ones."""

    answer: int
    listed: int


def calibrate(
    test: str, reference: Reference, prompts: Sequence[str], lengths: Lengths
) -> dict[str, Any]:
    """The distances at each position of honest prompts, and of alternatives (of the first
    :data:`FOR_POWER` prompts): what an endpoint would get that serves so, with answers and lists of
    these `lengths`.

    One text is made for each prompt, as the reference goes on, and each change reads it at once.
    For greedy text the token that a change would have said is compared at each position of that
    text, and not in a text of its own: what follows after both part is as another prompt.
    """
    asked = [prompt_tokens(reference, prompt) for prompt in prompts]
    texts = [_own_text(test, reference, prompt, lengths.answer) for prompt in asked]
    others = [name for name in reference.honest if name != OWN] or [OWN]

    def distances(change: str, count: int) -> list[list[float]]:
        rows = zip(asked[:count], texts[:count], strict=True)
        found = [_distances(test, reference, change, one, lengths.listed) for one in rows]
        return [one for one in found if one]

    return {
        "honest": {name: distances(name, len(prompts)) for name in others},
        "alternatives": {name: distances(name, FOR_POWER) for name in reference.alternatives},
    }


def _own_text(
    test: str, reference: Reference, prompt: list[int], count: int
) -> list[ScoredPosition]:
    """What the reference answers, without a token that ends it: endpoints do not tell of that."""
    how = {"temperature": 0.0, "seed": 0} if test == GREEDY else {"temperature": 1.0, "seed": 1}
    made = reference.generate(OWN, prompt, count, KEEP, **how)  # type: ignore[arg-type]
    return made[:-1] if len(made) < count else made


def _distances(
    test: str,
    reference: Reference,
    change: str,
    asked: tuple[list[int], list[ScoredPosition]],
    listed: int,
) -> list[float]:
    prompt, own = asked
    other = reference.score(change, prompt, [one.token for one in own], KEEP)
    pairs = list(zip(own, other, strict=True))
    if test == GREEDY:
        return distances_of(test, [margin(replace(a, token=b.ids[0])) for a, b in pairs])
    return distances_of(test, [compared(a, _served(b, listed)) for a, b in pairs])


def _served(position: ScoredPosition, listed: int) -> dict[bytes, float]:
    found: dict[bytes, float] = {}
    for piece, logprob in list(zip(position.pieces, position.logprobs, strict=True))[:listed]:
        if piece:
            found.setdefault(piece, logprob)
    return found
