"""The report of an audit: replayed from its raw answers, signed, refused where it is hostile."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from outlast.core.errors import IntegrityError, MalformedError
from outlast.features.audit.evidence import Verdict
from outlast.features.audit.reports.document import AuditReport, report_of_finding
from outlast.features.audit.reports.files import read_report, report_bytes
from outlast.features.audit.reports.replaying import follows, replayed
from tests.cli.call import inside
from tests.features.audit.hostile_server import completion, hostile, send
from tests.features.audit.sample_report import changed, sample_report
from tests.gguf_cut import small_smollm2


def written(home: Path, report: AuditReport) -> Path:
    path = home / "report.json"
    path.write_bytes(report_bytes(report))
    return path


def test_a_report_is_read_as_it_was_written() -> None:
    report = sample_report()
    data = report_bytes(report)
    assert read_report(data) == report
    assert report_bytes(read_report(data)) == data
    assert json.loads(data)["finding"]["verdict"] == "consistent"


@pytest.mark.parametrize(("off", "verdict"), [(0, "consistent"), (0.4, "divergent")])
def test_the_verdict_follows_from_the_raw_answers(tmp_path: Path, off: float, verdict: str) -> None:
    report = sample_report(off)
    finding = replayed(report)
    assert finding.verdict is Verdict(verdict)
    assert report_of_finding(finding) == report.finding
    found = inside("audit", "replay", written(tmp_path, report), "--json", home=tmp_path)
    assert found.code == (0 if verdict == "consistent" else 10)
    assert (found.result["same"], found.result["keys"]) == (True, [])


def test_an_answer_that_was_changed_shows(tmp_path: Path) -> None:
    """Only the raw answers say what was served: here an honest endpoint's in place of another's."""
    lying, honest = sample_report(0.4), sample_report()
    mixed = changed(lying, exchanges=honest.to_json()["exchanges"])
    assert replayed(mixed).verdict is Verdict.CONSISTENT
    inside("audit", "replay", written(tmp_path, mixed), home=tmp_path).failed("integrity")


@pytest.mark.parametrize(("off", "same"), [(1e-13, True), (1e-6, False)])
def test_numbers_may_be_rounded_as_another_processor_does(*, off: float, same: bool) -> None:
    report = sample_report(0.4)
    finding = report.to_json()["finding"]
    finding["explanations"]["none of these"] *= 1 + off
    said = changed(report, finding=finding)
    assert said.finding != report.finding
    assert follows(said.finding, replayed(said)) is same


@pytest.mark.parametrize(
    "change",
    [
        {"commitment": "0" * 64},
        {"seed": "01"},
        {"prompts": [f"another {n}" for n in range(6)]},
        {"test": None},
    ],
)
def test_other_questions_and_verdicts_without_a_test(change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        replayed(changed(sample_report(), **change))


def test_a_question_that_was_not_asked() -> None:
    values = sample_report().to_json()
    values["exchanges"][2]["request"] = values["exchanges"][1]["request"]
    with pytest.raises(IntegrityError, match="not the one"):
        replayed(changed(sample_report(), **values))


def _twice(values: dict[str, Any]) -> None:
    values["audited"][1]["exchange"] = 1


def _beyond(values: dict[str, Any]) -> None:
    values["audited"][0]["positions"][0]["at"] = 400


def _no_answer(values: dict[str, Any]) -> None:
    values["exchanges"][1]["response"] = '{"choices": [NaN]}'


def _of_nothing(values: dict[str, Any]) -> None:
    values["audited"][0]["positions"][0]["reference"] = []


def _without_exchange(values: dict[str, Any]) -> None:
    values["audited"][-1]["exchange"] = 77


def _greedy(values: dict[str, Any]) -> None:
    values["test"] = "greedy"  # its positions have no margins


def _other_test(values: dict[str, Any]) -> None:
    values["test"] = "tea leaves"


@pytest.mark.parametrize(
    "spoil",
    [_twice, _beyond, _no_answer, _of_nothing, _without_exchange, _greedy, _other_test],
)
def test_evidence_that_is_none(spoil: Callable[[dict[str, Any]], None]) -> None:
    values = sample_report().to_json()
    spoil(values)
    with pytest.raises(MalformedError):
        replayed(changed(sample_report(), **values))


def test_evidence_without_calibration_is_untestable() -> None:
    for honest in ({}, {"a": [], "b": [[0.1]]}):
        values = sample_report().to_json()
        values["calibration"]["honest"] = honest
        assert replayed(changed(sample_report(), **values)).verdict is Verdict.UNTESTABLE


def _hostile(text: str, new: str) -> bytes:
    data = report_bytes(sample_report())
    assert text.encode() in data
    return data.replace(text.encode(), new.encode(), 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 1_000_000,
        b'{"type":"urn:outlast:audit-report:v1"}',
        b'{"type":"urn:outlast:audit-report:v9"}',
        b'{"type":"urn:outlast:audit-report:v2"}',
        _hostile('"alpha":0.05', '"alpha":NaN'),
        _hostile('"alpha":0.05', '"alpha":1e999'),
        _hostile('"alpha":0.05', '"alpha":0'),
        _hostile('"alpha":0.05', '"alpha":0.05,"alpha":0.05'),
        _hostile('"alpha":0.05', '"alpha":0.050'),
        _hostile('"alpha":0.05', '"alpha":0.05,"more":1'),
        _hostile('"seconds":0.1', '"seconds":-1'),
        _hostile('"at":1', '"at":99999999999999999999'),
        _hostile('"ended":""', '"ended":"\\ud800"'),
        _hostile('"honest":["bf16"]', '"honest":' + json.dumps(["x"] * 65, separators=(",", ":"))),
        _hostile('"tokens":6', '"tokens":100000000000'),
        _hostile('"time":1790000000', '"time":99999999999999'),
        report_bytes(sample_report()) + b" ",
    ],
)
def test_a_hostile_report_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(data)
    inside("audit", "replay", "report.json", home=tmp_path).failed("malformed")


def test_no_more_evidence_than_an_audit_can_gather(tmp_path: Path) -> None:
    """The exact test takes memory by prompts of both kinds: what is beyond is not computed."""
    for rows in ([[0.1]] * 201, [[0.1] * 513]):
        values = sample_report().to_json()
        values["calibration"]["honest"]["bf16"] = rows
        (tmp_path / "report.json").write_bytes(rfc8785.dumps(values))
        inside("audit", "replay", "report.json", home=tmp_path).failed("malformed")
    inside("audit", "replay", tmp_path, home=tmp_path).failed("not-found")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "small").mkdir()
    model = small_smollm2(tmp_path / "small").parent
    inside("add", model, "--as", "me/small", home=tmp_path).ok()
    return tmp_path


def test_a_report_is_signed_by_the_only_key(home: Path) -> None:
    with hostile(lambda handler, *_: send(handler, completion("always this"))) as url:

        def audit(*more: str, code: int = 12) -> str:
            words = ("audit", url, "--model", "m", "--against", "me/small", "--report", "r.json")
            done = inside(*words, *more, home=home)
            assert done.code == code, done.err
            return done.err

        def replay() -> Any:
            return inside("audit", "replay", "r.json", "--json", home=home)

        signed = home / "r.json.dsse.json"
        assert "you have 0 keys" in audit()
        assert not signed.exists()
        inside("key", "new", "me", "--no-passphrase", home=home).ok()
        assert "commitment to the questions: " in audit("--page", "r.html")
        assert (home / "r.html").read_text().startswith("<!doctype html>")
        [key] = replay().result["keys"]
        before = signed.read_bytes()
        report = read_report((home / "r.json").read_bytes())
        (home / "r.json").write_bytes(report_bytes(changed(report, endpoint="http://b/v1")))
        replay().failed("bad-signature")
        audit()
        assert signed.read_bytes() != before
        assert replay().result["keys"] == [key]
        signed.write_bytes(signed.read_bytes().replace(b'"sig":"', b'"sig":"AAAA'))
        replay().failed("bad-signature")
        signed.write_bytes(b"{}")
        replay().failed("malformed")
        inside("key", "new", "you", "--no-passphrase", home=home).ok()
        assert "you have 2 keys" in audit()
        assert not signed.exists()
        audit("--sign", "you")
        assert replay().result["keys"] != [key]
        audit("--unsigned")
        assert not signed.exists()
        audit("--unsigned", "--sign", "you", code=2)
