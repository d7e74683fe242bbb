import json
from pathlib import Path
from xml.etree import ElementTree as ET

from bench.sim.calibrate import Measured, Run, calibrate, read_runs
from bench.sim.holders import score
from bench.sim.svg import Line, chart


def test_a_chart_is_well_formed_and_the_same_each_time() -> None:
    lines = [Line("a < b", [(1.0, 0.5), (2.0, 1.0)]), Line("none", [])]
    page = chart("Title & more", "x", "y", lines, stairs=True)
    assert page == chart("Title & more", "x", "y", lines, stairs=True)
    root = ET.fromstring(page)  # noqa: S314 - our own
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 1


def test_runs_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    assert read_runs(path) == []
    row = {
        "name": "n", "nodes": 2, "size": 10_000_000, "seed_up": 5_000_000, "peer_up": 0,
        "measured": {"done": [3.0, 4.0], "origin": 10_000_000},
    }  # fmt: skip
    path.write_text(json.dumps({"runs": [row]}))
    [run] = read_runs(path)
    assert run.measured == Measured((3.0, 4.0), 10_000_000)


def test_a_run_that_took_much_longer_than_simulated_does_not_hold() -> None:
    run = Run("n", 2, 10_000_000, 5_000_000, 0, Measured((1000.0, 1000.0), 10_000_000))
    [row] = calibrate([run])
    assert not row.holds
    assert row.off < -0.9
    fitting = Run("n", 2, 10_000_000, 5_000_000, 0, Measured((row.simulated,) * 2, 10_000_000))
    assert calibrate([fitting])[0].holds


def test_a_hub_gives_one_copy_to_a_lan() -> None:
    run = Run("n", 4, 10_000_000, 5_000_000, 0, Measured((2.5,) * 4, 10_000_000), hub=True)
    assert 1.0 <= calibrate([run])[0].simulated_copies <= 1.05


def test_the_noted_runs_hold() -> None:
    rows = calibrate(read_runs())
    assert sum(row.holds for row in rows) >= 3


def test_blobs_are_spread_over_holders() -> None:
    winners = {max(range(8), key=lambda node: score(node, blob)) for blob in range(60)}
    assert winners == set(range(8))
