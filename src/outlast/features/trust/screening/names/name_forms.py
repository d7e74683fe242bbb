"""A name in the forms in which names are compared: without its script, case, punctuation, legal
form and the order of its words.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, product
from typing import Final

from outlast.features.trust.screening.names import abjad
from outlast.features.trust.screening.names.han_words import in_english
from outlast.features.trust.screening.names.hangul_words import HANGUL
from outlast.features.trust.screening.names.hangul_words import SCRIPT as HANGUL_SCRIPT
from outlast.features.trust.screening.names.phrases import shortened
from outlast.features.trust.screening.names.spellings import spelled
from outlast.features.trust.screening.names.words import (
    EMPTY,
    HANDLE_ENDS,
    HANDLE_NOISE,
    HANDLE_WORDS,
    INSTITUTIONS,
    KINDS,
    LEGAL,
    LIMITED,
    PLACES,
    SECTORS,
    STOCK,
    TRADE,
)
from outlast.features.trust.screening.tuning import MATCHES

_MOST: Final = 2_000
"""Characters of a name that are looked at."""
_HAN: Final = re.compile(r"[\u2e80-\u2fff\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_MICRO: Final = re.compile(r"(?<=[\u4e00-\u9fff])微(?=\s|\Z)")
"""Short for microelectronics, at the end of a name."""
_READ_APART: Final = 4
"""Characters of a name, at most, of which each may be read in another way than in its word …"""
_MOST_READINGS: Final = 8
"""… in so many combinations."""
_INITIALS: Final = re.compile(r"\b(?:[a-z]\.){2,}(?:[a-z]\b)?")
_BRACKETS: Final = re.compile(r"\([^()]*\)")
_CONTRACTED: Final = re.compile(r"\bint['\u2019]l\b", re.IGNORECASE)
_APOSTROPHES: Final = re.compile(r"['`\u2018\u2019\u02bc\u02b9\u02ba\"]")
_WORD: Final = re.compile(r"[a-z0-9]+")
_JOINED: Final = re.compile(r"nauchno-?(?=i?s|pr)")
_NUMBER: Final = re.compile(r"\bno\.? ?(?=\d)")
_GENITIVE: Final = re.compile(r"(?<=[b-df-hj-np-tv-z])a\Z")
"""Of the surnames after which Slavic institutions are named."""
_STATE: Final = re.compile(r"(?:gos|[gmr])(?=(?:npo|npp|npk|npc|nii|tsnii|kb|okb|ntc)\Z)")
"""What is before an abbreviated kind of institution: that it is of the state, Moscow or Russia."""
_INITIALS_OF_PERSON: Final = 2
_SPLIT_OFF: Final = 5
"""Letters of an account's name, at least, that are left where an addition was written without a
space."""
_WRITTEN_OUT: Final = {
    "it": ("information", "technology"),
    "ic": ("integrated", "circuit"),
    "nits": ("research", "center"),
}
_COMMON: Final = TRADE | INSTITUTIONS | PLACES | SECTORS
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LETTERS: Final = (
    ("tech", "tek"),
    ("tekh", "tek"),
    ("teh", "tek"),
    ("shch", "sh"),
    ("sch", "sh"),
    ("tz", "ts"),
    ("ts", "c"),
    ("qu", "kv"),
    ("oo", "u"),
    ("ee", "i"),
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
    (re.compile(r"z\Z|ce\Z"), "s"),
    (re.compile(r"(?<=[aou])h\Z"), ""),
    (re.compile(r"c(?!h)"), "k"),
    (re.compile(r"[iyj]*y[iyj]*|i[iyj]+"), "i"),
    (re.compile(r"i(?=[aeou])"), ""),
    (re.compile(r"(.)\1+"), r"\1"),
)


@dataclass(frozen=True, slots=True)
class NameForms:
    """`whole`: the words in their order, without the legal form. `bare`: those of them that tell
    names apart; empty where none does. The others: words of trade, of other trades, kinds of
    institution, places; which of "stock" and "limited" its legal form is; and the words in brackets
    that were left out. `abjad`: it is in Arabic script, and its bare words are consonants.
    """

    whole: tuple[str, ...]
    bare: tuple[str, ...]
    trade: frozenset[str]
    institutions: frozenset[str]
    places: frozenset[str]
    legal: frozenset[str] = frozenset()
    aside: frozenset[str] = frozenset()
    sectors: frozenset[str] = frozenset()
    abjad: bool = False

    @property
    def bones(self) -> str:
        """The consonants of its bare words, in the order of the alphabet."""
        words = self.bare if self.abjad else map(abjad.consonants, self.bare)
        return "".join(sorted(words))

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
    text = _CONTRACTED.sub("international", text)
    if abjad.SCRIPT.search(text):
        return _in_abjad(text)
    found = {forms: None for words in _readings(text) for forms in _with_each(words)}
    if "(" in text:  # what stands in brackets is often an abbreviation or a place
        inner = " ".join(_BRACKETS.findall(text))
        aside = frozenset(word for words in _readings(inner) for word in words) - LEGAL
        found |= {_forms(words, aside): None for words in _readings(_BRACKETS.sub(" ", text))}
    if handle:
        found |= {_forms(words): None for words in _handles(text)}
    return tuple(forms for forms in found if forms.whole)


def _with_each(words: list[str]) -> Iterator[NameForms]:
    """The forms of a reading; of one that has words of legal forms alone, as "FKP Ltd", those of
    each word, too: one of them is the name.
    """
    yield _forms(words)
    if len(set(words)) > 1 and all(word in LEGAL or word in EMPTY for word in words):
        yield from (_forms([word]) for word in dict.fromkeys(words) if word in LEGAL)


def _in_abjad(text: str) -> tuple[NameForms, ...]:
    found = list(abjad.in_words(text))
    bones = tuple(word for word, is_bones in found if is_bones)
    forms = _forms(_words(_latin(" ".join(word for word, is_bones in found if not is_bones))))
    if not bones:
        return (forms,) if forms.whole else ()
    return (replace(forms, whole=(*forms.whole, *bones), bare=bones, abjad=True),)


def _readings(text: str) -> Iterator[list[str]]:
    """Its words in Latin letters, by each of the ways to read Chinese characters."""
    if HANGUL_SCRIPT.search(text):
        text = in_english(text, HANGUL)
    if not _HAN.search(text):
        yield _words(_latin(text))
        return
    text = in_english(text)
    if _MICRO.search(text):
        yield from _spoken(_MICRO.sub(" microelectronic ", text))
    yield from _spoken(text)


def _spoken(text: str) -> Iterator[list[str]]:
    runs = _HAN.findall(text)
    yield _words(_latin(_HAN.sub(lambda found: f" {_pinyin(found[0])[0]} ", text)))
    yield _words(_latin(_HAN.sub(lambda found: f" {_latin(found[0]).replace(' ', '')} ", text)))
    if len(runs) == 1:
        for reading in _pinyin(runs[0])[1:]:
            yield _words(_latin(text.replace(runs[0], f" {reading} ")))


def _handles(text: str) -> Iterator[list[str]]:
    """The words of an account's name without its additions."""
    for form in (text, _CAMEL.sub(" ", text)):
        words = _WORD.findall(_latin(form))
        rest = [word for word in words if word not in HANDLE_NOISE]
        if len(rest) == 1 and (short := _without_end(rest[0])):
            yield [short]
        if len(rest) == 1 and (parts := _with_end(rest[0])):
            yield parts
        if sum(map(len, rest)) >= MATCHES.least:
            yield list(map(spelled, rest))
            yield ["".join(rest)]
        yield ["".join(words)]


def _without_end(word: str) -> str:
    """An account's name without an addition that is written with it, as nameai; else empty."""
    for end in HANDLE_ENDS:
        if word.endswith(end) and len(word) - len(end) >= _SPLIT_OFF:
            return word.removesuffix(end)
    return ""


def _with_end(word: str) -> list[str]:
    """An account's name and the word of trade or kind that is written with it, as namecloud."""
    for end in HANDLE_WORDS:
        if word.endswith(end) and len(word) - len(end) >= _SPLIT_OFF:
            return [word.removesuffix(end), spelled(end)]
    return []


@lru_cache(maxsize=1 << 14)
def _pinyin(han: str) -> tuple[str, ...]:
    """Chinese characters by their sound in their words, which tells apart readings of one; then, of
    a short name, by the other readings that its characters have.
    """
    from pypinyin import Style, lazy_pinyin, pinyin  # noqa: PLC0415 - large, for Chinese names only

    found = {"".join(lazy_pinyin(han)): None}
    if len(han) <= _READ_APART:
        given = pinyin(han, style=Style.NORMAL, heteronym=True)
        several = [list(dict.fromkeys(one))[:2] for one in given]
        if len(several) == len(han):
            found |= {"".join(one): None for one in islice(product(*several), _MOST_READINGS)}
    return tuple(found)


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
    text = _JOINED.sub("nauchno ", text) if "nauchno" in text else text
    text = _NUMBER.sub("", text)
    words = [spelled(word) for word in _WORD.findall(text)]
    words = shortened([word for word in words if word not in EMPTY or word == "imeni"]) or words
    if not _WRITTEN_OUT.keys().isdisjoint(words):
        words = [part for word in words for part in _WRITTEN_OUT.get(word, (word,))]
    return _named_after(words) if "imeni" in words else words


def _named_after(words: list[str]) -> list[str]:
    """Without the initials of the person after whom an institution is named, whose name is in the
    nominative then.
    """
    at = words.index("imeni") + 1
    rest = [word for word in words[at:] if len(word) > _INITIALS_OF_PERSON]
    return [*words[: at - 1], *(_GENITIVE.sub("", word) for word in rest)]


def _forms(words: list[str], aside: frozenset[str] = frozenset()) -> NameForms:
    plain = [word for word in words if word not in LEGAL and word not in EMPTY]
    whole = list(dict.fromkeys(plain)) or words
    legal = {"stock": STOCK, "limited": LIMITED}
    return NameForms(
        tuple(whole),
        tuple(word for word in whole if word not in _COMMON and not _STATE.match(word)),
        frozenset(word for word in whole if word in TRADE),
        _kinds(whole),
        frozenset(word for word in (*whole, *aside) if word in PLACES),
        frozenset(kind for kind, forms in legal.items() if not forms.isdisjoint(words)),
        aside,
        frozenset(word for word in whole if word in SECTORS),
    )


def _kinds(words: list[str]) -> frozenset[str]:
    found = [_STATE.sub("", word) for word in words if word in INSTITUTIONS or _STATE.match(word)]
    return frozenset(part for word in found for part in KINDS.get(word, (word,)))
