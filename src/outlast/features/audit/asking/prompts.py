"""Prompts that no provider can list beforehand: built from words and forms by a seed.

They look like what people ask, in several forms and with several ends, so that a provider cannot
answer them otherwise than its traffic.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

_FORMS: Final = (
    "What is {a}?",
    "Explain {a} to me{b}.",
    "Can you tell me something about {a}{b}?",
    "hi, i need help with {a}. where do i start?",
    "Write a short text about {a}{b}.",
    "How does {a} relate to {c}?",
    "What are the main differences between {a} and {c}?",
    "List three facts about {a}{b}.",
    "Why do people care about {a}?",
    "I have to give a talk on {a} and {c}. What should I say first?",
    "Is {a} still important today? Answer{b}.",
    "Give me an example of {a} from everyday life.",
    "Summarise the history of {a}{b}.",
    "My daughter asked me about {a}. How would you answer her?",
    "What would change if there were no {a}?",
    "Recommend a book on {a}, and say why{b}.",
)
_THINGS: Final = (
    *("bread", "the sea", "trains", "glass", "salt", "the moon", "bicycles", "tax law", "bees"),
    *("chess", "volcanoes", "paper", "rice", "steel", "vaccines", "bridges", "poetry", "sleep"),
    *("sorting algorithms", "databases", "the printing press", "gardens", "clocks", "rivers"),
    *("electric motors", "coffee", "maps", "trade unions", "forests", "jazz", "soil", "islands"),
    *("photosynthesis", "prime numbers", "earthquakes", "cheese", "ancient Rome", "wool"),
    *("weather forecasts", "operating systems", "migration", "satellites", "opera", "batteries"),
    *("handwriting", "fishing", "insurance", "dictionaries", "tea", "concrete", "magnets", "owls"),
)
_ENDS: Final = (
    "",
    "",
    " in simple words",
    " in a few sentences",
    " for a beginner",
    " with an example",
    " in a friendly tone",
    " as if I were ten years old",
)


def make_prompts(seed: bytes, count: int) -> list[str]:
    """`count` different prompts that follow from `seed`."""
    found: dict[str, None] = {}
    number = 0
    while len(found) < count:
        found[_prompt(seed + number.to_bytes(4, "big"))] = None
        number += 1
    return list(found)


def _prompt(seed: bytes) -> str:
    form, a, b, c = (
        _chosen(seed + name, words)
        for name, words in ((b"f", _FORMS), (b"a", _THINGS), (b"b", _ENDS), (b"c", _THINGS))
    )
    return form.format(a=a, b=b, c=c)


def _chosen(seed: bytes, words: Sequence[str]) -> str:
    return words[int.from_bytes(hashlib.sha256(seed).digest()[:8], "big") % len(words)]
