"""Parties out of rows: several rows may give the names of one."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from outlast.features.trust.screening.lists.list_file import ListFile, malformed
from outlast.features.trust.screening.lists.party import ListedParty, PartyKind

_PERSONS = frozenset({"individual", "person", "p"})
_CRAFTS = frozenset({"vessel", "ship", "aircraft", "airplane"})


def party_kind(text: str) -> PartyKind:
    """What a list calls a party. Where it says nothing, it is compared as an organisation."""
    word = text.strip().lower()
    if word in _PERSONS:
        return PartyKind.PERSON
    return PartyKind.CRAFT if word in _CRAFTS else PartyKind.ORGANISATION


@dataclass(slots=True)
class _Gathered:
    kind: PartyKind
    names: dict[str, None] = field(default_factory=dict)
    programmes: dict[str, None] = field(default_factory=dict)


class Parties:
    """Collects rows. `rows` counts them."""

    def __init__(self, file: ListFile) -> None:
        self.rows = 0
        self._file = file
        self._found: dict[tuple[str, str], _Gathered] = {}

    def add(
        self,
        party: str,
        names: Iterable[str],
        *,
        kind: PartyKind,
        programmes: Iterable[str] = (),
        list_name: str,
    ) -> None:
        """A row about the party with this id. Raises :class:`MalformedError` of one without an id
        or names: a party that is not known would be passed over.
        """
        self.rows += 1
        tuning = self._file.tuning
        given = [" ".join(name.split()) for name in names]
        given = [name for name in given if name]
        if not party or not given:
            lacks = "a name" if party else "an id"
            raise malformed(self._file.name, f"the party of row {self.rows} lacks {lacks}")
        found = self._found.setdefault((list_name, party), _Gathered(kind))
        for name in given:
            if len(name) > tuning.name:
                raise malformed(
                    self._file.name, f"a name in row {self.rows} has over {tuning.name} characters"
                )
            found.names[name] = None
        found.programmes.update(dict.fromkeys(filter(None, programmes)))
        if max(len(found.names), len(found.programmes)) > tuning.names:
            raise malformed(self._file.name, f"the party {party[:40]!r} has too many names")

    def all(self) -> tuple[ListedParty, ...]:
        """Those that were collected, in the order of the list."""
        return tuple(
            ListedParty(
                id=party,
                name=next(iter(found.names)),
                aliases=tuple(found.names)[1:],
                programmes=tuple(found.programmes),
                kind=found.kind,
                list_name=list_name,
            )
            for (list_name, party), found in self._found.items()
        )
