"""Words that lists spell, transliterate and translate in several ways, each in one spelling."""

import re
from collections.abc import Mapping
from typing import Final

_SAME: Final[Mapping[str, str]] = {
    "technology": "tech technological technologies technologii technologiya technologia tehnologii "
    "tekhnologii tekhnologiya tekhnolodzhi technic technical techniques keji jishu teknoloji",
    "enterprise": "enterprises",
    "group": "groups grup grupp gruppa gruppy gruppe grupo groupe jituan",
    "holding": "holdings kholding",
    "laboratory": "lab labs laboratories laboratoriia laboratoriya laboratorium",
    "network": "networks wangluo",
    "science": "sciences scientific",
    "service": "services servis",
    "solution": "solutions",
    "system": "systems sistemy sistema sistem",
    "center": "centre tsentr centr",
    "university": "univ universitet universite universitat universidad universita daxue",
    "institute": "inst institut institutes",
    "academy": "akademiya akademii akademiia yanjiuyuan",
    "co": "kompaniya kompaniia gongsi",
    "corporation": "corp korporatsiya korporatsiia corporacion",
    "russia": "rossii rossiya rossiia russian rf",
    "china": "chinese zhongguo",
    "iran": "iranian",
    "korea": "korean choson chosun joseon joson chosen",
    "belarus": "belarusian",
    "syria": "syrian",
    "india": "indian",
    "asia": "asian",
    "europe": "european",
    "america": "american",
    "siberia": "siberian",
    "moscow": "moskva moskovskaya",
    "ukraine": "ukraina ukrainian",
    "kazakhstan": "kazakhstana",
    "circuit": "circuits",
    "electronic": "electronics elektronika elektroniks elektronik dianzi",
    "microelectronic": "microelectronics mikroelektronika",
    "optic": "optics optical",
    "communication": "communications telecommunication telecommunications telecom",
    "computer": "computers computing compute kompyuter",
    "semiconductor": "semiconductors",
    "robotic": "robotics",
    "security": "cybersecurity",
    "memory": "memories",
    "industry": "industries industrial",
    "engineering": "inzhiniring engineers",
    "design": "konstruktorskoe konstruktorskoye",
    "plant": "factory zavod fabrika",
    "bureau": "byuro buro biuro",
    "combine": "kombinat",
    "complex": "kompleks",
    "finance": "finans finances",
    "capital": "kapital",
    "cargo": "kargo",
    "trust": "trast",
    "trading": "trade",
    "information": "xinxi informatics informatika",
    "intelligent": "zhineng",
    "software": "ruanjian",
    "organization": "organisation",
    "defense": "defence",
    "noncommercial": "nonprofit",
    "labor": "labour",
    "international": "intl mezhdunarodnyi mezhdunarodny",
    "logistic": "logistics lojistik logistik logistika",
    "ran": "ras",
    "npo": "rpa",
    "npp": "rpe spe",
    "npk": "rpc",
    "imeni": "im",
    "npf": "rpf",
    "nii": "rii",
    "tsnii": "csri",
    "spc": "sic",
    "aviation": "aircraft",
    "concern": "kontsern konzern",
    "firm": "firma",
    "academician": "akademik akademika acad akad",
    "institution": "institutions institution",
    "electromechanic": "electromechanics electromechanical",
    "okb": "edb",
    "tskb": "cdb",
    "npc": "npts",
    "ntc": "ntts stc",
    "limited": "limitee limitada",
    "first": "1st",
    "second": "2nd",
    "third": "3rd",
}
ONE_WORD: Final = {word: one for one, words in _SAME.items() for word in words.split()}
"""Spellings and translations of one word."""

_STEMS: Final[Mapping[str, str]] = {
    "aktsioner": "stock",
    "aktsyyaner": "stock",
    "aktcioner": "stock",
    "obedinen": "association",
    "obyedinen": "association",
    "obydinen": "association",
    "kommerch": "commercial",
    "technolog": "technology",
    "tekhnolog": "technology",
    "tehnolog": "technology",
    "teknolog": "technology",
    "elektromekhan": "electromechanic",
    "mekhanich": "mechanical",
    "avtomati": "automation",
    "automati": "automation",
    "mikrosistem": "microsystem",
    "microsystem": "microsystem",
    "akcioner": "stock",
    "aviatsion": "aviation",
    "biudzhet": "budgetary",
    "budzhet": "budgetary",
    "byudzhet": "budgetary",
    "elektronn": "electronic",
    "eksperimental": "experimental",
    "federaln": "federal",
    "gosudarstv": "state",
    "informatsion": "information",
    "informatiz": "information",
    "institut": "institute",
    "inzhenern": "engineering",
    "issledovatel": "research",
    "konstruktorsk": "design",
    "kosmichesk": "space",
    "mashinostroit": "machinebuilding",
    "moskovsk": "moscow",
    "natsional": "national",
    "nauchn": "science",
    "obschestv": "obshchestvo",
    "obshcestv": "obshchestvo",
    "obshchestv": "obshchestvo",
    "obshestv": "obshchestvo",
    "tavarystv": "obshchestvo",
    "tovarystv": "obshchestvo",
    "ogranichen": "limited",
    "abmezhav": "limited",
    "obmezhen": "limited",
    "otvetstvenn": "liability",
    "adkaznast": "liability",
    "vidpovidal": "liability",
    "responsab": "liability",
    "raspundere": "liability",
    "otkryto": "open",
    "otkryta": "open",
    "adkryta": "open",
    "zakryto": "closed",
    "zakryta": "closed",
    "publichn": "public",
    "opytn": "experimental",
    "predpri": "enterprise",
    "proektn": "project",
    "proizvodstv": "production",
    "radiotekhnich": "radioengineering",
    "rossiisk": "russia",
    "rossiysk": "russia",
    "rossisk": "russia",
    "sibirsk": "siberia",
    "spetsial": "special",
    "sudostroit": "shipbuilding",
    "tekhnichesk": "technology",
    "torgov": "trading",
    "tsentraln": "central",
    "uchrezhd": "institution",
    "unitarn": "unitary",
    "upravlen": "control",
    "vserossi": "vserossiysky",
    "fizik": "physics",
}
"""Slavic words by their beginning, as their endings and their transliterations vary."""
_SHORTEST: Final = min(map(len, _STEMS))
_HEAD: Final = 4
_BY_HEAD: Final[dict[str, list[tuple[str, str]]]] = {}
for _stem, _one in _STEMS.items():
    _BY_HEAD.setdefault(_stem[:_HEAD], []).append((_stem, _one))
_ORDINAL: Final = re.compile(r"(\d+)(?:st|nd|rd|th)")
_ADJECTIVE: Final = re.compile(
    r"(?<=[a-z]{3})sk(?:ogo|oho|aya|aia|oe|oye|oi|oy|iy|ii|ij|yi|yy|y|i)\Z"
)
_ASPIRATED: Final = re.compile(r"(?<=[aeiou])h(?=[aeiou])")
_SURNAME: Final = re.compile(r"(?<=[a-z]{2}[oe]v)sky\Z|(?<=[a-z]{3}in)sky\Z")
"""What makes an adjective of a surname: Kurchatovsky."""
_PLURAL: Final = re.compile(r"(?<=[a-z]{3})[^aciosu]s\Z")


def spelled(word: str) -> str:
    """A word in lower case and Latin letters in its one spelling; Slavic adjectives in one case."""
    if known := ONE_WORD.get(word):
        return known
    if word[0].isdigit() and (ordinal := _ORDINAL.fullmatch(word)):
        return ordinal[1]
    if len(word) >= _SHORTEST:
        for stem, one in _BY_HEAD.get(word[:_HEAD], ()):
            if word.startswith(stem):
                return one
    if "sk" in word:
        word = _ADJECTIVE.sub("sky", word)
        if word.endswith("sky"):
            return _SURNAME.sub("", _ASPIRATED.sub("kh", word))
        return word
    return word.removesuffix("s") if _PLURAL.search(word) else word
