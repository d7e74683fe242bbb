"""Names that a person takes for each other. Those of models are ASCII (`core.names`): what is left
of confusable characters are digits for letters, pairs of letters, and separators.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final
from weakref import WeakKeyDictionary

from outlast.core.names import KnownName, RepoId
from outlast.store.archive import Archive

_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("nn", "m"))
_SINGLE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "_": "-"})
_SHORTEST: Final = 5
"""Letters of an organisation's name from which one slip is told: of shorter ones too many differ by
one letter. A guess.
"""
_MOST_COMPARED: Final = 256
"""Organisations that share a half with a name and are compared with it. Guess: honest ones are a
handful, and a list that is made to be slow costs under a millisecond."""
_DATASETS: Final = "datasets/"
ARCHIVED: Final = "archived"


def skeleton(name: str) -> str:
    """What is left of a name where characters that look alike are one, and case does not count."""
    name = name.lower().translate(_SINGLE)
    for pair, letter in _PAIRS:
        name = name.replace(pair, letter)
    return name


class KnownNameIndex:
    """Finds a known name that another one may be taken for, in time that hardly grows with their
    number. Not changed once it is made.
    """

    def __init__(self, known: Iterable[KnownName]) -> None:
        self._names: set[str] = set()
        self._skeletons: dict[str, list[KnownName]] = defaultdict(list)
        self._organisations: dict[str, KnownName] = {}
        self._organisation_skeletons: dict[str, list[str]] = defaultdict(list)
        self._halves: dict[tuple[int, bool, str], list[str]] = defaultdict(list)
        for one in known:
            self._add(one)

    def _add(self, one: KnownName) -> None:
        plain = _plain(one.name)
        organisation, slash, _ = plain.partition("/")
        if slash and plain not in self._names:
            self._names.add(plain)
            self._skeletons[skeleton(plain)].append(one)
        if organisation in self._organisations or not (slash or one.trusted):
            return  # `gpt2` is a model without an organisation
        self._organisations[organisation] = one
        self._organisation_skeletons[skeleton(organisation)].append(organisation)
        if len(organisation) >= _SHORTEST:
            for half in _halves(organisation):
                self._halves[half].append(organisation)

    def has(self, repo: RepoId) -> bool:
        """Whether this very model is known."""
        return _plain(str(repo)) in self._names

    def has_organisation(self, repo: RepoId) -> bool:
        """Whether a model of its organisation is known, or that itself."""
        return _organisation(repo) in self._organisations

    def like(self, repo: RepoId, *, by_organisation: bool = True) -> KnownName | None:
        """A known name for which that of `repo` may be taken: as a whole, or by its
        organisation.
        """
        own, organisation = _plain(str(repo)), _organisation(repo)
        for one in self._skeletons.get(skeleton(own), ()):
            if _plain(one.name) != own:
                return one
        if not organisation or not by_organisation:
            return None
        for other in self._organisation_skeletons.get(skeleton(organisation), ()):
            if other != organisation:
                return self._organisations[other]
        near = (other for other in self._near(organisation) if one_slip(organisation, other))
        return next((self._organisations[other] for other in near), None)

    def _near(self, own: str) -> Iterator[str]:
        """Organisations that share a half with a name: one slip leaves one whole. Two letters that
        were swapped in the middle are looked up by themselves.
        """
        for at in range(len(own) - 1):
            swapped = own[:at] + own[at + 1] + own[at] + own[at + 2 :]
            if swapped != own and swapped in self._organisations:
                yield swapped
        for length in range(len(own) - 1, len(own) + 2):
            half = length // 2
            for key in (
                (length, True, own[:half]),
                (length, False, own[len(own) - length + half :]),
            ):
                yield from self._halves.get(key, ())[:_MOST_COMPARED]


class _Indexes:
    """The names of an archive as they were read last: `near` are those that are archived or named
    by the operator, `far` those that others list.
    """

    def __init__(self, stamp: object, names: list[KnownName]) -> None:
        self.stamp = stamp
        self.near = KnownNameIndex(one for one in names if one.trusted or one.where == ARCHIVED)
        self.pinned = KnownNameIndex(one for one in names if one.trusted)
        self.far = KnownNameIndex(one for one in names if not one.trusted and one.where != ARCHIVED)


_lock: Final = threading.Lock()
_known: "Final[WeakKeyDictionary[Archive, _Indexes]]" = WeakKeyDictionary()


def lookalike(archive: Archive, repo: RepoId) -> KnownName | None:
    """What the name of a model may be taken for, among those that are archived, those that the
    operator named, and those that followed catalogues list; None where nothing is. A model of an
    organisation that is known is taken for another one by its whole name alone: but that others
    list an organisation does not make it known where the operator has one that looks like it.
    """
    indexes = _indexes(archive)
    near, far = indexes.near, indexes.far
    if near.has(repo):  # it is here: only what the operator named makes its organisation known
        found = near.like(repo, by_organisation=not indexes.pinned.has_organisation(repo))
    else:
        found = near.like(repo, by_organisation=not near.has_organisation(repo))
    if found is not None or far.has(repo):
        return found
    known = near.has_organisation(repo) or far.has_organisation(repo)
    return far.like(repo, by_organisation=not known)


def lookalike_warning(archive: Archive, repo: RepoId) -> str:
    """A sentence for a person; empty where the name is like no other."""
    one = lookalike(archive, repo)
    return "" if one is None else f"{repo} is another model than {one.name}, which is {one.where}"


def _indexes(archive: Archive) -> _Indexes:
    """Made anew where a name may have come or gone."""
    source = archive.known_names
    stamp = (_refs_stamp(archive), None if source is None else source.stamp())
    with _lock:
        found = _known.get(archive)
    if found is None or found.stamp != stamp:
        others = source.names() if source is not None else ()
        here = (KnownName(str(repo), ARCHIVED) for repo in archive.refs.repos())
        # What the operator named comes first: it is what is told.
        found = _Indexes(stamp, [*others, *here])
        with _lock:
            _known[archive] = found
    return found


def _refs_stamp(archive: Archive) -> int:
    try:
        return os.stat(archive.layout.refs).st_mtime_ns
    except FileNotFoundError:
        return 0


def _plain(name: str) -> str:
    return name.removeprefix(_DATASETS).lower()


def _organisation(repo: RepoId) -> str:
    first, slash, _ = repo.name.lower().partition("/")
    return first if slash else ""


def _halves(name: str) -> tuple[tuple[int, bool, str], ...]:
    half = len(name) // 2
    return (len(name), True, name[:half]), (len(name), False, name[half:])


def one_slip(one: str, other: str) -> bool:
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
