"""The gate: it follows its files, and refuses where it cannot decide."""

import datetime as dt
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from outlast.core.claims import Claim, Claims, ClaimState, Standing
from outlast.core.digest import Digest
from outlast.core.errors import BadConfigError, OutlastError, RefusedByRulesError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.core.policy import Action, ArchiveRules, Subject, Verdict
from outlast.features.trust.rules.gate import RuleFiles, RulesGate
from outlast.features.trust.rules.publishers import Publisher
from outlast.features.trust.rules.screen import PartyMatch, Screened, worst
from tests.features.trust.rules.world import NO_ACME, OPEN_RULES, gate_of, knowledge, subject


def test_it_answers(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, OPEN_RULES + NO_ACME)
    assert gate.judge(Action.PULL, subject()).allowed
    verdict = gate.judge(Action.PULL, subject("acme/name"))
    assert verdict == Verdict(
        allowed=False, reason="not from acme: publisher is acme", rule="no-acme"
    )


def test_each_file_has_to_allow(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, OPEN_RULES + NO_ACME, OPEN_RULES)
    assert gate.judge(Action.RUN, subject()).allowed
    assert not gate.judge(Action.RUN, subject("acme/name")).allowed
    assert not gate_of(tmp_path).judge(Action.RUN, subject()).allowed


def test_where_it_reports_it_allows_and_says_so(tmp_path: Path) -> None:
    rules = ArchiveRules(gate_of(tmp_path, OPEN_RULES + NO_ACME, reports=True))
    rules.require(Action.PULL, subject())
    rules.require(Action.PULL, subject("acme/name"))
    assert rules.judge(Action.PULL, subject("acme/name")).reported
    said = rules.status()
    assert (said.asked, said.allowed, said.refused, said.reported) == (True, 1, 0, 2)


def test_in_force_it_refuses_and_counts(tmp_path: Path) -> None:
    rules = ArchiveRules(gate_of(tmp_path, OPEN_RULES + NO_ACME))
    with pytest.raises(RefusedByRulesError, match=r"pull of acme/name: .*\(rule no-acme\)"):
        rules.require(Action.PULL, subject("acme/name"))
    assert rules.status().refused == 1


def test_it_follows_its_files(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, OPEN_RULES)
    path = tmp_path / "0.cedar"
    assert gate.judge(Action.RUN, subject("acme/name")).allowed
    path.write_text(OPEN_RULES + NO_ACME)
    assert not gate.judge(Action.RUN, subject("acme/name")).allowed
    assert gate.judge(Action.RUN, subject()).allowed
    path.write_text("permit (")
    assert "not Cedar" in gate.judge(Action.RUN, subject()).reason
    assert not gate.judge(Action.RUN, subject()).allowed, "nor when it is asked again"
    path.unlink()
    assert not gate.judge(Action.RUN, subject()).allowed
    path.write_text(OPEN_RULES)
    assert gate.judge(Action.RUN, subject()).allowed


@pytest.mark.parametrize("table", ["publishers", "labels"])
def test_a_table_that_cannot_be_read_refuses(tmp_path: Path, table: str) -> None:
    rules, wrong = tmp_path / "rules.cedar", tmp_path / "table.toml"
    rules.write_text(OPEN_RULES)
    wrong.write_text("x = ")
    files: dict[str, Path] = {table: wrong}
    gate = RulesGate(RuleFiles((rules,), **files))
    assert not gate.judge(Action.RUN, subject()).allowed
    with pytest.raises(BadConfigError):
        gate.load()


def test_without_the_package_it_refuses(tmp_path: Path) -> None:
    with patch.dict(sys.modules, {"cedarpy": None}):
        verdict = gate_of(tmp_path, OPEN_RULES).judge(Action.RUN, subject())
    assert not verdict.allowed
    assert "cedarpy" in verdict.reason


class Failing:
    """Whatever it is asked, it fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def screen(self, publisher: Publisher) -> Screened:
        del publisher
        raise self._error


@contextmanager
def failing(place: str, error: Exception) -> Iterator[dict[str, Any]]:
    """What a gate is given so that one part of it fails."""
    if place == "screen":
        yield {place: Failing(error)}
        return
    with patch(f"outlast.features.trust.rules.{place}", side_effect=error):
        yield {}


PLACES = (
    "screen",
    "attributes.read_licence",
    "attributes.formats_of",
    "attributes.organisation",
    "publishers.Publishers.of",
    "publishers.Publishers.named",
    "labels.Labels.of",
    "rule_set.RuleSet.decide",
    "rule_set._engine",
    "gate.read_rules",
    "gate.read_publishers",
    "gate.read_labels",
    "gate.judged",
)
WITH_BASE: dict[str, Any] = {"manifest": Digest.of(b""), "base_models": ("other/base",)}


@pytest.mark.parametrize("error", [OutlastError("no"), ValueError("bug"), RecursionError()])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("reports", [False, True])
def test_no_failure_allows(tmp_path: Path, place: str, error: Exception, reports: bool) -> None:
    """A bug comes out as such; everything else is an answer, and that is no."""
    revision = Revision.of(RepoId.parse("org/name"), None, [])
    asked = subject(revision=revision, **WITH_BASE)
    with failing(place, error) as more:
        gate = gate_of(tmp_path, OPEN_RULES, reports=reports, **more)
        verdict = None
        with suppress(ValueError, RecursionError):
            verdict = gate.judge(Action.RUN, asked)
        if verdict is None:
            assert not isinstance(error, OutlastError)
            return
        assert not verdict.allowed or verdict.reported
        assert verdict.allowed is reports


def test_cedars_own_failure_is_no(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, OPEN_RULES)
    gate.load()
    with patch("cedarpy.is_authorized", side_effect=ValueError("no answer")):
        verdict = gate.judge(Action.RUN, subject())
    assert "no answer" in verdict.reason
    assert not verdict.allowed


def test_what_is_known_is_not_judged_again(tmp_path: Path) -> None:
    gate = gate_of(tmp_path, OPEN_RULES)
    assert gate.judge(Action.RUN, subject()).allowed
    with patch("cedarpy.is_authorized", side_effect=AssertionError):
        assert gate.judge(Action.RUN, subject()).allowed
        with pytest.raises(AssertionError):
            gate.judge(Action.SERVE, subject())
        with pytest.raises(AssertionError):
            gate.judge(Action.RUN, subject(licence="mit"))


# What is asked


def test_each_claim_is_an_attribute() -> None:
    observed = ClaimState(Claim.OBSERVED, Standing.STALE, who=("a", "b"))
    signed = ClaimState(Claim.PUBLISHED, Standing.REFUSED)

    told = Claims.of([observed, signed], revoked="stolen")
    revision = Revision.of(RepoId.parse("org/name"), None, [])
    own = Claims.of([ClaimState(Claim.INTACT, Standing.HOLDS)])
    asked = subject(claims=own, manifest=Digest.of(b""), revision=revision)
    assert knowledge().attributes(asked)["claims"] == {
        "intact": True,
        "published": False,
        "observed": False,
        "listed": False,
        "stale": False,
        "refused": False,
        "revoked": False,
        "revoked_accepted": False,
        "observers": 0,
    }
    assert knowledge().attributes(replace(asked, claims=told))["claims"] == {
        "intact": False,
        "published": False,
        "observed": True,
        "listed": False,
        "stale": True,
        "refused": True,
        "revoked": True,
        "revoked_accepted": False,
        "observers": 2,
    }


def test_parties_are_screened_with_their_bases() -> None:
    class Lists:
        def screen(self, publisher: Publisher) -> Screened:
            named = {"bad": PartyMatch.MATCH, "maybe": PartyMatch.POSSIBLE}
            return Screened(named.get(publisher.organisation, PartyMatch.NONE))

    def found(name: str, *bases: str) -> tuple[str, str]:
        said = knowledge(screen=Lists()).attributes(subject(name, base_models=bases))
        return said["listed_party"], said["listed_base"]

    assert found("Bad/m") == ("match", "none")
    assert found("org/m", "maybe/x", "Bad/y") == ("none", "match")
    assert found("org/m", "maybe/x", "good/y") == ("none", "possible")
    assert found("org/m", "not a name", "gpt2") == ("none", "none")
    assert knowledge().attributes(subject())["listed_party"] == "unknown"
    assert worst([PartyMatch.NONE, PartyMatch.UNKNOWN]) is PartyMatch.UNKNOWN


@pytest.mark.parametrize(
    ("made", "days"),
    [
        ("2026-01-01T00:00:00.000Z", 30),
        ("2026-01-01T00:00:00", 30),
        ("2026-01-31", 0),
        ("2030-01-01T00:00:00Z", -1),
        ("yesterday", -1),
        ("", -1),
    ],
)
def test_days_since_it_was_made(made: str, days: int) -> None:
    now = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    found = knowledge(clock=lambda: now).attributes(subject(facts={"createdAt": made}))
    assert found["published_days"] == days


def test_the_licences_text_is_that_of_an_archived_file() -> None:
    one, other = Digest.of(b"1"), Digest.of(b"2")
    files = [FileEntry("sub/LICENSE", 1, other), FileEntry("LICENSE.txt", 1, one)]
    repo = RepoId.parse("org/name")
    whole, partial = Revision.of(repo, None, files), Revision.of(repo, None, files[:1], files[1:])

    def text(revision: Revision | None) -> str:
        asked = Subject(repo, files=tuple(files), revision=revision)
        found: str = knowledge().attributes(asked)["licence"]["text"]
        return found

    assert text(whole) == one.hex
    assert text(partial) == other.hex
    assert text(None) == ""


def test_formats_and_sizes() -> None:
    names = ("a.safetensors", "b.BIN", "LICENSE", ".gitattributes", "what", "modeling.py", "x.odd")
    files = tuple(FileEntry(name, 1 << 62) for name in names)
    found = knowledge().attributes(subject(files=files))
    assert found["formats"] == ["code", "other", "pickle", "safetensors", "text"]
    assert found["size"] == (1 << 63) - 1
    assert found["files"] == len(names)


def test_a_hosted_api_and_its_country() -> None:
    facts = {"hosted": "yes", "host-country": "CN"}
    found = knowledge().attributes(subject(facts=facts))
    assert (found["hosted"], found["host_jurisdiction"]) == (True, "CN")
    found = knowledge().attributes(subject(facts={"host-country": "Mars"}))
    assert (found["hosted"], found["host_jurisdiction"]) == (False, "unknown")
