"""A name in the forms in which names are compared: without its script, case, punctuation, legal
form and the order of its words.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from outlast.features.trust.screening.names.words import (
    EMPTY,
    HAN,
    HANDLE_NOISE,
    INSTITUTIONS,
    LEGAL,
    LEGAL_PHRASES,
    ONE_WORD,
    PLACES,
    TRADE,
)
from outlast.features.trust.screening.tuning import MATCHES

_MOST: Final = 2_000
"""Characters of a name that are looked at."""
_HAN: Final = re.compile(r"[\u2e80-\u2fff\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_HAN_WORD: Final = re.compile("|".join(sorted(HAN, key=len, reverse=True)))
_INITIALS: Final = re.compile(r"\b(?:[a-z]\.){2,}(?:[a-z]\b)?")
_BRACKETS: Final = re.compile(r"\([^()]*\)")
_APOSTROPHES: Final = re.compile(r"['`\u2018\u2019\u02bc\u02b9\u02ba\"]")
_WORD: Final = re.compile(r"[a-z0-9]+")
_PHRASE: Final = re.compile(rf"\b(?:{'|'.join(LEGAL_PHRASES)})\b")
_PHRASE_WORDS: Final = frozenset(phrase.split()[-1] for phrase in LEGAL_PHRASES)
_ADJECTIVE: Final = re.compile(r"(?<=[a-z]{3})sk(?:ogo|aya|aia|oe|oye|iy|ii|ij|y|i)\Z")
_COMMON: Final = TRADE | INSTITUTIONS | PLACES
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LETTERS: Final = (
    ("shch", "sh"),
    ("kh", "k"),
    ("ck", "k"),
    ("q", "k"),
    ("x", "ks"),
    ("ph", "f"),
    ("zh", "j"),
    ("w", "v"),
    ("ou", "u"),
)
_SOUNDS: Final = (
    (re.compile(r"c(?!h)"), "k"),
    (re.compile(r"[iyj]*y[iyj]*|i[iyj]+"), "i"),
    (re.compile(r"i(?=[aeou])"), ""),
    (re.compile(r"(.)\1+"), r"\1"),
)


@dataclass(frozen=True, slots=True)
class NameForms:
    """`whole`: the words in their order, without the legal form. `bare`: those of them that tell
    names apart; empty where none does. The others: words of trade, kinds of institution, places.
    """

    whole: tuple[str, ...]
    bare: tuple[str, ...]
    trade: frozenset[str]
    institutions: frozenset[str]
    places: frozenset[str]

    @property
    def keys(self) -> frozenset[str]:
        """The whole name as one word: in its order, and in that of the alphabet."""
        return frozenset({"".join(self.whole), "".join(sorted(self.whole))})

    @property
    def bare_keys(self) -> frozenset[str]:
        """The same of its bare words."""
        return frozenset({"".join(self.bare), "".join(sorted(self.bare))} - {""})


@lru_cache(maxsize=1 << 16)
def sound(key: str) -> str:
    """What is left of a word where spellings of one sound count as one, as Rostekh and Rostec."""
    for letters, letter in _LETTERS:
        key = key.replace(letters, letter)
    for pattern, by in _SOUNDS:
        key = pattern.sub(by, key)
    return key


def forms_of(name: str, *, handle: bool = False) -> tuple[NameForms, ...]:
    """The forms of a name: several where it can be read in several ways. `handle`: it names an
    account on a hub, which may be written in camel case and have additions.
    """
    text = name[:_MOST]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    found = {_forms(words): None for words in _readings(text)}
    if "(" in text:  # what stands in brackets is often an abbreviation or a place
        found |= {_forms(words): None for words in _readings(_BRACKETS.sub(" ", text))}
    if handle:
        found |= {_forms(words): None for words in _handles(text)}
    return tuple(forms for forms in found if forms.whole)


def _readings(text: str) -> Iterator[list[str]]:
    """Its words in Latin letters, by each of the ways to read Chinese characters."""
    if not _HAN.search(text):
        yield _words(_latin(text))
        return
    text = _HAN_WORD.sub(lambda found: HAN[found[0]], text)
    yield _words(_latin(_HAN.sub(lambda found: f" {_pinyin(found[0])} ", text)))
    yield _words(_latin(_HAN.sub(lambda found: f" {_latin(found[0]).replace(' ', '')} ", text)))


def _handles(text: str) -> Iterator[list[str]]:
    """The words of an account's name without its additions."""
    for form in (text, _CAMEL.sub(" ", text)):
        words = _WORD.findall(_latin(form))
        rest = [word for word in words if word not in HANDLE_NOISE]
        if sum(map(len, rest)) >= MATCHES.least:
            yield _known(rest)
            yield ["".join(rest)]
        yield ["".join(words)]


@lru_cache(maxsize=1 << 14)
def _pinyin(han: str) -> str:
    """Chinese characters by their sound in their words, which tells apart readings of one."""
    from pypinyin import lazy_pinyin  # noqa: PLC0415 - large, and for Chinese names only

    return "".join(lazy_pinyin(han))


def _latin(text: str) -> str:
    if text.isascii():
        return text.lower()
    from anyascii import anyascii  # noqa: PLC0415 - for names in other scripts only

    found: str = anyascii(text.casefold())
    return found.lower()


def _words(text: str) -> list[str]:
    if "." in text:
        text = _INITIALS.sub(lambda found: found[0].replace(".", "") + " ", text)
    text = _APOSTROPHES.sub("", text).replace("&", " and ")
    words = _WORD.findall(text)
    if not _PHRASE_WORDS.isdisjoint(words):
        words = _PHRASE.sub(" ", " ".join(words)).split() or words
    return _known(words)


def _known(words: list[str]) -> list[str]:
    """Each word in one spelling; Slavic adjectives in one case."""
    return [
        ONE_WORD.get(word) or (_ADJECTIVE.sub("sky", word) if "sk" in word else word)
        for word in words
    ]


def _forms(words: list[str]) -> NameForms:
    plain = [word for word in words if word not in LEGAL and word not in EMPTY]
    whole = plain or words
    bare = tuple(word for word in whole if word not in _COMMON)
    return NameForms(
        tuple(whole),
        bare,
        frozenset(word for word in whole if word in TRADE),
        frozenset(word for word in whole if word in INSTITUTIONS),
        frozenset(word for word in whole if word in PLACES),
    )
