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
"""Models that a step considers."""


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
    """What a volunteer decides by: `offers` are what other nodes hold, and of those it holds `mine`
    already; `droppable` is what it may drop: it is none of the `keepers`; of its budget `free`
    bytes are left. About so many nodes, the `contenders`, see the same and decide like this one.
    """

    offers: Sequence[Model]
    mine: Collection[str]
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
    looked_at = _window(known.offers, random)
    share = len(known.offers) / max(1, len(looked_at))
    rare = [o for o in looked_at if o.copies < tuning.enough and o.manifest not in known.mine]
    fitting = [one for one in rare if one.size <= known.free]
    if fitting:
        wanted = _one_of(fitting, random)
        lacking = (tuning.enough - wanted.copies) * len(fitting) * share
        if _is_our_turn(wanted, lacking, known, random):
            return Choice(wanted)
    spare = [one for one in known.droppable if one.copies >= tuning.spare]
    if not rare or not spare:
        return NOTHING
    return _exchange(_Exchange(rare, spare, share), known, random)


def _window(offers: Sequence[Model], random: Random) -> Sequence[Model]:
    """Some of them, from a place by chance: so a step is quick, and each node looks at others."""
    if len(offers) <= _LOOKED_AT:
        return offers
    start = random.randrange(len(offers))
    found = offers[start : start + _LOOKED_AT]
    return [*found, *offers[: _LOOKED_AT - len(found)]]


def _is_our_turn(wanted: Model, lacking: float, known: Known, random: Random) -> bool:
    haste = _HASTE[min(wanted.copies, len(_HASTE) - 1)]
    return random.random() * max(1, known.contenders) < lacking * haste


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


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What is `rare` and what there is to `spare` for it; `rare` was looked for among one part in
    `share` of all that there is.
    """

    rare: Sequence[Model]
    spare: Sequence[Model]
    share: float


def _exchange(able: _Exchange, known: Known, random: Random) -> Choice:
    spare, free = able.spare, known.free
    most = max(one.copies for one in spare)
    room = free + sum(one.size for one in spare)
    rare = [one for one in able.rare if one.copies + _APART <= most and one.size <= room]
    if not rare:
        return NOTHING
    wanted = _one_of(rare, random)
    lacking = (most - wanted.copies) / 2 * len(rare) * able.share
    if not _is_our_turn(wanted, lacking, known, random):
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
