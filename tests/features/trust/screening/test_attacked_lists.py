"""Lists that are cut, change, or go away while rules ask for them: no publisher passes for it."""

import datetime as dt
import os
from importlib import resources
from pathlib import Path

import pytest

from outlast.core.errors import MalformedError
from outlast.core.policy import Action
from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.features.trust.rules.publishers import Publisher
from outlast.features.trust.rules.screen import PartyMatch
from outlast.features.trust.screening.list_screen import ListScreen, NamedList
from outlast.features.trust.screening.lists.reading import read_list
from outlast.features.trust.screening.tuning import ListTuning
from tests.features.trust.rules.world import subject
from tests.features.trust.screening.listed_parties import PUBLIC, Row
from tests.features.trust.screening.write_lists import us_csv

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
DAY = dt.date(2026, 11, 29)


def screen_of(path: Path, day: dt.date = DAY) -> ListScreen:
    return ListScreen([NamedList(path, as_of=day)], 7, lambda: NOW)


def publisher(name: str) -> Publisher:
    return Publisher(name)


def example_gate(tmp_path: Path, screen: ListScreen) -> RulesGate:
    """The rules that ship: nothing from listed parties."""
    rules = tmp_path / "rules.cedar"
    folder = resources.files("outlast.features.trust.rules") / "data" / "examples"
    rules.write_text((folder / "no-listed-parties.cedar").read_text())
    return RulesGate(RuleFiles((rules,)), screen=screen)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    path.write_bytes(us_csv(PUBLIC))
    return path


def test_a_list_that_is_current_decides(listed: Path, tmp_path: Path) -> None:
    gate = example_gate(tmp_path, screen_of(listed))
    assert gate.judge(Action.RUN, subject("mistralai/name")).allowed
    assert not gate.judge(Action.RUN, subject("huawei/name")).allowed


@pytest.mark.parametrize("how", ["old", "to-come", "gone", "pipe", "folder", "empty", "cut"])
def test_a_list_that_cannot_be_relied_on_refuses(how: str, listed: Path, tmp_path: Path) -> None:
    day = {"old": DAY - dt.timedelta(8), "to-come": DAY + dt.timedelta(9)}.get(how, DAY)
    screen = screen_of(listed, day)
    data = listed.read_bytes()
    if how in {"gone", "pipe", "folder"}:
        listed.unlink()
    match how:
        case "pipe":
            os.mkfifo(listed)
        case "folder":
            listed.mkdir()
        case "empty":
            listed.write_bytes(data.splitlines(keepends=True)[0])
        case "cut":
            listed.write_bytes(data[: data.rindex(b",")])
    assert screen.screen(publisher("mistralai")).match is PartyMatch.UNKNOWN
    assert not example_gate(tmp_path, screen).judge(Action.RUN, subject("mistralai/name")).allowed


def test_a_list_that_goes_bad_while_it_is_used_refuses(listed: Path) -> None:
    screen = screen_of(listed)
    assert screen.screen(publisher("mistralai")).match is PartyMatch.NONE
    data = listed.read_bytes()
    listed.write_bytes(data[: data.rindex(b",")])
    assert screen.screen(publisher("mistralai")).match is PartyMatch.UNKNOWN
    listed.write_bytes(data)
    assert screen.screen(publisher("mistralai")).match is PartyMatch.NONE


def test_a_list_that_keeps_size_and_time_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(us_csv([Row("1", "SDN", "Harmless Industries")]))
    screen, before = screen_of(path), path.stat()
    assert screen.screen(publisher("dangerous-industry")).match is PartyMatch.NONE
    path.write_bytes(us_csv([Row("1", "SDN", "Dangerous Industry.")]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert screen.screen(publisher("dangerous-industry")).match is PartyMatch.MATCH


def test_a_list_that_changes_while_it_is_read_is_refused(
    listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from outlast.features.trust.screening.lists import csv_rows  # noqa: PLC0415 - it is changed

    real = csv_rows.read_rows

    def read_rows(*given: object) -> object:
        found = real(*given)  # type: ignore[arg-type]
        with listed.open("r+b") as file:
            file.truncate(listed.stat().st_size - 1)
        return found

    monkeypatch.setattr("outlast.features.trust.screening.lists.list_formats.read_rows", read_rows)
    with pytest.raises(MalformedError, match="changed while it was read"):
        read_list(listed, as_of=DAY, tuning=ListTuning(chunk=1024))
