"""Units as systemd reads them (systemd.syntax(7), systemd.service(5)): an independent reader of
what our writer writes.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

_ESCAPES: Final = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "s": " "}


def settings(unit: str) -> dict[str, list[str]]:
    """The values of all settings, as ``Section.Name``, in their order."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in unit.splitlines():
        assert not line.endswith("\\"), "goes on in the next line"
        if not line.strip() or line[0] in "#;":
            continue
        if line[0] == "[":
            section = line[1:-1]
        else:
            name, equals, value = line.partition("=")
            assert equals, line
            found[f"{section}.{name}"].append(value.strip())
    return dict(found)


def words(text: str) -> list[str]:
    """The words of a value: quotes group, a backslash escapes."""
    found: list[str] = []
    rest = text
    while rest := rest.lstrip(" \t"):
        word, quote = "", ""
        while rest:
            char, rest = rest[0], rest[1:]
            if char == "\\":
                word += _ESCAPES[rest[0]]
                rest = rest[1:]
            elif char == quote:
                quote = ""
            elif not quote and char in "\"'":
                quote = char
            elif not quote and char in " \t":
                break
            else:
                word += char
        assert not quote, text
        found.append(word)
    return found


def specifiers(text: str, known: Mapping[str, str]) -> str:
    """`text` with its specifiers (``%h``) replaced; ``%%`` is a percent sign."""
    return re.sub("%(.)", lambda found: {**known, "%": "%"}[found[1]], text)


def variables(text: str, known: Mapping[str, str]) -> str:
    """The same with ``${NAME}`` and ``$$``. No other ``$`` is right: it may begin a variable."""
    found = re.sub(
        r"\$\$|\$\{(\w+)\}", lambda each: "\0" if each[0] == "$$" else known[each[1]], text
    )
    assert "$" not in found, text
    return found.replace("\0", "$")


def command(value: str, specifier: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """What a process gets for ``ExecStart=``: the program, and its arguments."""
    assert value[0] not in "@-:+!", "a prefix"
    first, *others = words(value)
    assert ";" not in re.split(r"[ \t]", value), "a second command"
    return [
        specifiers(first, specifier),
        *(variables(specifiers(word, specifier), environ) for word in others),
    ]
