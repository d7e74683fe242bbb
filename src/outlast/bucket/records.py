"""The small files of a second home that are there twice: each copy restores the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from outlast.bucket.home import IDENTITY, SecondHome
from outlast.core.errors import CorruptError, MalformedError
from outlast.store.layout import MARKER
from outlast.store.records import sealed
from outlast.store.records.records import LIMIT

_REFS: Final = "refs"
_SECOND: Final = "second"
_MARKER_NAME: Final = "outlast.json"


@dataclass(frozen=True, slots=True)
class RecordPair:
    """A small file and its second copy. `damaged` are the names of those that are missing or do not
    pass their check; `right` is what both should be, None where neither is right.
    """

    name: str
    damaged: tuple[str, ...]
    right: bytes | None

    def mend(self, home: SecondHome) -> None:
        """Writes what is right in place of what is not. Raises :class:`CorruptError` where nothing
        is right.
        """
        if self.right is None:
            raise CorruptError("its other copy is damaged, too", hint="'outlast copy' writes it")
        for name in self.damaged:
            home.objects.put(name, self.right)


def damaged_records(home: SecondHome) -> Iterator[RecordPair]:
    """The pairs of which not both are right. Reads all refs, and what was known of each model."""
    names = {_MARKER_NAME, IDENTITY}
    for folder in (_REFS, f"{_SECOND}/{_REFS}"):
        names.update(n.removeprefix(f"{_SECOND}/") for n in home.objects.names(folder))
    for name in sorted(names):
        pair = {place: _right(home, name, place) for place in (name, f"{_SECOND}/{name}")}
        right = next((data for data in pair.values() if data is not None), None)
        damaged = tuple(place for place, data in pair.items() if data is None)
        if name == IDENTITY and right is None and home.objects.size(name) is None:
            continue  # no goal has named this home yet
        if damaged:
            yield RecordPair(name, damaged, right)


def _right(home: SecondHome, name: str, place: str) -> bytes | None:
    try:
        data = home.objects.read(place, LIMIT)
    except MalformedError:
        return None
    if data is None or name == _MARKER_NAME:
        return data if data == MARKER else None
    return data if sealed.unseal(name, data) is not None else None
