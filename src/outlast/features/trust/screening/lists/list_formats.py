"""The formats of the lists: which columns or fields say who a party is. Each reader gives the date
of the list, as far as its data has one.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from outlast.features.trust.screening.lists.csv_rows import Row, read_rows
from outlast.features.trust.screening.lists.dates import parse_date
from outlast.features.trust.screening.lists.eu_xml import EuXml
from outlast.features.trust.screening.lists.gather import Parties, party_kind
from outlast.features.trust.screening.lists.json_items import JsonItems
from outlast.features.trust.screening.lists.list_file import ListFile, malformed
from outlast.features.trust.screening.lists.party import ListKind

Reader = Callable[[ListFile, Parties], dt.date | None]
_EU: Final = "EU consolidated list of financial sanctions"
_UK: Final = "UK sanctions list"


def detect(head: str) -> ListKind | None:
    """Which list begins so; None where it is none that we know."""
    start = head.lstrip()
    if start.startswith("<"):
        return ListKind.EU_XML if "<export" in head else None
    if start.startswith(("{", "[")):
        return ListKind.US_JSON if '"results"' in head or '"search_performed_at"' in head else None
    first = "\n".join(start.split("\n")[:3])
    marks = {
        "Entity_LogicalId": ListKind.EU_CSV,
        "alt_names": ListKind.US_CSV,
        "Name 6": ListKind.UK_CSV,
        "id,schema,name": ListKind.OPENSANCTIONS,
    }
    plain = first.replace('"', "")
    return next((kind for mark, kind in marks.items() if mark in plain), None)


def _us_csv(file: ListFile, parties: Parties) -> dt.date | None:
    _, rows = read_rows(file, ",", "alt_names")
    for row in rows:
        _need(file, row, "name", "source")
        parties.add(
            row.get("_id") or row.get("id") or row.get("entity_number", ""),
            [row["name"], *row["alt_names"].split(";")],
            kind=party_kind(row.get("type", "")),
            programmes=map(str.strip, row.get("programs", "").split(";")),
            list_name=row["source"],
        )
    return None


def _us_json(file: ListFile, parties: Parties) -> dt.date | None:
    items = JsonItems(file)
    for item in items:
        parties.add(
            _text(file, item, "id") or _text(file, item, "entity_number"),
            [_text(file, item, "name"), *_texts(file, item, "alt_names")],
            kind=party_kind(_text(file, item, "type")),
            programmes=_texts(file, item, "programs"),
            list_name=_text(file, item, "source"),
        )
    return parse_date(items.dated)


def _eu_csv(file: ListFile, parties: Parties) -> dt.date | None:
    _, rows = read_rows(file, ";", "Entity_LogicalId")
    dates = set()
    for row in rows:
        _need(file, row, "NameAlias_WholeName")
        dates.add(row.get("fileGenerationDate", ""))
        if not row["NameAlias_WholeName"]:  # a row that only has another address
            _need_party(file, row)
            continue
        parties.add(
            row.get("Entity_EU_ReferenceNumber") or row["Entity_LogicalId"],
            [row["NameAlias_WholeName"]],
            kind=party_kind(
                row.get("Entity_SubjectType_ClassificationCode")
                or row.get("Entity_SubjectType", "")
            ),
            programmes=[row.get("Entity_Regulation_Programme", "")],
            list_name=_EU,
        )
    return _oldest(dates)


def _need_party(file: ListFile, row: Row) -> None:
    if not row["Entity_LogicalId"]:
        raise malformed(file.name, "a row is of no party")


def _eu_xml(file: ListFile, parties: Parties) -> dt.date | None:
    entities = EuXml(file)
    for entity in entities:
        parties.add(
            entity.id,
            entity.names,
            kind=party_kind(entity.kind),
            programmes=entity.programmes,
            list_name=_EU,
        )
    return parse_date(entities.dated)


def _uk_csv(file: ListFile, parties: Parties) -> dt.date | None:
    before, rows = read_rows(file, ",", "Name 6")
    for row in rows:
        names = [row.get(f"Name {number}", "") for number in (1, 2, 3, 4, 5, 6)]
        whole = " ".join(name for name in names if name not in {"", "0"})
        other = row.get("Name non-latin script") or row.get("Name Non-Latin Script", "")
        parties.add(
            row.get("Unique ID") or row.get("Group ID", ""),
            [whole, other],
            kind=party_kind(row.get("Designation Type") or row.get("Group Type", "")),
            programmes=[row.get("Regime Name") or row.get("Regime", "")],
            list_name=_UK,
        )
    words = " ".join(cell for cells in before for cell in cells).replace("\t", " ").split(" ")
    texts = [" ".join(words[at:]) for at in range(len(words))]
    return next(filter(None, map(parse_date, texts)), None)


def _opensanctions(file: ListFile, parties: Parties) -> dt.date | None:
    _, rows = read_rows(file, ",", "schema")
    latest: dt.date | None = None
    for row in rows:
        _need(file, row, "id", "name", "aliases")
        seen = parse_date(row.get("last_seen", ""))
        latest = max(filter(None, (latest, seen)), default=None)
        parties.add(
            row["id"],
            [row["name"], *row["aliases"].split(";")],
            kind=party_kind(row["schema"]),
            programmes=map(
                str.strip, (row.get("program_ids") or row.get("sanctions", "")).split(";")
            ),
            list_name=row.get("dataset", ""),
        )
    return latest


READERS: Final[Mapping[ListKind, Reader]] = {
    ListKind.US_CSV: _us_csv,
    ListKind.US_JSON: _us_json,
    ListKind.EU_CSV: _eu_csv,
    ListKind.EU_XML: _eu_xml,
    ListKind.UK_CSV: _uk_csv,
    ListKind.OPENSANCTIONS: _opensanctions,
}


def _need(file: ListFile, row: Row, *columns: str) -> None:
    for column in columns:
        if column not in row:
            raise malformed(file.name, f"it has no column {column!r}")


def _oldest(texts: set[str]) -> dt.date | None:
    """The first of several days; None where one of them is no date."""
    found = list(map(parse_date, texts))
    return min((day for day in found if day), default=None) if all(found) else None


def _text(file: ListFile, item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise malformed(file.name, f"{key!r} of an element is no text")
    return str(value)


def _texts(file: ListFile, item: Mapping[str, Any], key: str) -> Iterator[str]:
    value = item.get(key)
    if value is None:
        return
    if isinstance(value, str):
        value = value.split(";")
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise malformed(file.name, f"{key!r} of an element is no list of texts")
    yield from value
