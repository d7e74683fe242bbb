"""What a volunteer's disk holds: what its peers hold rarest. Each decides by itself, at random, so
that not all take the same; pure functions, which the simulation calls too.

How many copies there are is an estimate: each node passes on which holders of a manifest it has
heard of, and how long ago (`view.merged`).
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from outlast.features.durability.copies.tuning import TUNING, Tuning

_RARER: Final = 4.0
"""With one copy more, the chance to be taken first is so many times smaller."""
_APART: Final = 2
"""What is dropped has so many copies more than what it makes room for: so each change makes copies
more even, and none is taken back."""
_HASTE: Final = (20.0, 20.0, 5.0, 1.0)
"""By how many copies there are: how many times more nodes may take one than copies are lacking. Of
them few have room; and where one copy is left, too many takers are better than none."""
_LOOKED_AT: Final = 200
"""Models that a step considers, by chance: so it is quick, and each node looks at others."""


@dataclass(frozen=True, slots=True)
class Model:
    """A manifest as a volunteer knows it: `size` bytes, so many `copies` on all nodes, this one
    included.
    """

    manifest: str
    size: int
    copies: int


@dataclass(frozen=True, slots=True)
class Known:
    """What a volunteer decides by: `offers` are what it does not hold and can have; `droppable`
    what it may drop: it is none of the `keepers`; of its budget `free` bytes are left. About so
    many nodes, the `contenders`, see the same and decide like this one.
    """

    offers: Sequence[Model]
    droppable: Sequence[Model]
    free: int
    contenders: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What to take, after dropping what makes room for it; None: nothing is to be done."""

    take: Model | None = None
    drop: tuple[Model, ...] = ()


NOTHING: Final = Choice()


def decide(known: Known, random: Random, tuning: Tuning = TUNING) -> Choice:
    """The next step of a volunteer. The rarest is taken with the highest chance, and what is common
    makes room for it. All in all about as many nodes take a model as it lacks copies.
    """
    offers = known.offers
    if len(offers) > _LOOKED_AT:
        offers = random.sample(offers, _LOOKED_AT)
    rare = [one for one in offers if one.copies < tuning.enough]
    fitting = [one for one in rare if one.size <= known.free]
    if fitting:
        wanted = _one_of(fitting, random)
        lacking = tuning.enough - wanted.copies
        if _is_our_turn(wanted, lacking * len(fitting), known.contenders, random):
            return Choice(wanted)
    spare = [one for one in known.droppable if one.copies >= tuning.spare]
    return _exchange(rare, spare, known, random) if rare and spare else NOTHING


def _is_our_turn(wanted: Model, lacking: float, contenders: int, random: Random) -> bool:
    haste = _HASTE[min(wanted.copies, len(_HASTE) - 1)]
    return random.random() * max(1, contenders) < lacking * haste


def _one_of(models: Sequence[Model], random: Random) -> Model:
    """A race: each has an exponential clock that is faster for what is rarer, and larger: small
    models find room anywhere.
    """
    best, first = models[0], float("inf")
    for one in models:
        at = random.expovariate(1.0) * _RARER**one.copies / (one.size * one.size + 1)
        if at < first:
            best, first = one, at
    return best


def _exchange(
    rare: Sequence[Model], spare: Sequence[Model], known: Known, random: Random
) -> Choice:
    most, free = max(one.copies for one in spare), known.free
    room = free + sum(one.size for one in spare)
    rare = [one for one in rare if one.copies + _APART <= most and one.size <= room]
    if not rare:
        return NOTHING
    wanted = _one_of(rare, random)
    lacking = (most - wanted.copies) / 2
    if not _is_our_turn(wanted, lacking * len(rare), known.contenders, random):
        return NOTHING
    drop: list[Model] = []
    for one in sorted(spare, key=lambda one: (-one.copies, one.size, one.manifest)):
        if free < wanted.size and wanted.copies + _APART <= one.copies:
            drop.append(one)
            free += one.size
    return Choice(wanted, tuple(drop)) if wanted.size <= free else NOTHING


def keepers(manifest: str, holders: Collection[str], tuning: Tuning = TUNING) -> frozenset[str]:
    """Which of the known `holders` of a manifest never drop it: all that see the same agree on
    them, so that it does not matter if all the others drop it at once.
    """
    ranked = sorted(
        holders, key=lambda one: hashlib.sha256(f"keep {one} {manifest}".encode()).digest()
    )
    return frozenset(ranked[: tuning.spare - 1])
