"""Which words the attributes of a model can have, so that a rule that asks for another word does
not load: it would be silent for ever.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from outlast.core.errors import OutlastError
from outlast.core.names import RepoId
from outlast.features.trust.rules.countries import COUNTRIES, UNKNOWN
from outlast.features.trust.rules.formats import FORMATS
from outlast.features.trust.rules.licences import is_known
from outlast.features.trust.rules.screen import PartyMatch

_ALLOWED: Final = frozenset({"yes", "conditional", "no", UNKNOWN})
_ASKED: Final = frozenset({"yes", "no", UNKNOWN})
_PARTY: Final = frozenset(match.value for match in PartyMatch)
_PLACES: Final = frozenset({*COUNTRIES, UNKNOWN})

WORDS: Final[Mapping[str, frozenset[str]]] = {
    "kind": frozenset({"model", "dataset"}),
    "jurisdiction": _PLACES,
    "host_jurisdiction": _PLACES,
    "licence.commercial": _ALLOWED,
    "licence.redistribution": _ALLOWED,
    "licence.attribution": _ASKED,
    "licence.naming": _ASKED,
    "licence.use_restrictions": _ASKED,
    "licence.copyleft": frozenset({"none", "weak", "strong", UNKNOWN}),
    "formats": FORMATS,
    "gated": _ASKED,
    "listed_party": _PARTY,
    "listed_base": _PARTY,
}
"""All words of the attributes that have some only, by the path of the attribute."""


def _is_lower(text: str) -> bool:
    return text == text.lower()


CHECKS: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "name": (_is_lower, "names are in lower case"),
    "publisher": (_is_lower, "names are in lower case"),
    "bases": (_is_lower, "names are in lower case"),
    "base_publishers": (_is_lower, "names are in lower case"),
    "licence.spdx": (is_known, "no licence is called so: 'outlast policy check' knows SPDX's"),
}
"""What the words of other attributes must be, and what is said of those that are not."""


ARCHIVE: Final = "Archive"
MODEL: Final = "Model"
HERE: Final = "here"
"""The only principal there is."""


@dataclass(frozen=True, slots=True)
class LikePattern:
    """What ``like`` compares with: letters, and None for any number of any letters."""

    parts: tuple[str | None, ...]

    def __str__(self) -> str:
        return "".join("*" if part is None else part for part in self.parts)

    @property
    def letters(self) -> str:
        return "".join(part for part in self.parts if part is not None)

    def matches(self, word: str) -> bool:
        written = "".join(".*" if part is None else re.escape(part) for part in self.parts)
        return re.fullmatch(written, word, re.DOTALL) is not None


def problem(attribute: str, word: str | LikePattern) -> str:
    """Why an attribute can never have a word, or one like a pattern; empty if it can."""
    if attribute in WORDS and not _has(WORDS[attribute], word):
        known = WORDS[attribute]
        shown = ", ".join(sorted(known)) if len(known) < 20 else "two letters of ISO 3166-1"
        return f"{attribute} is never {str(word)!r}: it is one of {shown}"
    if attribute not in CHECKS:
        return ""
    fits, why = CHECKS[attribute]
    if isinstance(word, LikePattern):
        fits, told = (_is_lower if fits is _is_lower else _any), word.letters
    else:
        told = word
    return "" if fits(told) else f"{attribute} is never {str(word)!r}: {why}"


def no_entity(kind: str, name: str) -> str:
    """Why there is never a ``kind::"name"``; empty if there can be one."""
    if kind == ARCHIVE and name != HERE:
        return f'the archive is never {kind}::"{name}": it is {kind}::"{HERE}"'
    if kind == MODEL and not _is_model(name):
        return f'a model is never {kind}::"{name}": write org/name, in lower case'
    return ""


def _has(words: frozenset[str], word: str | LikePattern) -> bool:
    if isinstance(word, LikePattern):
        return any(map(word.matches, words))
    return word in words


def _any(text: str) -> bool:
    del text
    return True


def _is_model(name: str) -> bool:
    try:
        return RepoId.parse(name).name == name and _is_lower(name)
    except OutlastError:
        return False
