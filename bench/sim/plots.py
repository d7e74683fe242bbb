"""The plots of docs/simulation, made from the results alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.sim.scenarios import LARGE, MIDDLE, SMALL
from bench.sim.svg import Line, chart

_HOUR = 3600.0
_AXES = ("hours", "part of the machines that have everything")


def plots(results: Mapping[str, Any], folder: Path) -> None:
    """Writes every plot into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = results["scenarios"]
    pages = {
        "flash-crowd.svg": _curves(
            "Flash crowd of a 1 TB model",
            {scale: rows[f"flash/{scale}"] for scale in (SMALL, MIDDLE, LARGE)}
            | {"1,000, in order": rows[f"flash-listed/{MIDDLE}"]}
            | {"1,000, trees not known": rows[f"flash-sha256/{MIDDLE}"]},
        ),
        "hub-down.svg": _curves(
            "Hub down at 1 % and at 50 %, back after a day",
            {
                f"{at} %, {scale}": rows[f"hub-{at}/{scale}"]
                for at in (1, 50)
                for scale in (SMALL, MIDDLE, LARGE)
            },
        ),
        "leave.svg": _curves(
            "30 % leave, and the hub with them",
            {
                "no node leaves, 1,000": rows[f"flash/{MIDDLE}"],
                "at once, 1,000": rows[f"leave/{MIDDLE}"],
                "one by one, 1,000": rows[f"leave-slowly/{MIDDLE}"],
                "at once, 100,000": rows[f"leave/{LARGE}"],
            },
        ),
        "holders.svg": _holders(results["holders"]),
    }
    for name, page in pages.items():
        (folder / name).write_text(page)


def _curves(title: str, rows: Mapping[str, Any]) -> str:
    lines = []
    for name, row in rows.items():
        points = [(at / _HOUR, part) for at, part in row["curve"]]
        if points and len(points) == 1:  # all at one time: a step up
            points = [(points[0][0] * 0.999, 0.0), *points]
        lines.append(Line(name, points))
    return chart(title, *_AXES, lines, stairs=True)


def _holders(rows: Mapping[str, Any]) -> str:
    lines = []
    for number, name in enumerate(("never", "30 days", "7 days", "1 day")):
        points = [(row["leave"] * 100, row["whole"][name]) for row in rows["table"]]
        lines.append(Line(f"replaced: {name}", points, dashed=number == 0))
    title = "Whole copies that keep a model for a year, 99.99 %"
    return chart(title, "% of the holders that leave in a year", "holders", lines)
