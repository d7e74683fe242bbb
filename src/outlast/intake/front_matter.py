"""What the front matter of a model's card says under a few keys: as much of YAML as cards use, read
so that nothing can be said there which another reader sees and this one does not.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

FRONT: Final = 64 * 1024
"""Bytes of a card that are read: its front matter. Guess: the longest that we met has 20 kB."""
_KEY: Final = re.compile(r"""(["']?)([\w-]+)\1[ \t]*:(.*)""")
"""As YAML writes one, also in quotes."""
_BEFORE: Final = "\ufeff \t\r\n"
"""What hubs pass over before the front matter."""
_ITEM: Final = re.compile(r"\s*-\s+(.+)")
_ODD: Final = re.compile(r"""[{?<!&*]|["'][^"']*\\""")
"""YAML that no writer of cards needs, and that can say what is under a key without naming it."""


def front_matter(text: str, keys: Iterable[str], *, cut: bool) -> Iterator[tuple[str, str | None]]:
    """The values of `keys`, each with its key. A key of "" with None: what cannot be read may say
    more. `cut`: the text may go on.
    """
    wanted = frozenset(keys)
    key, block = "", list[str]()
    for line in _lines(text):
        found = _KEY.fullmatch(line)
        if found is not None and found[2] not in wanted:
            found = None
        if found is None and key and (line[:1] in {" ", "\t", ""} or _ITEM.match(line)):
            block.append(line)  # it goes on with the value
            continue
        yield from ((key, value) for value in _values(block))
        key, block = (found[2], [found[3]]) if found else ("", [])
        if _ODD.match(line):
            yield "", None
    yield from ((key, value) for value in _values(block))
    plain = text.lstrip(_BEFORE)
    if cut and plain.startswith("---") and "\n---" not in plain:
        yield "", None


def _lines(text: str) -> Iterator[str]:
    """The lines of a front matter, without the blanks before all of them, and without comments."""
    lines = iter(text.lstrip(_BEFORE).splitlines())
    if next(lines, "").strip() != "---":
        return
    blanks = None
    for line in lines:
        if line.strip() == "---":
            return
        told = "" if line.lstrip().startswith("#") else line.split(" #", maxsplit=1)[0]
        if blanks is None and told.strip():
            blanks = told[: len(told) - len(told.lstrip())]
        yield told.removeprefix(blanks or "")


def _values(block: Sequence[str]) -> Iterator[str]:
    """What a value is that YAML writes in these lines: a text, or a list in one of two ways."""
    items = [""]
    for line in block:
        item = _ITEM.fullmatch(line)
        if item is not None:
            items.append(item[1])
        else:
            items[-1] += f" {line.strip()}"
    first = items[0].strip()
    if first.startswith("["):
        yield from " ".join(items).strip().strip("[]").split(",")
    else:
        yield from items
