"""Phrases in names of organisations that are one word, or none: legal forms, and the kinds of
institution that lists write out, abbreviate, translate or transliterate.
"""

from collections.abc import Iterator, Mapping
from typing import Final

_JOINT: Final = "stock obshchestvo", "joint stock company", "joint stock obshchestvo", "joint stock"
_PHRASES: Final[Mapping[str, tuple[str, ...]]] = {
    "jsc": (
        *(f"{kind} {form}" for kind in ("public", "open", "closed", "private") for form in _JOINT),
        *_JOINT,
        "sociedad anonima",
        "societe anonyme",
        "societa azioni",
        "naamloze vennootschap",
        "kabushiki kaisha",
        "kabushiki gaisha",
        "jusik hoesa",
        "gu fen you xian gong si",
        "gufen youxian gongsi",
        "public limited company",
    ),
    "llc": (
        "obshchestvo s limited liability",
        "obshchestvo z limited liability",
        "limited liability company",
        "limited liability partnership",
        "with limited liability",
        "societe limited liability",
        "societatea cu limited liability",
        "societe actions simplifiee",
        "besloten vennootschap",
        "gesellschaft mit beschrankter haftung",
        "company limited",
        "limited company",
        "private limited",
        "sendirian berhad",
        "you xian ze ren gong si",
        "you xian gong si",
        "youxian zeren gongsi",
        "youxian gongsi",
        "tic ltd sti",
        "sp z o o",
        "z o o",
    ),
    "fgup": (
        "federal state unitary enterprise",
        "state unitary enterprise",
        "production unitary enterprise",
        "unitary enterprise",
    ),
    "fgbu": (
        "federal state budgetary institution",
        "federal state autonomous institution",
        "state budgetary institution",
        "federal state budgetary educational institution higher education",
        "federal state autonomous educational institution higher education",
        "federal state institution",
        "autonomous noncommercial organization higher education",
        "autonomous non profit organization higher education",
        "autonomous noncommercial organization",
        "autonomous non profit organization",
    ),
    "npo": ("science production association", "research production association"),
    "npp": ("science production enterprise", "research production enterprise"),
    "jv": ("joint venture",),
    "aerospace": ("aeronautic astronautic", "aeronautics astronautics", "aviation astronautics"),
    "npk": (
        "science production co",
        "research production co",
        "science production corporation",
        "research production corporation",
        "science production complex",
        "research production complex",
        "science production concern",
        "research production concern",
    ),
    "npf": (
        "science production firm",
        "research production firm",
        "science production company",
        "research production company",
    ),
    "bank": (
        "joint stock commercial bank",
        "stock commercial bank",
        "commercial bank",
        "joint stock bank",
        "stock bank",
    ),
    "tekhnopark": ("science technology park", "technology park"),
    "npc": (
        "science production center",
        "research production center",
        "science industry center",
        "research development center",
    ),
    "ntc": ("science technology center",),
    "nii": ("science research institute", "research institute", "yan jiu suo", "yanjiusuo"),
    "tsnii": ("central science research institute", "central research institute"),
    "vnii": (
        "all russia science research institute",
        "all russia research institute",
        "all russian science research institute",
    ),
    "kb": ("design bureau", "construction bureau", "project design bureau"),
    "tskb": ("central design bureau",),
    "okb": ("experimental design bureau",),
    "skb": ("special design bureau", "specialized design bureau"),
    "po": ("production association",),
    "td": ("trading house", "trading dom"),
    "tpk": ("trading production complex", "trading production company"),
    "gok": ("mining processing plant", "mining enrichment combine", "gorno obogatitelny combine"),
    "ran": ("russia academy science",),
    "imeni": ("named after", "named for"),
    "ai": ("artificial intelligence", "ren gong zhi neng", "rengong zhineng"),
    "machinebuilding": ("machine building", "mechanical engineering"),
    "technology": ("ke ji", "ji shu"),
    "innovation": ("chuang xin", "chuangxin"),
    "academy": ("yan jiu yuan",),
    "university": ("da xue",),
    "group": ("ji tuan",),
    "electronic": ("dian zi",),
    "information": ("xin xi",),
    "intelligent": ("zhi neng",),
    "network": ("wang luo",),
    "software": ("ruan jian", "narm afzar", "narm afzari"),
    "circuit": ("dian lu",),
}
"""What a phrase is written as here. Its words are in the one spelling of `spellings`, without words
of grammar.
"""


def _by_first() -> dict[str, list[tuple[tuple[str, ...], str]]]:
    found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for short, phrases in _PHRASES.items():
        for phrase in phrases:
            words = tuple(phrase.split())
            found.setdefault(words[0], []).append((words, short))
    for rows in found.values():
        rows.sort(key=lambda row: -len(row[0]))
    return found


_FIRST: Final = _by_first()


def shortened(words: list[str]) -> list[str]:
    """Words with each phrase, the longest first, as one word."""
    if _FIRST.keys().isdisjoint(words):
        return words
    return list(_shortened(words))


def _shortened(words: list[str]) -> Iterator[str]:
    at = 0
    while at < len(words):
        for phrase, short in _FIRST.get(words[at], ()):
            if tuple(words[at : at + len(phrase)]) == phrase:
                yield short
                at += len(phrase)
                break
        else:
            yield words[at]
            at += 1
