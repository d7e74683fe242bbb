"""An index of rows that tests write."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from outlast.core.digest import Digest
from outlast.features.trust.screening.lists.party import (
    DatedBy,
    ListedParty,
    ListFacts,
    ListKind,
    PartyKind,
    PartyList,
)
from outlast.features.trust.screening.names.matching import NameIndex
from tests.features.trust.screening.listed_parties import Row

FACTS: Final = ListFacts(
    ListKind.US_CSV, "list", dt.date(2026, 11, 20), DatedBy.DATA, Digest("0" * 64), 1, 1
)


def index_of(rows: Sequence[Row], kind: PartyKind = PartyKind.ORGANISATION) -> NameIndex:
    """The rows as one list."""
    parties = [
        ListedParty(row.id, row.name, row.aliases, (row.programme,), kind, row.part) for row in rows
    ]
    return NameIndex([PartyList(FACTS, tuple(parties))])
