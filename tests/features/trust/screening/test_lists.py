# ruff: noqa: E501 - a hostile list a line
"""Lists are read wholly or not at all, in each of their formats."""

import contextlib
import datetime as dt
import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.core.errors import (
    MalformedError,
    NotFoundError,
    OutlastError,
    StaleListError,
    UsageError,
)
from outlast.features.trust.screening.lists.dates import parse_date
from outlast.features.trust.screening.lists.list_formats import detect
from outlast.features.trust.screening.lists.party import DatedBy, ListKind, PartyKind
from outlast.features.trust.screening.lists.reading import check_age, read_list
from outlast.features.trust.screening.tuning import LISTS
from tests.features.trust.screening.listed_parties import PUBLIC, Row, made_up
from tests.features.trust.screening.write_lists import (
    EU_HEAD,
    OPEN_HEAD,
    UK_HEAD,
    US_HEAD,
    WRITERS,
    eu_csv,
    eu_xml,
    table,
    us_csv,
    us_json,
)

DAY = dt.date(2026, 11, 20)
ROWS = (*PUBLIC, *made_up(200))
SMALL = replace(LISTS, chunk=64, line=400, element=400, depth=5, rows=50, names=10, name=80)


def write(folder: Path, data: bytes | str, name: str = "list") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("chunk", [LISTS.chunk, 700])
def test_each_format_gives_the_same_parties(name: str, chunk: int, tmp_path: Path) -> None:
    kind, writer = WRITERS[name]
    data = writer(ROWS)
    tuning = replace(LISTS, chunk=chunk, head=400)
    found = read_list(write(tmp_path, data), as_of=DAY, tuning=tuning)
    assert found.facts.kind is kind
    assert found.facts.date == DAY
    assert found.facts.digest.hex == hashlib.sha256(data).hexdigest()
    assert found.facts.parties == len(ROWS) == len(found.parties)
    assert found.facts.rows >= len(ROWS)
    for party, row in zip(found.parties, ROWS, strict=True):
        assert party.id == row.id
        assert party.name == row.name
        assert set(party.aliases) == set(row.aliases) - {row.name}
        assert party.programmes == ((row.programme,) if row.programme else ())
        assert party.kind is PartyKind.ORGANISATION


@pytest.mark.parametrize("name", WRITERS)
def test_where_the_date_is_from(name: str, tmp_path: Path) -> None:
    kind, writer = WRITERS[name]
    path = write(tmp_path, writer(PUBLIC))
    if kind is ListKind.US_CSV:
        with pytest.raises(UsageError, match="does not say of which day"):
            read_list(path)
        facts = read_list(path, as_of=dt.date(2026, 11, 3)).facts
        assert (facts.date, facts.dated_by) == (dt.date(2026, 11, 3), DatedBy.OPERATOR)
    else:  # the data wins
        facts = read_list(path, as_of=dt.date(2026, 11, 3)).facts
        assert (facts.date, facts.dated_by) == (DAY, DatedBy.DATA)


def test_the_oldest_day_of_the_rows_counts(tmp_path: Path) -> None:
    data = eu_csv(PUBLIC[:2]).replace(b"20/11/2026", b"01/02/2025", 1)
    assert read_list(write(tmp_path, data)).facts.date == dt.date(2025, 2, 1)


def test_kinds_of_parties(tmp_path: Path) -> None:
    cells = [
        {"_id": str(number), "source": "x", "name": f"N{number}", "type": kind}
        for number, kind in enumerate(("Individual", "Entity", "Vessel", "Aircraft", ""))
    ]
    found = read_list(write(tmp_path, table(US_HEAD, cells)), as_of=DAY)
    organisation = PartyKind.ORGANISATION
    assert [party.kind for party in found.parties] == [
        *(PartyKind.PERSON, organisation, PartyKind.CRAFT, PartyKind.CRAFT, organisation)
    ]


@pytest.mark.parametrize(
    ("days", "most", "stale"),
    [(30, 30, False), (31, 30, True), (0, 0, False), (-1, 30, False), (-2, 30, True)],
)
def test_a_list_may_be_so_old(days: int, most: float, stale: bool, tmp_path: Path) -> None:
    facts = read_list(write(tmp_path, eu_csv(PUBLIC))).facts
    today = DAY + dt.timedelta(days=days)
    if stale:
        with pytest.raises(StaleListError):
            check_age(facts, today, most)
    else:
        check_age(facts, today, most)


def _long(kind: str) -> bytes:
    """A list that never ends a line, an element or a quote."""
    parts = {
        "line": b"_id,source,name,alt_names\n" + b"x" * 5000,
        "quote": b'_id,source,name,alt_names\n1,"' + b"x\n" * 5000,
        "attribute": b'<export generationDate="' + b"1" * 5000,
        "text": b"<export><sanctionEntity><remark " + b"a='1' " * 3000,
        "element": b'{"results": [{"name": "' + b"x" * 5000,
        "before": b'{"total": "' + b"x" * 5000,
        "after": b'{"results": [{"id": "1", "name": "x"}], "more": "' + b"x" * 5000,
    }
    return parts[kind]


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (ListKind.US_CSV, ("line", "quote")),
        (ListKind.EU_XML, ("attribute", "text")),
        (ListKind.US_JSON, ("element", "before", "after")),
    ],
)
def test_nothing_is_taken_without_bound(
    kind: ListKind, parts: tuple[str, ...], tmp_path: Path
) -> None:
    for part in parts:
        with pytest.raises(MalformedError):
            read_list(write(tmp_path, _long(part)), kind=kind, as_of=DAY, tuning=SMALL)


BOMB = b"""<?xml version="1.0"?><!DOCTYPE export [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><export><sanctionEntity euReferenceNumber="&b;"><nameAlias wholeName="x"/></sanctionEntity></export>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE export SYSTEM "file:///etc/passwd"><export><sanctionEntity
logicalId="1"><nameAlias wholeName="x"/></sanctionEntity></export>"""
ONE = [{"_id": "1", "source": "x", "name": "N"}]
HOSTILE: dict[str, tuple[ListKind | None, bytes]] = {
    "entities": (ListKind.EU_XML, BOMB),
    "a document type": (ListKind.EU_XML, OUTSIDE),
    "deep XML": (ListKind.EU_XML, b"<export>" + b"<a>" * 60 + b"</a>" * 60 + b"</export>"),
    "too many names in XML": (ListKind.EU_XML, b'<export><sanctionEntity logicalId="1">' + b'<nameAlias wholeName="x"/>' * 20),
    "too many programmes in XML": (ListKind.EU_XML, b'<export><sanctionEntity logicalId="1">' + b'<regulation programme="x"/>' * 20),
    "another XML": (ListKind.EU_XML, b"<html/>"),
    "cut XML": (ListKind.EU_XML, eu_xml(PUBLIC)[:-20]),
    "an unknown encoding": (None, b"<?xml version='1.0' encoding='none-such'?><export/>"),
    "no names": (ListKind.EU_XML, b'<export><sanctionEntity logicalId="1"/></export>'),
    "deep JSON": (ListKind.US_JSON, b'{"results": [{"a": ' + b"[" * 200_000),
    "cut JSON": (ListKind.US_JSON, us_json(PUBLIC)[:-30]),
    "cut at an element": (ListKind.US_JSON, us_json(PUBLIC).partition(b"}, {")[0] + b"}"),
    "a key twice": (ListKind.US_JSON, b'{"results": [{"id": "1", "name": "a", "name": "b"}]}'),
    "NaN": (ListKind.US_JSON, b'{"results": [{"id": "1", "name": "a", "x": NaN}]}'),
    "a huge number": (ListKind.US_JSON, b'{"results": [{"id": ' + b"9" * 9000 + b"}]}"),
    "a list in place of a name": (ListKind.US_JSON, b'{"results": [{"id": "1", "name": []}]}'),
    "a text in place of a record": (ListKind.US_JSON, b'{"results": ["x"]}'),
    "no comma": (ListKind.US_JSON, b'{"results": [{"id": "1", "name": "x"} {"id": "2", "name": "y"}]}'),
    "two commas": (ListKind.US_JSON, b'{"results": [{"id": "1", "name": "x"},,{"id": "2", "name": "y"}]}'),
    "something before": (ListKind.US_JSON, b'x{"results": [{"id": "1", "name": "x"}]}'),
    "a list inside": (ListKind.US_JSON, b'{"a": {"results": [{"id": "1", "name": "x"}]}}'),
    "two lists": (ListKind.US_JSON, b'{"results": [{"id": "1", "name": "x"}], "results": [{"id": "2", "name": "y"}]}'),
    "an empty list": (ListKind.US_JSON, b'{"results": []}'),
    "a head alone": (ListKind.US_CSV, table(US_HEAD, []).encode()),
    "no column": (ListKind.US_CSV, b"a,b\n1,2\n"),
    "a column twice": (ListKind.US_CSV, b"_id,source,name,name,alt_names\n1,x,y,z,\n"),
    "an open quote": (ListKind.US_CSV, us_csv(PUBLIC) + b'9,"x'),
    "a row that is too long": (ListKind.US_CSV, b"_id,source,name,alt_names\n1,x,y,z,more\n"),
    "a row without a name": (ListKind.US_CSV, b"_id,source,name,alt_names\n1,x\n"),
    "a row without an id": (ListKind.OPENSANCTIONS, b"id,schema,name,aliases\n,Company,X,\n"),
    "NUL": (ListKind.US_CSV, us_csv(PUBLIC).replace(b"Huawei", b"Hua\0wei")),
    "Latin-1": (ListKind.US_CSV, table(US_HEAD, [ONE[0] | {"name": "Caf\xe9"}]).encode("latin-1")),
    "gzip": (None, b"\x1f\x8b\x08" + b"\0" * 100),
    "zip": (None, b"PK\x03\x04" + b"\0" * 100),
    "zstd": (None, b"\x28\xb5\x2f\xfd" + b"\0" * 100),
    "too many names": (ListKind.US_CSV, table(US_HEAD, [ONE[0] | {"alt_names": ";".join("abcdefghijklm")}]).encode()),
    "a long name": (ListKind.US_CSV, table(US_HEAD, [ONE[0] | {"name": "n" * 90}]).encode()),
    "too many rows": (ListKind.US_CSV, table(US_HEAD, ONE * 60).encode()),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lists_are_refused_whole(name: str, tmp_path: Path) -> None:
    kind, data = HOSTILE[name]
    small = replace(SMALL, line=2000, element=2000)
    tuning = small if name.startswith(("too many", "a long")) else LISTS
    with pytest.raises(MalformedError) as caught:
        read_list(write(tmp_path, data), kind=kind, as_of=DAY, tuning=tuning)
    assert str(caught.value).isprintable()


def test_what_is_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="more than 1,000 bytes"):
        read_list(write(tmp_path, us_csv(PUBLIC)), as_of=DAY, tuning=replace(LISTS, size=1000))


def test_a_formula_is_text(tmp_path: Path) -> None:
    row = Row("=1+1", "x", '=HYPERLINK("http://x")', ("@SUM(A1)",))
    (party,) = read_list(write(tmp_path, us_csv([row])), as_of=DAY).parties
    assert (party.id, party.name, party.aliases) == (row.id, row.name, row.aliases)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_say_so(encoding: str, tmp_path: Path) -> None:
    data = us_csv(PUBLIC).decode().encode(encoding)
    assert read_list(write(tmp_path, data), as_of=DAY).parties[0].aliases[1] == "华为技术有限公司"


def test_what_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_list(tmp_path / "none")
    with pytest.raises(OutlastError):
        read_list(tmp_path)
    with pytest.raises(UsageError, match="not a list of a kind"):
        read_list(write(tmp_path, b"hello"))


def test_a_list_is_known_by_its_content() -> None:
    assert detect(",".join(US_HEAD)) is ListKind.US_CSV
    assert detect(";".join(EU_HEAD)) is ListKind.EU_CSV
    assert detect("Report Date: 1-Jan-2026\n" + ",".join(UK_HEAD)) is ListKind.UK_CSV
    assert detect(",".join(f'"{name}"' for name in OPEN_HEAD)) is ListKind.OPENSANCTIONS
    assert detect('{"search_performed_at": "x",') is ListKind.US_JSON
    assert detect("<html>") is None


def test_dates() -> None:
    for text in ("2026-11-20T10:00:00", "20/11/2026", "20-Nov-2026", "20 November 2026"):
        assert parse_date(text) == DAY
    for text in ("", "31/02/2026", "2026-13-01", "20-Xyz-2026", "999999-01-01", "soon"):
        assert parse_date(text) is None


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(list(ListKind)))
def test_any_bytes_are_a_list_or_an_error(data: bytes, kind: ListKind) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), data)
        with contextlib.suppress(MalformedError, UsageError):
            assert read_list(path, kind=kind, as_of=DAY).parties


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=3))
def test_a_changed_list_is_never_shorter_unseen(at: int, new: bytes) -> None:
    """A byte that changes in JSON changes a name, an id or a word; it hides no party."""
    data = us_json(PUBLIC)
    changed = data[:at] + new + data[at + len(new) :]
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = read_list(write(Path(folder), changed), kind=ListKind.US_JSON, as_of=DAY)
        except (MalformedError, UsageError):
            return
        assert found.facts.rows == len(json.loads(changed)["results"])
