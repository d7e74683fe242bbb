"""Names that a person takes for each other. Those of models are ASCII (`core.names`): what is left
of confusable characters are digits for letters, pairs of letters, and separators.
"""

from collections.abc import Iterable
from typing import Final

from outlast.core.names import RepoId

_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("nn", "m"))
_SINGLE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "_": "-"})
_SHORTEST: Final = 5
"""Letters of an organisation's name from which one slip is told: of shorter ones too many differ by
one letter. A guess.
"""


def skeleton(name: str) -> str:
    """What is left of a name where characters that look alike are one, and case does not count."""
    name = name.lower().translate(_SINGLE)
    for pair, letter in _PAIRS:
        name = name.replace(pair, letter)
    return name


def lookalike(repo: RepoId, known: Iterable[RepoId]) -> RepoId | None:
    """One of the `known` models for which `repo` may be taken, by its name or that of its
    organisation; None where none is, or where the organisation itself is among the known ones and
    no model's name looks like it.
    """
    names = {one.folded: one for one in known}
    own = _organisation(repo)
    others = {_organisation(one): one for one in names.values()}
    for one in names.values():
        if one.folded != repo.folded and skeleton(one.name) == skeleton(repo.name):
            return one
    if not own or own in others:
        return None
    for other, one in others.items():
        if other and (skeleton(other) == skeleton(own) or _one_slip(own, other)):
            return one
    return None


def _organisation(repo: RepoId) -> str:
    first, slash, _ = repo.name.lower().partition("/")
    return first if slash else ""


def _one_slip(one: str, other: str) -> bool:
    """Whether a letter was added, left out, changed, or swapped with the next one."""
    if min(len(one), len(other)) < _SHORTEST or abs(len(one) - len(other)) > 1:
        return False
    at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if at is None:
        return len(one) != len(other)
    one, other = one[at:], other[at:]
    return (
        one[1:] == other[1:]
        or one[1:] == other
        or one == other[1:]
        or (one[:2] == other[1::-1] and one[2:] == other[2:])
    )
