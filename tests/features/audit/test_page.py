"""The page of an audit: well-formed, self-contained, and nothing of an endpoint is HTML in it."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from outlast.core.errors import MalformedError
from outlast.features.audit.evidence import Verdict
from outlast.features.audit.page.charts import Chart, number, ticks
from outlast.features.audit.page.evidence import page_evidence
from outlast.features.audit.page.page import page
from outlast.features.audit.reports.document import AuditReport
from outlast.features.audit.reports.files import report_bytes
from outlast.features.audit.reports.replaying import replayed
from tests.cli.call import inside
from tests.features.audit.sample_report import changed, sample_report

EVIL = "</title><script>alert(1)</script><img src=x onerror=alert(2)>'\"&\x1b[31m\u202e"
VOID = {"meta", "img", "br"}


class Tags(HTMLParser):
    """Its tags with their attributes; each that was opened has to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def made(report: AuditReport) -> Tags:
    return Tags(page(report, replayed(report)))


def test_what_an_endpoint_says_is_text() -> None:
    plain = made(sample_report(0.4))
    report = sample_report(0.4, answer=EVIL, model=EVIL)
    report = changed(report, endpoint=f"http://{EVIL}", repo=EVIL, versions={EVIL: EVIL})
    tags = made(report)
    assert {tag for tag, _ in tags.found} == {tag for tag, _ in plain.found}
    assert len(tags.found) == len(plain.found)
    names = {name for _, attributes in tags.found for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in {"src", "href", "style"}}
    assert tags.text.count("alert(1)") >= 5
    assert "\x1b" not in tags.text
    assert "\u202e" not in tags.text


def test_what_is_no_answer_is_text_too() -> None:
    values = sample_report().to_json()
    values["exchanges"][0]["response"] = EVIL
    tags = made(changed(sample_report(), **values))
    assert EVIL.replace("\x1b", "\ufffd").replace("\u202e", "\ufffd") in tags.text


@pytest.mark.parametrize(("off", "verdict"), [(0.0, "consistent"), (0.4, "divergent")])
def test_a_page_has_the_verdict_and_four_charts(off: float, verdict: str) -> None:
    report = sample_report(off)
    tags = made(report)
    assert tags.text.count(verdict) >= 1
    assert [a["aria-label"] for tag, a in tags.found if tag == "svg"] == [
        "Evidence over tokens",
        "Each question",
        "Calibration",
        "Latency",
    ]
    assert report.commitment in tags.text
    assert "100 % of such audits would have found it" in tags.text
    circles = [a for tag, a in tags.found if tag == "circle"]
    # The end of the course, the questions, the calibration with the questions, and the requests.
    assert len(circles) == 1 + 5 + (20 + 8 + 5) + 6
    assert all(re.fullmatch(r"\d+(\.\d)?", str(a[k])) for a in circles for k in ("cx", "cy"))
    assert not [a for tag, a in tags.found if tag == "script"]


def test_the_course_ends_where_the_verdict_is() -> None:
    report = sample_report(0.4)
    finding = replayed(report)
    found = page_evidence(report, finding)
    assert len(found.course) == 5 * 6
    assert found.course[-1] == pytest.approx(finding.statistic)
    assert found.course[5] == pytest.approx(np.mean(found.audited[0]))


def sampled(ratio: float) -> AuditReport:
    """A report of sampled text, whose tokens are so much likelier under one alternative."""
    values = sample_report().to_json()
    for one in values["audited"]:
        one["positions"] = [{"honest": [-1.0], "alternatives": [-1.0 + ratio, -1.5]}] * 6
    runs = {"int4": [[5.0, 9.0]], "fp8": [[0.1, -3.0]]}
    values |= {"test": "sampled", "honest": ["own"], "alternatives": list(runs), "candidates": {}}
    values["calibration"] = {"honest": {"own": [[0.5, -0.5]]}, "alternatives": runs}
    return changed(sample_report(), **values)


def test_a_page_of_sampled_text() -> None:
    report = sampled(0.2)
    finding = replayed(report)
    assert finding.verdict is Verdict.DIVERGENT
    assert finding.statistic == pytest.approx(30 * 0.2 - math.log(2), abs=1e-6)
    found = page_evidence(report, finding)
    assert found.course[-1] == pytest.approx(finding.statistic)
    tags = made(report)
    assert len([tag for tag, _ in tags.found if tag == "svg"]) == 4
    assert "int4: 50 % of the likelihood" in tags.text
    assert replayed(sampled(0.0)).verdict is Verdict.CONSISTENT


@pytest.mark.parametrize("at", ["honest", "alternatives"])
def test_sampled_text_without_a_hypothesis(at: str) -> None:
    values = sampled(0.2).to_json()
    values["audited"][0]["positions"][0][at] = [-1.0, -1.0, -1.0]
    with pytest.raises(MalformedError, match="hypothesis"):
        replayed(changed(sample_report(), **values))
    values = sampled(0.2).to_json()
    values["calibration"]["alternatives"]["int4"] = []
    with pytest.raises(MalformedError, match="simulated"):
        replayed(changed(sample_report(), **values))


def test_a_page_of_nothing_tested() -> None:
    values = sample_report().to_json()
    values |= {"test": None, "audited": [], "finding": {"verdict": "untestable", "reason": "no"}}
    tags = made(changed(sample_report(), **values))
    assert [a["aria-label"] for tag, a in tags.found if tag == "svg"] == ["Latency"]


def test_a_replay_writes_the_page(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(report_bytes(sample_report()))
    inside("audit", "replay", "r.json", "--page", "r.html", home=tmp_path).ok()
    report = sample_report()
    assert (tmp_path / "r.html").read_text() == page(report, replayed(report))


def test_round_ticks() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0, 0.011) == pytest.approx([0, 0.0025, 0.005, 0.0075, 0.01])
    assert ticks(3, 3) == [3]
    assert [number(x) for x in (0, 0.00123, 12345.6)] == ["0", "0.00123", "12,346"]


def test_what_lies_beyond_a_chart_is_drawn_at_its_border() -> None:
    chart = Chart("c", (0, 10, "x"), (0, 1, "y"))
    assert chart.px(-5) == chart.px(0) < chart.px(5) < chart.px(10) == chart.px(99)
    assert chart.py(2) == chart.py(1) < chart.py(0)
    root = Chart("c", (0, 16, "x"), (0, 1, "y"), root_x=True)
    assert root.px(4) == pytest.approx((root.px(0) + root.px(16)) / 2)
    assert Chart("c", (1, 1, "x"), (0, 1, "y")).px(1) > 0
