"""Rules that ask about the parties on lists: what they are told, and when nothing is known."""

import datetime as dt
import os
from pathlib import Path

import pytest

from outlast.features.trust.rules.publishers import Publisher, read_publishers
from outlast.features.trust.rules.screen import PartyMatch
from outlast.features.trust.screening.known_publishers import KnownPublishers
from outlast.features.trust.screening.list_screen import ListScreen, NamedList
from outlast.features.trust.screening.lists.party import ListKind
from tests.cli.call import inside
from tests.features.trust.screening.listed_parties import PUBLIC
from tests.features.trust.screening.write_lists import us_csv

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
BANK = Publisher("sberbank-ai")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "list.csv"
    found.write_bytes(us_csv(PUBLIC))
    return found


def screen_of(path: Path, day: str = "2026-11-29", now: dt.datetime = NOW) -> ListScreen:
    return ListScreen([NamedList.parse(f"{path}@{day}")], 30, lambda: now)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("/a/list.csv", NamedList(Path("/a/list.csv"))),
        ("us-csv=/a/list", NamedList(Path("/a/list"), ListKind.US_CSV)),
        ("a=b.csv", NamedList(Path("a=b.csv"))),
        ("/a@b/list", NamedList(Path("/a@b/list"))),
        ("/a/list@2026-11-29", NamedList(Path("/a/list"), None, dt.date(2026, 11, 29))),
        (
            "eu-csv=/a@b@2026-11-29",
            NamedList(Path("/a@b"), ListKind.EU_CSV, dt.date(2026, 11, 29)),
        ),
    ],
)
def test_a_list_is_named_with_its_kind_and_its_day(text: str, named: NamedList) -> None:
    assert NamedList.parse(text) == named


def test_the_account_the_entity_and_the_parent_are_compared(path: Path) -> None:
    screen = screen_of(path)
    found = screen.screen(BANK)
    assert found.match is PartyMatch.MATCH
    assert "id " in found.why
    assert screen.screen(Publisher("x", "PAO Sberbank")).match is PartyMatch.MATCH
    assert screen.screen(Publisher("x", parent="sberbank-ai")).match is PartyMatch.MATCH
    assert screen.screen(Publisher("meta-llama")).match is PartyMatch.NONE
    assert screen.screen(Publisher("")).match is PartyMatch.UNKNOWN


@pytest.mark.parametrize("day", ["2026-10-30", "2027-01-01"])
def test_a_list_that_is_too_old_or_of_a_day_to_come_says_nothing(path: Path, day: str) -> None:
    found = screen_of(path, day).screen(Publisher("meta-llama"))
    assert found.match is PartyMatch.UNKNOWN
    assert "list.csv" in found.why


def test_a_list_grows_old_while_it_is_used(path: Path) -> None:
    now = NOW
    screen = ListScreen([NamedList.parse(f"{path}@2026-11-29")], 30, lambda: now)
    assert screen.screen(BANK).match is PartyMatch.MATCH
    now += dt.timedelta(days=40)
    assert screen.screen(BANK).match is PartyMatch.UNKNOWN


def test_a_list_that_changes_is_read_again_and_a_broken_one_says_nothing(path: Path) -> None:
    screen = screen_of(path)
    assert screen.screen(BANK).match is PartyMatch.MATCH
    rest = [row for row in PUBLIC if "sber" not in " ".join((row.name, *row.aliases)).lower()]
    path.write_bytes(us_csv(rest))
    os.utime(path, ns=(1, 1))
    assert screen.screen(BANK).match is not PartyMatch.MATCH
    path.write_bytes(b"no list")
    assert screen.screen(BANK).match is PartyMatch.UNKNOWN
    path.unlink()
    assert screen.screen(BANK).match is PartyMatch.UNKNOWN


def test_the_table_of_publishers_says_who_is_behind_a_name() -> None:
    known = KnownPublishers(read_publishers(None))
    found = known.names_of("Meta-Llama")
    assert found is not None
    assert found.entity.startswith("Meta Platforms")
    assert known.names_of("no-such-organisation") is None


def test_a_model_of_a_listed_party_is_refused(path: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.cedar"
    rules.write_text(
        '@id("open")\npermit (principal, action, resource);\n'
        '@id("parties")\n@reason("no listed party")\n'
        'forbid (principal, action, resource) unless { resource.listed_party == "none" };\n'
    )
    config = tmp_path / "config" / "outlast" / "config.toml"
    config.parent.mkdir(parents=True)
    day = dt.datetime.now(dt.UTC).date().isoformat()
    config.write_text(f'[trust]\nrules = "{rules}"\nlists = ["{path}@{day}"]\n')
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    text = inside("add", model, "--as", "sberbank-ai/x", home=tmp_path).failed("refused-by-rules")
    assert "no listed party" in text
    inside("add", model, "--as", "meta-llama/x", home=tmp_path).ok()
    path.write_bytes(b"no list")
    inside("verify", home=tmp_path).ok()
    text = inside("link", "meta-llama/x", "--folder", tmp_path / "out", home=tmp_path).failed(
        "refused-by-rules"
    )
    assert "listed_party is unknown" in text
