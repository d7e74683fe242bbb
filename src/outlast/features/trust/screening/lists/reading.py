"""Reads a list that the operator supplies, and says of which day it is."""

import datetime as dt
from pathlib import Path
from typing import Final

from outlast.core.errors import StaleListError, UsageError
from outlast.features.trust.screening.lists.gather import Parties
from outlast.features.trust.screening.lists.list_file import ListFile, malformed
from outlast.features.trust.screening.lists.list_formats import READERS, detect
from outlast.features.trust.screening.lists.party import DatedBy, ListFacts, ListKind, PartyList
from outlast.features.trust.screening.tuning import LISTS, ListTuning

_AHEAD: Final = dt.timedelta(days=1)
"""So far may a list be dated ahead: its publisher's day may have begun."""


def read_list(
    path: Path,
    *,
    kind: ListKind | None = None,
    as_of: dt.date | None = None,
    tuning: ListTuning = LISTS,
) -> PartyList:
    """The list in the file `path`; without a `kind` its content tells which one it is. `as_of`: its
    day, where its data has none. Raises :class:`MalformedError` of a file that is not wholly such a
    list, and :class:`UsageError` where the day or the kind is not known.
    """
    with ListFile.open(path, tuning) as file:
        kind = kind or detect(file.head)
        if kind is None:
            raise UsageError(
                f"{path.name} is not a list of a kind that is known",
                hint=f"name its kind, as in {ListKind.US_CSV}={path.name}; kinds: "
                + ", ".join(ListKind),
            )
        parties = Parties(file)
        said = READERS[kind](file, parties)
        found = parties.all()
        if not found:
            raise malformed(file.name, "it names no party")
        day, by = (said, DatedBy.DATA) if said is not None else (as_of, DatedBy.OPERATOR)
        if day is None:
            raise UsageError(
                f"the data of {path.name} does not say of which day the list is",
                hint="give --as-of YYYY-MM-DD: the day on which you got it from its publisher",
            )
        facts = ListFacts(kind, file.name, day, by, file.digest, parties.rows, len(found))
    return PartyList(facts, found)


def check_age(facts: ListFacts, today: dt.date, most: float) -> None:
    """Raises :class:`StaleListError` of a list that is more than `most` days old, or of a day that
    is still to come.
    """
    if facts.date > today + _AHEAD:
        raise StaleListError(
            f"the list {facts.file} is of {facts.date}, a day that is still to come",
            hint="check the clock of this machine, and --as-of",
        )
    age = (today - facts.date).days
    if age > most:
        raise StaleListError(f"the list {facts.file} is of {facts.date}: {age} days old")
