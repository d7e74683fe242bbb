"""A list of parties, as values: where it is from, and who is on it."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from outlast.core.digest import Digest


class ListKind(StrEnum):
    """Whose list it is, and in which format."""

    US_CSV = "us-csv"
    """The US Consolidated Screening List, as CSV; it has the SDN and the Entity List."""
    US_JSON = "us-json"
    EU_CSV = "eu-csv"
    """The EU's consolidated list of financial sanctions, as CSV."""
    EU_XML = "eu-xml"
    UK_CSV = "uk-csv"
    """The UK Sanctions List, or the consolidated list that came before it, as CSV."""
    OPENSANCTIONS = "opensanctions"
    """OpenSanctions' ``targets.simple.csv``."""


class PartyKind(StrEnum):
    """What is listed."""

    ORGANISATION = "organisation"
    PERSON = "person"
    CRAFT = "craft"
    """A ship or an aircraft. No model has one behind it, so these are counted and not compared."""


@dataclass(frozen=True, slots=True)
class ListedParty:
    """A party of a list: `list_name` is the part of the list that has it, as the list says."""

    id: str
    name: str
    aliases: tuple[str, ...]
    programmes: tuple[str, ...]
    kind: PartyKind
    list_name: str


class DatedBy(StrEnum):
    """Who says of which day a list is."""

    DATA = "data"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What a report says of a list. `rows`: those of the file; `parties`: how many they describe.
    `file`: its name, without its folder.
    """

    kind: ListKind
    file: str
    date: dt.date
    dated_by: DatedBy
    digest: Digest
    rows: int
    parties: int


@dataclass(frozen=True, slots=True)
class PartyList:
    """A list that was read."""

    facts: ListFacts
    parties: tuple[ListedParty, ...]
