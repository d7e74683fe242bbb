"""Compares a name with all names of some lists: a match, possible, or nothing alike."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import log
from typing import Final

from outlast.features.trust.screening.lists.party import (
    ListedParty,
    ListFacts,
    PartyKind,
    PartyList,
)
from outlast.features.trust.screening.names.name_forms import NameForms, forms_of, sound
from outlast.features.trust.screening.names.near_names import NearNames
from outlast.features.trust.screening.names.words import FIELDS
from outlast.features.trust.screening.tuning import MATCHES, MatchTuning


class Alike(StrEnum):
    """How alike a name and a row are. What follows from it, the operator's rules say."""

    MATCH = "match"
    """They are one name, but for script, case, legal form, order and spelling of a sound."""
    POSSIBLE = "possible"
    """One has a slip, or is a part of the other; or it is the name of a person, which many have."""
    NONE = "none"
    UNKNOWN = "unknown"
    """There was no name to compare. It is no pass."""


@dataclass(frozen=True, slots=True)
class ListedHit:
    """A row that is alike. `name`: which of its names; `score`: from 0 to 100."""

    alike: Alike
    score: int
    name: str
    party: ListedParty
    facts: ListFacts


@dataclass(frozen=True, slots=True)
class _IndexedName:
    name: str
    party: ListedParty
    facts: ListFacts
    forms: NameForms


_Level = tuple[Alike, int]
_SAME: Final = (Alike.MATCH, 100)
_SHORT: Final = (Alike.POSSIBLE, 90)
_SHORT_FORM: Final = (Alike.MATCH, 92)
_ASIDE: Final = (Alike.POSSIBLE, 86)
_BARE: Final = (Alike.MATCH, 96)
_BARE_APART: Final = (Alike.POSSIBLE, 88)
_SOUND: Final = (Alike.MATCH, 94)
_SOUND_APART: Final = (Alike.POSSIBLE, 84)
_CONSONANTS: Final = (Alike.MATCH, 91)
_CONSONANTS_APART: Final = (Alike.POSSIBLE, 82)
_WITHIN: Final = (Alike.POSSIBLE, 80)
_AROUND: Final = (Alike.POSSIBLE, 75)
_SHARING: Final = (Alike.POSSIBLE, 70)
_PERSON: Final = 90
"""The highest score of a person's name."""
_NOTHING: Final = (Alike.NONE, 0)


class NameIndex:
    """The names of some lists, found by their forms. Building it takes about 0.1 ms a name, and a
    look-up well below a millisecond. Thread-safe once it is built.
    """

    def __init__(self, lists: Sequence[PartyList], tuning: MatchTuning = MATCHES) -> None:
        self.lists = tuple(one.facts for one in lists)
        self._tuning = tuning
        self._names: list[_IndexedName] = []
        self._keys: dict[str, list[int]] = {}
        self._sounds: dict[str, list[int]] = {}
        self._words: dict[str, list[int]] = {}
        self._near = NearNames(tuning)
        self._word_sounds: dict[str, list[int]] = {}
        self._abjad: dict[str, list[int]] = {}
        for one in lists:
            for party in one.parties:
                if party.kind is not PartyKind.CRAFT:
                    for name in (party.name, *party.aliases):
                        self._add(name, party, one.facts)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, name: str, *, handle: bool = False) -> tuple[ListedHit, ...]:
        """The rows that are alike, the likest first, one for each party. `handle`: the name is that
        of an account on a hub.
        """
        best: dict[tuple[object, str], ListedHit] = {}
        for forms in forms_of(name, handle=handle):
            for number in self._candidates(forms):
                listed = self._names[number]
                alike, score = self._compare(forms, listed.forms)
                if alike is Alike.NONE:
                    continue
                if listed.party.kind is PartyKind.PERSON:
                    alike, score = Alike.POSSIBLE, min(score, _PERSON)
                hit = ListedHit(alike, score, listed.name, listed.party, listed.facts)
                key = (listed.facts.digest, f"{listed.party.list_name} {listed.party.id}")
                if key not in best or best[key].score < score:
                    best[key] = hit
        ordered = sorted(best.values(), key=lambda hit: (-hit.score, hit.party.name, hit.party.id))
        return tuple(ordered[: self._tuning.most_hits])

    def _add(self, name: str, party: ListedParty, facts: ListFacts) -> None:
        for forms in forms_of(name):
            number = len(self._names)
            self._names.append(_IndexedName(name, party, facts, forms))
            keys, bare_keys = forms.keys, forms.bare_keys
            for key in keys | bare_keys:
                self._keys.setdefault(key, []).append(number)
            for key in bare_keys or keys:
                if len(key) >= self._tuning.least_sound:
                    self._sounds.setdefault(sound(key), []).append(number)
            if forms.abjad:
                self._abjad.setdefault(forms.bones, []).append(number)
                continue
            for word in set(forms.bare):
                if len(word) >= self._tuning.least:
                    self._words.setdefault(word, []).append(number)
                    self._word_sounds.setdefault(sound(word), []).append(number)
            self._near.add("".join(forms.bare or forms.whole), number)

    @cached_property
    def _consonants(self) -> dict[str, list[int]]:
        """The names in other scripts than the Arabic, by their consonants: made when the first name
        in that script is looked up.
        """
        found: dict[str, list[int]] = {}
        for number, one in enumerate(self._names):
            if not one.forms.abjad and (bones := one.forms.bones):
                found.setdefault(bones, []).append(number)
        return found

    def _candidates(self, forms: NameForms) -> Iterable[int]:
        found: dict[int, None] = {}
        if forms.abjad:
            found |= dict.fromkeys(self._consonants.get(forms.bones, ()))
        if self._abjad and forms.bones:
            found |= dict.fromkeys(self._abjad.get(forms.bones, ()))
        if forms.abjad:
            return found
        for key in forms.keys | forms.bare_keys:
            found |= dict.fromkeys(self._keys.get(key, ()))
        for key in _sounding(forms):
            if len(key) >= self._tuning.least_sound:
                found |= dict.fromkeys(self._sounds.get(sound(key), ()))
        for _, numbers in self._near.near("".join(forms.bare or forms.whole)):
            found |= dict.fromkeys(numbers)
        found |= dict.fromkeys(self._sharing(forms))
        return found

    def _sharing(self, forms: NameForms) -> Iterator[int]:
        """Names that share a word, those with the rarest one first, up to a bound."""
        words = [word for word in sorted(set(forms.bare)) if len(word) >= self._tuning.least]
        found = [self._words.get(word, []) for word in words]
        found += [self._word_sounds.get(sound(word), []) for word in words]
        left = self._tuning.sharing
        for numbers in sorted(found, key=len):
            yield from numbers[:left]
            left = max(0, left - len(numbers))

    def _compare(self, one: NameForms, other: NameForms) -> _Level:
        if one.abjad or other.abjad:
            return self._by_consonants(one, other)
        aside = not one.aside or not other.aside or _agree(one.aside, other.aside)
        if shared := one.keys & other.keys:
            if not aside:
                return _ASIDE
            long = max(map(len, shared)) >= self._tuning.least
            if long:
                return _SAME
            return _SHORT_FORM if one.legal & other.legal else _SHORT
        agree = (
            aside
            and _agree(one.trade | one.institutions, other.trade | other.institutions)
            and _agree(one.places, other.places)
            and one.sectors == other.sectors
        )
        if shared := one.bare_keys & other.bare_keys:
            long = max(map(len, shared)) >= self._tuning.least_bare
            tells = not FIELDS.issuperset(one.bare)
            return _BARE if long and agree and tells else _BARE_APART
        if self._sound_same(one, other):
            return _SOUND if agree else _SOUND_APART
        return max(self._part(one, other), self._slipped(one, other), key=lambda level: level[1])

    def _sound_same(self, one: NameForms, other: NameForms) -> bool:
        least = self._tuning.least_sound
        ours = {sound(key) for key in _sounding(one) if len(key) >= least}
        return any(len(key) >= least and sound(key) in ours for key in _sounding(other))

    def _by_consonants(self, one: NameForms, other: NameForms) -> _Level:
        """Where one is in Arabic script. Few consonants are those of many names."""
        if not one.bones or one.bones != other.bones:
            return _NOTHING
        kinds, others = one.trade | one.institutions, other.trade | other.institutions
        named = (kinds | one.places, others | other.places)
        equal = named[0] == named[1] and bool(named[0])
        agree = _agree(kinds, others) and _agree(one.places, other.places)
        count = len(one.bones)
        if one.sectors == other.sectors and (
            (agree and count >= self._tuning.consonants)
            or (equal and count >= self._tuning.consonants - 1)
        ):
            return _CONSONANTS
        least = self._tuning.consonants - (2 if equal else 1)
        return _CONSONANTS_APART if agree and count >= least else _NOTHING

    def _part(self, ours: NameForms, listed: NameForms) -> _Level:
        """Where the words of one name are in the other, by how rare they are."""
        one, other = frozenset(ours.bare), frozenset(listed.bare)
        shared = self._shared(one, other)
        if not shared or max(map(len, shared)) < self._tuning.least:
            return _NOTHING
        found = sum(map(self._rarity, shared))
        of_ours = found / sum(map(self._rarity, one))
        of_listed = found / sum(map(self._rarity, other))
        if other <= one:
            return _WITHIN
        if one <= other and of_listed >= self._tuning.shared:
            return _AROUND
        even = 2 / (1 / of_ours + 1 / of_listed)
        return _SHARING if even >= self._tuning.even else _NOTHING

    def _shared(self, one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
        """The words of `one` that are in `other`, also by their sound or with a slip."""
        found = one & other
        left, rest = one - found, other - found
        if not left or not rest or not (found or len(one) == 1):
            return found
        near = {word for word in left if any(self._one_word(word, other) for other in rest)}
        return found | near

    def _one_word(self, one: str, other: str) -> bool:
        from rapidfuzz.distance import OSA  # noqa: PLC0415 - when names are compared

        if min(len(one), len(other)) < self._tuning.least or abs(len(one) - len(other)) > 1:
            return False
        return sound(one) == sound(other) or OSA.distance(one, other, score_cutoff=1) <= 1

    def _rarity(self, word: str) -> float:
        """How much a word tells: the logarithm of how many names one has it of."""
        count = len(self._words.get(word, ())) + len(self._word_sounds.get(sound(word), ())) + 1
        return log(2 + len(self._names) / count)

    def _slipped(self, one: NameForms, other: NameForms) -> _Level:
        """Where one is the other with a slip in it."""
        from rapidfuzz.distance import OSA  # noqa: PLC0415 - when names are compared

        if bool(one.bare) != bool(other.bare):
            return _NOTHING
        words = "".join(one.bare or one.whole), "".join(other.bare or other.whole)
        most = self._near.slips(min(map(len, words)))
        slips = OSA.distance(*words, score_cutoff=most)
        if not most or slips > most:
            return _NOTHING
        return Alike.POSSIBLE, round(100 * (1 - slips / max(map(len, words))))


def _sounding(forms: NameForms) -> frozenset[str]:
    return forms.bare_keys or forms.keys


def _agree(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether one of them says nothing that the other does not."""
    return one <= other or other <= one
