# ruff: noqa: E501, RUF001 - words in another script
"""Names in Arabic script, which writes few vowels: their common words in English, the others as
consonants, as which names in Latin letters are read, too.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

SCRIPT: Final = re.compile(r"[\u0620-\u06ff\u0750-\u077f]")
"""A letter of it, after NFKC."""
_MARKS: Final = re.compile(r"[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]")
_WORDS: Final[Mapping[str, str]] = {
    "شرکت": "co", "شركة": "co", "الشركة": "co", "سهامی": "stock", "عام": "public", "خاص": "private",
    "محدود": "limited", "گروه": "group", "مجموعة": "group", "هلدینگ": "holding", "موسسه": "institute",
    "مؤسسه": "institute", "مؤسسة": "foundation", "معهد": "institute", "دانشگاه": "university",
    "جامعة": "university", "دانشکده": "college", "كلية": "college", "آکادمی": "academy",
    "أكاديمية": "academy", "پژوهشگاه": "research institute", "پژوهشکده": "research institute",
    "پژوهش": "research", "تحقیقات": "research", "بحوث": "research", "مرکز": "center", "مركز": "center",
    "سازمان": "organization", "منظمة": "organization", "بنیاد": "foundation", "صندوق": "fund",
    "بانک": "bank", "بنك": "bank", "مصرف": "bank", "بیمه": "insurance", "وزارت": "ministry",
    "وزارة": "ministry", "صنعتی": "technology", "صنایع": "industry", "صنعت": "industry",
    "صناعات": "industry", "صناعة": "industry", "فناوری": "technology", "تکنولوژی": "technology",
    "تقنية": "technology", "تكنولوجيا": "technology", "علوم": "science", "علم": "science",
    "اطلاعات": "information", "معلومات": "information", "ارتباطات": "communication",
    "اتصالات": "communication", "مخابرات": "communication", "الکترونیک": "electronic",
    "الكترونيات": "electronic", "کامپیوتر": "computer", "رایانه": "computer",
    "داده": "data", "شبکه": "network", "سیستم": "system", "سیستمهای": "system", "سامانه": "system",
    "امن": "security", "امنیت": "security", "ابر": "cloud", "ابری": "cloud", "هوشمند": "intelligent",
    "مهندسی": "engineering", "هندسة": "engineering", "خدمات": "service", "توسعه": "development",
    "تنمية": "development", "گسترش": "development", "تجارت": "trading", "بازرگانی": "trading",
    "تجارة": "trading", "عمومی": "general", "بین": "international", "المللی": "international",
    "دولية": "international", "عالمية": "global", "جهانی": "global", "نفت": "oil", "گاز": "gas",
    "پتروشیمی": "petrochemical", "هوایی": "aviation", "فضایی": "space", "فضا": "space",
    "دفاعی": "defense", "انرژی": "energy", "اتمی": "nuclear", "هسته": "nuclear",
    "کشتیرانی": "shipping", "هواپیمایی": "airline", "دریایی": "marine", "ایران": "iran",
    "ایرانیان": "iran", "تهران": "tehran", "سوریه": "syria", "سورية": "syria", "عراق": "iraq",
    "لبنان": "lebanon", "روسیه": "russia", "امارات": "emirates", "قطر": "qatar", "مصر": "egypt",
    "اسلامی": "islamic", "إسلامية": "islamic", "جمهوری": "republic", "مشترک": "joint", "و": "and",
    "نرمافزار": "software", "های": "", "ای": "",
}  # fmt: skip
"""Persian and Arabic words of trade, kind and place in English; what says nothing is empty."""
_LETTERS: Final = str.maketrans(
    "بپتثجچحخدذرزژسشصضطظغفقکكگلمنه",
    "bptsjchxdzrzjs$sztzqfqkkglmnh",
    "اأإآىیيئءعةؤ",
)
_SOUNDED: Final = re.compile(r"(?:\Aو|و(?=[اآیي])|(?<=[اآیي])و)")
"""Where the letter of v and u is a consonant …"""
_FIRST_Y: Final = re.compile(r"\A[یي]")
"""… and that of y and i."""
_TWO_WORDS: Final = re.compile(r"نرم[\s\u200c]+افزار")
_LATIN: Final = (
    ("sh", "$"),
    ("kh", "x"),
    ("gh", "q"),
    ("ch", "C"),
    ("zh", "j"),
    ("th", "s"),
    ("dh", "z"),
    ("ph", "f"),
    ("x", "ks"),
    ("c", "k"),
    ("C", "c"),
    ("w", "v"),
)
_VOWELS: Final = re.compile(r"(?<!\A)y|[aeiou]|h\Z")
_DOUBLE: Final = re.compile(r"(.)\1+")


def in_words(text: str) -> Iterator[tuple[str, bool]]:
    """The words of a text in Arabic script: each in English, or as its consonants (True)."""
    for word in _TWO_WORDS.sub("نرمافزار", _MARKS.sub("", text)).split():
        known = _WORDS.get(word)
        if known is None and word.startswith("ال"):
            known = _WORDS.get(word[2:])
        if known is not None:
            yield from ((one, False) for one in known.split())
        elif SCRIPT.search(word):
            short = word.removeprefix("ال") if len(word) > len("الxxx") else word
            if letters := _consonants(short):
                yield letters, True
        else:
            yield word, False


def _consonants(word: str) -> str:
    word = _SOUNDED.sub("v", _FIRST_Y.sub("y", word)).replace("و", "")
    word = "".join(c for c in word.translate(_LETTERS) if c.isascii())
    return _DOUBLE.sub(r"\1", word.removesuffix("h"))


@lru_cache(maxsize=1 << 16)
def consonants(word: str) -> str:
    """What a word in Latin letters is without its vowels, as Arabic script would write it."""
    for letters, one in _LATIN:
        word = word.replace(letters, one)
    return _DOUBLE.sub(r"\1", _VOWELS.sub("", word))
