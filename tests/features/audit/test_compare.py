"""Endpoints of one model, ranked by the reports of their audits."""

from pathlib import Path
from typing import Any

import pytest

from outlast.features.audit.reports.document import AuditReport
from outlast.features.audit.reports.files import report_bytes
from tests.cli.call import inside
from tests.features.audit.sample_report import changed, sample_report


def at(name: str, report: AuditReport, factor: float = 1) -> AuditReport:
    """The report as that of another endpoint, whose answers took `factor` times as long."""
    exchanges = [
        {**one, "seconds": one["seconds"] * factor} for one in report.to_json()["exchanges"]
    ]
    return changed(report, endpoint=f"https://{name}.example/v1", exchanges=exchanges)


def untestable(report: AuditReport) -> AuditReport:
    finding = {"verdict": "untestable", "reason": "it answers nothing"}
    return changed(report, test=None, audited=[], exchanges=[], finding=finding)


@pytest.fixture
def reports(tmp_path: Path) -> list[str]:
    found = {
        "off": at("off", sample_report(0.4), 0.1),
        "slow": at("slow", sample_report(), 2),
        "silent": at("silent", untestable(sample_report())),
        "quick": at("quick", sample_report(), 0.5),
    }
    for name, report in found.items():
        (tmp_path / name).write_bytes(report_bytes(report))
    return [str(tmp_path / name) for name in found]


def names(lines: list[dict[str, Any]]) -> list[str]:
    return [line["endpoint"].split("//")[1].split(".")[0] for line in lines]


def test_the_right_ones_come_first_and_the_faster_of_them(
    tmp_path: Path, reports: list[str]
) -> None:
    found = inside("audit", "compare", *reports, "--json", home=tmp_path)
    assert found.code == 10
    rows = found.result
    assert names(rows) == ["quick", "slow", "silent", "off"]
    assert [row["seconds"] for row in rows] == pytest.approx([0.175, 0.7, None, 0.035])
    quick, off = rows[0]["deviation"], rows[3]["deviation"]
    assert quick < 1 < off


def test_a_price_ranks_where_it_is_asked_for(tmp_path: Path, reports: list[str]) -> None:
    prices = ["--price", "https://slow.example/v1/", "1", "2", "--price"]
    prices += ["https://quick.example/v1", "1", "2.5", "--by", "price"]
    found = inside("audit", "compare", *reports[1:], *prices, "--json", home=tmp_path)
    assert names(found.result) == ["slow", "quick", "silent"]
    assert found.code == 12
    assert [row["price"] for row in found.result] == [[1, 2], [1, 2.5], None]


def test_a_person_sees_a_table(tmp_path: Path, reports: list[str]) -> None:
    found = inside("audit", "compare", *reports, home=tmp_path)
    lines = found.out.splitlines()
    assert lines[0] == f"org/name@{'0' * 12}: 4 audits"
    assert "int4" in lines[-1]
    assert lines[2].split()[:2] == ["1", "consistent"]


def test_a_report_that_was_changed_is_no_row(tmp_path: Path, reports: list[str]) -> None:
    """A provider may have written it."""
    better = changed(sample_report(0.4), finding=sample_report().to_json()["finding"])
    Path(reports[0]).write_bytes(report_bytes(better))
    inside("audit", "compare", *reports, home=tmp_path).failed("integrity")


def test_other_weights_are_not_compared(tmp_path: Path, reports: list[str]) -> None:
    other = changed(sample_report(), manifest="2" * 64, repo="org/\x1b[31mred")
    Path(reports[0]).write_bytes(report_bytes(other))
    said = inside("audit", "compare", *reports, home=tmp_path).failed("usage")
    assert "different weights" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "more",
    [
        ["--price", "https://unknown.example/v1", "1", "1"],
        ["--price", "https://slow.example/v1", "nan", "1"],
        ["--price", "https://slow.example/v1", "-1", "1"],
        ["--by", "taste"],
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, reports: list[str], more: list[str]) -> None:
    inside("audit", "compare", *reports, *more, home=tmp_path).failed("usage")
