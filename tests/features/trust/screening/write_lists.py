"""Writes rows as each of the lists that outlast reads, as their publishers lay them out."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from xml.sax.saxutils import quoteattr

from outlast.features.trust.screening.lists.party import ListKind
from tests.features.trust.screening.listed_parties import Row


def _columns(text: str) -> list[str]:
    return text.split(";" if ";" in text else ",")


DAY: Final = "2026-11-20"
US_HEAD: Final = _columns(
    "_id,source,entity_number,type,programs,name,title,addresses,federal_register_notice,start_date,end_date,standard_order,license_requirement,license_policy,call_sign,vessel_type,gross_tonnage,gross_registered_tonnage,vessel_flag,vessel_owner,remarks,source_list_url,alt_names,citizenships,dates_of_birth,nationalities,places_of_birth,source_information_url,ids"
)
EU_HEAD: Final = _columns(
    "fileGenerationDate,Entity_LogicalId,Entity_EU_ReferenceNumber,Entity_UnitedNationId,Entity_DesignationDate,Entity_Remark,Entity_SubjectType,Entity_SubjectType_ClassificationCode,Entity_Regulation_Programme,NameAlias_LastName,NameAlias_FirstName,NameAlias_WholeName,Address_City"
)
UK_HEAD: Final = _columns(
    "Last Updated,Unique ID,OFSI Group ID,UN Reference Number,Name 6,Name 1,Name 2,Name "
    "3,Name 4,Name 5,Name type,Alias strength,Title,Name non-latin script,Non-latin script "
    "type,Non-latin script language,Regime Name,Designation Type,Designation source,Date "
    "Designated"
)
OLD_UK_HEAD: Final = _columns(
    "Name 6,Name 1,Name 2,Name 3,Name 4,Name 5,Title,Name Non-Latin "
    "Script,DOB,Country,Other Information,Group Type,Alias Type,Regime,Listed On,Group ID"
)
OPEN_HEAD: Final = _columns(
    "id,schema,name,aliases,birth_date,countries,addresses,identifiers,sanctions,phones,emails,dataset,first_seen,last_seen,last_change"
)


def table(head: Sequence[str], rows: Iterable[Mapping[str, str]], delimiter: str = ",") -> str:
    """CSV, each row with the cells that it has."""
    text = io.StringIO()
    writer = csv.DictWriter(text, head, restval="", delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def us_csv(rows: Iterable[Row]) -> bytes:
    cells = [
        {
            "_id": row.id,
            "source": row.part,
            "type": "Entity",
            "programs": row.programme,
            "name": row.name,
            "alt_names": "; ".join(row.aliases),
        }
        for row in rows
    ]
    return (table(US_HEAD, cells) + "\x1a\n").encode()


def us_json(rows: Iterable[Row]) -> bytes:
    results = [
        {
            "id": row.id,
            "source": row.part,
            "entity_number": 7,
            "type": None,
            "programs": [row.programme] if row.programme else [],
            "name": row.name,
            "alt_names": list(row.aliases),
            "addresses": [{"city": None, "country": "XX"}],
        }
        for row in rows
    ]
    return json.dumps(
        {"total": len(results), "results": results, "search_performed_at": f"{DAY}T04:15:00+00:00"}
    ).encode()


def eu_csv(rows: Iterable[Row]) -> bytes:
    cells = [
        {
            "fileGenerationDate": "20/11/2026",
            "Entity_LogicalId": str(number),
            "Entity_EU_ReferenceNumber": row.id,
            "Entity_SubjectType": "E",
            "Entity_SubjectType_ClassificationCode": "enterprise",
            "Entity_Regulation_Programme": row.programme,
            "NameAlias_WholeName": name,
        }
        for number, row in enumerate(rows)
        for name in (row.name, *row.aliases, "")
    ]
    return table(EU_HEAD, cells, ";").encode("utf-8-sig")


def eu_xml(rows: Iterable[Row]) -> bytes:
    head = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        '<export xmlns="http://eu.europa.ec/fpi/fsd/export" globalFileId="1"'
        f' generationDate="{DAY}T15:51:25.849+02:00">'
    )
    parts = [head]
    for row in rows:
        names = "".join(
            f"<nameAlias wholeName={quoteattr(name)} strong='true'><regulationSummary/></nameAlias>"
            for name in (row.name, *row.aliases)
        )
        parts.append(
            f'<sanctionEntity euReferenceNumber={quoteattr(row.id)} logicalId="1">'
            f"<regulation programme={quoteattr(row.programme)}/>"
            f'<subjectType code="enterprise" classificationCode="E"/>{names}</sanctionEntity>'
        )
    return "".join([*parts, "</export>"]).encode()


def uk_csv(rows: Iterable[Row]) -> bytes:
    cells = []
    for row in rows:
        for number, name in enumerate((row.name, *row.aliases)):
            key = "Name 6" if name.isascii() or not number else "Name non-latin script"
            cells.append(
                {
                    "Unique ID": row.id,
                    key: name,
                    "Name 6": name if key == "Name 6" else row.name,
                    "Name 1": "",
                    "Regime Name": row.programme,
                    "Designation Type": "Entity",
                }
            )
    return ("Report Date: 20-Nov-2026\r\n" + table(UK_HEAD, cells)).encode()


def old_uk_csv(rows: Iterable[Row]) -> bytes:
    cells = [
        {
            "Group ID": row.id,
            "Name 6": name,
            "Name 1": "0",
            "Regime": row.programme,
            "Group Type": "Entity",
        }
        for row in rows
        for name in (row.name, *row.aliases)
    ]
    return ("Last Updated,20/11/2026\r\n" + table(OLD_UK_HEAD, cells)).encode()


def opensanctions(rows: Iterable[Row]) -> bytes:
    cells = [
        {
            "id": row.id,
            "schema": "Company",
            "name": row.name,
            "aliases": ";".join(row.aliases),
            "sanctions": row.programme,
            "dataset": row.part,
            "last_seen": f"{DAY}T06:00:00" if number else "2026-11-01T06:00:00",
        }
        for number, row in enumerate(rows)
    ]
    return table(OPEN_HEAD, cells).encode()


WRITERS: Final[Mapping[str, tuple[ListKind, Callable[[Iterable[Row]], bytes]]]] = {
    "us-csv": (ListKind.US_CSV, us_csv),
    "us-json": (ListKind.US_JSON, us_json),
    "eu-csv": (ListKind.EU_CSV, eu_csv),
    "eu-xml": (ListKind.EU_XML, eu_xml),
    "uk-csv": (ListKind.UK_CSV, uk_csv),
    "old-uk-csv": (ListKind.UK_CSV, old_uk_csv),
    "opensanctions": (ListKind.OPENSANCTIONS, opensanctions),
}
