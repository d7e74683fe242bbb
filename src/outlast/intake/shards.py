"""Are the parts of a model complete? Judged by the names of its files, and by its index."""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final

from outlast.core.errors import MalformedError, one_line
from outlast.core.manifest import load_json
from outlast.intake.content import Flaw, Suspect

MAX_INDEX: Final = 32 * 1024 * 1024
"""Bytes of an index that is read: that of 160 shards with 90,000 tensors has 9 MB."""
_MOST_NAMES: Final = 500_000
_MOST_NESTED: Final = 1000
"""Names and brackets of an index that is read, so that its objects take little memory. Real ones
have up to 100,000 names and some brackets.
"""
_NAMED: Final = 3
"""Absent files that a reason names."""
_SHARD: Final = re.compile(
    r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<rest>\.[^/]*|)\Z"
)
_FROM_ONE: Final = (".safetensors", ".bin", ".gguf", ".pt", ".pth")
"""Endings of weights, whose shards are counted from 1; those of data sets are from 0."""


def is_index(path: str) -> bool:
    """Whether a file names the shards of a model."""
    return path.endswith(".index.json")


def incomplete(here: Iterable[str], known: Collection[str]) -> Iterator[Suspect]:
    """Sets of shards of which some are neither `here` nor otherwise `known` to the revision (as
    left out). Each is reported at its first shard that is here.
    """
    sets: dict[tuple[str, int, str], tuple[str, set[int]]] = {}
    for path in sorted(here):
        if (match := _SHARD.match(path)) is not None:
            key = match["stem"], int(match["count"]), match["rest"]
            sets.setdefault(key, (path, set()))
    for path in known:
        if (match := _SHARD.match(path)) is not None:
            found = sets.get((match["stem"], int(match["count"]), match["rest"]))
            if found is not None:
                found[1].add(int(match["number"]))
    for (stem, count, rest), (path, numbers) in sets.items():
        first = _first(numbers, count, rest)
        absent = count - sum(first <= number < first + count for number in numbers)
        if absent > 0:
            wanted = (number for number in range(first, first + count) if number not in numbers)
            names = [f"{stem}-{number:05}-of-{count:05}{rest}" for number in islice(wanted, _NAMED)]
            yield Suspect(path, Flaw.SHARD, _missing(absent, f"{count} shards", names))


def _first(numbers: set[int], count: int, rest: str) -> int:
    """The number of the first shard."""
    if 0 in numbers:
        return 0
    return 1 if count in numbers or rest.endswith(_FROM_ONE) else 0


def judge_index(path: str, data: bytes, known: Collection[str]) -> Suspect | None:
    """What is wrong with the index at `path`: it is no JSON, or names files that are not known."""
    if data.count(b":") > _MOST_NAMES or data.count(b"[") + data.count(b"{") > _MOST_NESTED:
        return None
    try:
        document = load_json(data, MAX_INDEX)
    except MalformedError as error:
        return Suspect(path, Flaw.INDEX, f"it is no index: {error}")
    shards = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(shards, dict):
        return None  # an index of something else
    folder = path.rpartition("/")[0]
    named = {str(name) for name in shards.values() if isinstance(name, str)}
    absent = sorted(name for name in named if (f"{folder}/{name}" if folder else name) not in known)
    if not absent:
        return None
    reason = _missing(len(absent), f"the {len(named)} files that it names", absent)
    return Suspect(path, Flaw.INDEX, reason)


def _missing(absent: int, of: str, names: list[str]) -> str:
    shown = ", ".join(one_line(name, 100) for name in names[:_NAMED])
    more = f" and {absent - _NAMED} more" if absent > _NAMED else ""
    return f"{absent} of {of} {'is' if absent == 1 else 'are'} missing: {shown}{more}"
