"""Which words the attributes of a model can have, so that a rule that asks for another word does
not load: it would be silent for ever.
"""

from collections.abc import Callable, Mapping
from typing import Final

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


def problem(attribute: str, word: str) -> str:
    """Why an attribute can never have a word; empty if it can."""
    if attribute in WORDS and word not in WORDS[attribute]:
        known = WORDS[attribute]
        shown = ", ".join(sorted(known)) if len(known) < 20 else "two letters of ISO 3166-1"
        return f"{attribute} is never {word!r}: it is one of {shown}"
    if attribute in CHECKS and not CHECKS[attribute][0](word):
        return f"{attribute} is never {word!r}: {CHECKS[attribute][1]}"
    return ""
