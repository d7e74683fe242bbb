"""Who is screened for a model, what is noted of it, and what the command prints."""

import csv
import datetime as dt
import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.names import RepoId, Target
from outlast.features.trust.screening.card_parties import read_authors
from outlast.features.trust.screening.names.matching import Alike, NameIndex
from outlast.features.trust.screening.publisher_facts import (
    NO_FACTS,
    PublisherFacts,
    PublisherNames,
)
from outlast.features.trust.screening.report_csv import as_text, write_csv
from outlast.features.trust.screening.screen import compare, screen
from outlast.features.trust.screening.screened import Screening
from outlast.features.trust.screening.screening_log import ScreeningLog
from outlast.features.trust.screening.subjects import (
    ModelParties,
    PartyName,
    PartyRole,
    parties_of,
)
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from tests.cli.call import Call, inside
from tests.features.trust.screening.listed_parties import PUBLIC, Row
from tests.features.trust.screening.rows_index import index_of
from tests.features.trust.screening.write_lists import eu_csv, us_csv
from tests.serve.peers import archive_files

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


class Known:
    """Facts of some publishers."""

    def __init__(self, names: Mapping[str, PublisherNames]) -> None:
        self._names = names

    def names_of(self, organisation: str) -> PublisherNames | None:
        return self._names.get(organisation.lower())


FACTS = Known(
    {
        "ai-forever": PublisherNames("SberDevices LLC", "sberbank-ai"),
        "sberbank-ai": PublisherNames("PAO Sberbank", "", ("Sber AI",)),
        "ring": PublisherNames("Ring Ltd", "ring-two"),
        "ring-two": PublisherNames("", "ring"),
    }
)


@pytest.fixture(scope="module")
def index() -> NameIndex:
    return index_of(PUBLIC)


def hold(archive: Archive, name: str, card: str = "", tags: tuple[str, ...] = ()) -> None:
    repo = RepoId.parse(name)
    archive_files(archive, repo, {"README.md": card.encode(), "w.bin": name.encode()})
    with archive.writer() as writer:
        archive.refs.put_about(writer, repo, About(tags=tags))


def screened(
    archive: Archive, name: str, index: NameIndex, facts: PublisherFacts = NO_FACTS
) -> Screening:
    return compare(parties_of(archive, Target.parse(name), facts), index)


def test_those_behind_a_publisher_are_screened(archive: Archive, index: NameIndex) -> None:
    found = screened(archive, "ai-forever/x", index, FACTS)
    assert [(name.name.text, name.name.role, name.alike) for name in found.names] == [
        ("ai-forever", PartyRole.ORGANISATION, Alike.NONE),
        ("SberDevices LLC", PartyRole.ENTITY, Alike.NONE),
        ("sberbank-ai", PartyRole.PARENT, Alike.MATCH),
        ("PAO Sberbank", PartyRole.ENTITY, Alike.MATCH),
        ("Sber AI", PartyRole.ALIAS, Alike.MATCH),
    ]
    assert found.alike is Alike.MATCH


def test_parents_in_a_ring_end(archive: Archive, index: NameIndex) -> None:
    names = [name.name.text for name in screened(archive, "ring/x", index, FACTS).names]
    assert names == ["ring", "Ring Ltd", "ring-two"]


def test_a_listed_base_is_found_through_lineage(archive: Archive, index: NameIndex) -> None:
    """By card and by tag, through models that the archive holds, in whatever case."""
    hold(archive, "zhipuai/glm")
    hold(archive, "good/tuned", "---\nbase_model: zhipuai/glm\n---\n")
    hold(archive, "Better/merged", tags=("base_model:merge:good/tuned",))
    hold(archive, "best/last", "---\nbase_model:\n- better/merged\n- best/last\n---\n")
    found = screened(archive, "best/last", index)
    (name,) = [name for name in found.names if name.alike is Alike.MATCH]
    assert str(name.name.of) == "zhipuai/glm"
    assert list(map(str, name.name.lineage)) == ["Better/merged", "good/tuned", "zhipuai/glm"]
    assert found.alike is Alike.MATCH
    assert not [text for text in found.unknown if "not archived" in text]


def test_bases_in_a_ring_end(archive: Archive, index: NameIndex) -> None:
    hold(archive, "a/one", "---\nbase_model: b/two\n---\n")
    hold(archive, "b/two", "---\nbase_model: A/One\n---\n")
    assert len(screened(archive, "a/one", index).names) == 2


def test_authors_in_the_card(archive: Archive, index: NameIndex) -> None:
    hold(archive, "a/one", "---\nauthors: [Sample Group, 'Huawei Technologies']\n---\n")
    found = screened(archive, "a/one", index)
    assert [(n.name.text, n.alike) for n in found.names if n.name.role is PartyRole.AUTHOR] == [
        ("Sample Group", Alike.NONE),
        ("Huawei Technologies", Alike.MATCH),
    ]


@pytest.mark.parametrize(
    ("card", "names"),
    [
        ("---\nauthor: One # why\n---", ("One",)),
        ("---\nauthors:\n  - One\n  - name: Two\nlicense: mit\n- Three\n---", ("One", "Two")),
        ('---\norganization: "Two  Words"\n---', ("Two Words",)),
        ("---\nlicense: mit\n---\nauthor: One", ()),
        ("author: One", ()),
        ("---\nauthor: \x1b[2J1\n", ("\\x1b[2J1",)),
        ("---\nauthors: [" + "a," * 1000, ("a",)),
    ],
)
def test_what_a_card_names(card: str, names: tuple[str, ...]) -> None:
    assert read_authors(card.encode()) == names


def test_what_is_not_known_is_said(archive: Archive, index: NameIndex) -> None:
    found = screened(archive, "gpt2", index)
    assert found.alike is Alike.UNKNOWN
    assert len(found.unknown) == 2
    hold(archive, "a/one", "---\nbase_model: b/away\n---\n")
    assert "b/away is not archived: its card and its bases are not known" in (
        screened(archive, "a/one", index).unknown
    )


def test_the_log_keeps_every_screening(archive: Archive, index: NameIndex) -> None:
    log = ScreeningLog(archive.layout.home)
    assert list(log.read()) == []
    targets = [Target.parse("sberbank-ai/x"), Target.parse("good/y")]
    for target in targets:
        list(screen(archive, [target], index, NO_FACTS, log, now=NOW, control=Control()))
    first, second = log.read()
    assert first["when"] == "2026-11-30T12:00:00+00:00"
    assert [first["alike"], second["alike"]] == ["match", "none"]
    (name,) = first["names"]
    (row,) = name["rows"]
    assert (row["id"], row["list"]) == ("S1", index.lists[0].digest.hex)
    assert first["lists"][0]["sha256"] == index.lists[0].digest.hex


def test_a_damaged_line_of_the_log_is_seen(archive: Archive, index: NameIndex) -> None:
    log = ScreeningLog(archive.layout.home)
    for number in range(3):
        log.append(screened(archive, f"org/m{number}", index), NOW)
    data = log.path.read_bytes()
    log.path.write_bytes(data.replace(b"org/m1", b"org/m9", 1))
    assert log.damaged() == [2]
    assert [line["repo"] for line in log.read()] == ["org/m0", "org/m2"]
    log.path.write_bytes(data[:-40])  # a crash in the middle of the last line
    log.append(screened(archive, "org/m3", index), NOW)
    assert [line["repo"] for line in log.read()] == ["org/m0", "org/m1", "org/m3"]
    assert log.damaged() == [3]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "  =1", "\uff1d1", "\uff0b1", "\uff20x"]
)
def test_no_cell_is_a_formula(text: str) -> None:
    assert as_text(text)[0] in {"'", "\\"}


@pytest.mark.parametrize("sign", [";", "; ", "|", ";  "])
def test_no_part_of_a_cell_is_a_formula(sign: str) -> None:
    """Where the comma is for decimals, spreadsheets split at semicolons."""
    index = index_of([Row("2", "x", "Sample Works", programme=f"SDN{sign}=1+1")])
    parties = ModelParties(RepoId.parse("sample-works/x"))
    parties.names.append(PartyName("sample-works", PartyRole.ORGANISATION, parties.repo))
    text = write_csv([compare(parties, index)]).decode()
    assert f"SDN{sign}'=1+1" in text
    assert f"{sign}=1" not in text


def test_the_report_as_csv(archive: Archive) -> None:
    index = index_of([Row("=2", "x", "=CMD Sample Works", programme="@P")])
    data = write_csv([screened(archive, "cmd-sample-works/x", index)])
    (row,) = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
    assert (row["id"], row["party"], row["programmes"]) == ("'=2", "'=CMD Sample Works", "'@P")
    assert row["result"] == "match"


# The command


def run(home: Path, *words: str | Path, data: bytes = b"", name: str = "list.csv") -> Call:
    path = home / name
    path.write_bytes(data or us_csv(PUBLIC))
    day = dt.datetime.now(dt.UTC).date().isoformat()
    return inside("policy", "screen", *words, "--lists", path, "--as-of", day, home=home)


def test_the_command_says_what_is_alike(tmp_path: Path) -> None:
    call = run(tmp_path, "sberbank-ai/x", "meta-llama/y").ok()
    first, second, *rest, last = [line for line in call.out.splitlines() if "known" not in line]
    assert first == "sberbank-ai/x: match; 1 name compared"
    assert second.startswith("  MATCH 100: organisation sberbank-ai: PUBLIC JOINT STOCK COMPANY")
    assert "RUSSIA-EO14024" in second
    assert rest == ["meta-llama/y: none; 2 names compared"]
    assert last.startswith("list list.csv (us-csv): of 20")
    assert "as the operator says" in last
    assert len(list(ScreeningLog(tmp_path / "archive").read())) == 2


def test_all_models_of_the_archive(tmp_path: Path) -> None:
    with Archive(tmp_path / "archive", create=True) as archive:
        hold(archive, "zhipuai/glm")
        hold(archive, "good/one")
    call = run(tmp_path, "--all", "--json", "--csv", tmp_path / "r.csv").ok()
    assert [(line["repo"], line["alike"]) for line in call.documents] == [
        ("good/one", "none"),
        ("zhipuai/glm", "match"),
    ]
    assert (tmp_path / "r.csv").read_bytes().count(b"\r\n") >= 3


def test_an_old_list_is_an_error_and_no_pass(tmp_path: Path) -> None:
    data = eu_csv(PUBLIC).replace(b"20/11/2026", b"01/01/2020")
    call = run(tmp_path, "good/one", data=data)
    call.failed("stale-list")
    assert call.out == ""
    assert not (tmp_path / "archive" / "trust").exists()


def test_the_operator_says_how_old(tmp_path: Path) -> None:
    config = tmp_path / "config" / "outlast" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[trust]\nlists-older-than = "99999d"\n')
    data = eu_csv(PUBLIC).replace(b"20/11/2026", b"01/01/2020")
    run(tmp_path, "good/one", data=data).ok()
    config.write_text('[trust]\nlists-older-than = "soon"\n')
    run(tmp_path, "good/one", data=data).failed("bad-config")


def test_a_list_that_cannot_be_read_stops_all(tmp_path: Path) -> None:
    run(tmp_path, "good/one", data=us_csv(PUBLIC)[:-200] + b'"').failed("malformed")
    assert not (tmp_path / "archive" / "trust").exists()


def test_wrong_calls(tmp_path: Path) -> None:
    run(tmp_path).failed("usage")
    run(tmp_path, "--all", "a/b").failed("usage")
    inside("policy", "screen", "a/b", "--lists", "none", home=tmp_path).failed("not-found")
    inside("policy", "screen", "a/b", home=tmp_path).failed("usage")
    words = ("--lists", tmp_path / "list.csv", "--as-of", "30.11.2026")
    inside("policy", "screen", "a/b", *words, home=tmp_path).failed("usage")


def test_the_kind_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\n" * 3 + eu_csv(PUBLIC).removeprefix(b"\xef\xbb\xbf"))
    words = ("--lists", f"eu-csv={path}")
    assert inside("policy", "screen", "a/b", *words, home=tmp_path).ok().out
    words = ("--lists", f"us-csv={path}")
    inside("policy", "screen", "a/b", *words, home=tmp_path).failed("malformed")


def test_the_doctor_tells_of_a_damaged_log(tmp_path: Path) -> None:
    run(tmp_path, "a/b").ok()
    path = tmp_path / "archive" / "trust" / "screenings.jsonl"
    assert "screenings" not in inside("doctor", home=tmp_path).out
    path.write_bytes(path.read_bytes().replace(b"a/b", b"a/c", 1))
    assert "1 lines of the log of screenings" in inside("doctor", home=tmp_path).out
    assert json.loads(path.read_bytes().rpartition(b"\t")[0])
