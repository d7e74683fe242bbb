"""Which cached revisions to drop: pure values."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence


def bytes_of(names: Collection[str], sizes: Mapping[str, int], users: Mapping[str, int]) -> int:
    """The bytes of the files `names` that no revision uses."""
    return sum(sizes.get(name, 0) for name in names if not users.get(name))


def choose(
    cached: Sequence[Collection[str]],
    sizes: Mapping[str, int],
    users: Mapping[str, int],
    need: int,
) -> list[int]:
    """The positions in `cached`, whose members come least recently used first, of those that free
    `need` bytes when they go; of all that free anything, where that is not enough.

    A member is the names of the files that it uses. `sizes` are their bytes; `users` counts, of
    all that is in the archive, how many use each. A file is freed with its last user. Beginning
    with the one used last, those that turn out not to be needed for `need` stay.
    """
    left = Counter(users)
    freed, count = 0, 0
    while count < len(cached) and freed < need:
        freed += _release(cached[count], sizes, left)
        count += 1
    chosen = []
    for position in reversed(range(count)):
        spared = _reuse(cached[position], sizes, left)
        if freed - spared >= need or not spared:
            freed -= spared
        else:
            _release(cached[position], sizes, left)
            chosen.append(position)
    return chosen[::-1]


def _release(names: Collection[str], sizes: Mapping[str, int], left: Counter[str]) -> int:
    freed = 0
    for name in names:
        left[name] -= 1
        if not left[name]:
            freed += sizes.get(name, 0)
    return freed


def _reuse(names: Collection[str], sizes: Mapping[str, int], left: Counter[str]) -> int:
    lost = 0
    for name in names:
        if not left[name]:
            lost += sizes.get(name, 0)
        left[name] += 1
    return lost
