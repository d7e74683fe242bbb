"""The tables of docs/simulation/results.md, made from the results alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_HOUR = 3600.0
_HEAD = """# Simulated swarms: results
Made by `make bench-sim` from `bench/results/sim.json`; what it means is in
[the page on the simulation](../simulation.md). Times are hours from the start.
"""


def page(results: Mapping[str, Any]) -> str:
    """All tables as Markdown."""
    parts = [_HEAD, "## Calibration", _calibration(results["calibration"])]
    parts += ["## Scenarios", _scenarios(results["scenarios"].values())]
    parts += ["## How things stood at events", _marks(results["scenarios"].values())]
    for key, title in (
        ("agreement", "Exact and coarse model, flash crowd of 1,000 nodes"),
        ("convergence", "Size of the pieces and slots, exact model, 200 nodes in 8 LANs"),
    ):
        if results[key]:
            rows = [{"title": name, "scale": "", **row} for name, row in results[key].items()]
            parts += [f"## {title}", _scenarios(rows)]
    parts += ["## Holders that keep every piece for a year, 99.99 %", _holders(results["holders"])]
    return "\n".join(parts) + "\n"


def _calibration(rows: Iterable[Mapping[str, Any]]) -> str:
    head = ("run", "last node, measured", "simulated", "off", "copies, measured", "simulated")
    return _table(
        head,
        (
            (
                row["name"],
                f"{row['measured']:.1f} s",
                f"{row['simulated']:.1f} s",
                f"{row['off']:+.1%}",
                f"{row['measured_copies']:.2f}",
                f"{row['simulated_copies']:.2f}",
            )
            for row in rows
        ),
    )


def _scenarios(rows: Iterable[Mapping[str, Any]]) -> str:
    head = ("scenario", "scale", "10 %", "50 %", "90 %", "99 %", "finished", "origin copies")
    return _table(
        (*head, "missing at the end"),
        (
            (
                row["title"],
                row["scale"],
                *map(_hours, row["seconds"].values()),
                f"{row['finished']:,} of {row['stayed']:,}",
                f"{row['origin_copies']:.2f}",
                f"{row['missing']:.1%}",
            )
            for row in rows
        ),
    )


def _marks(rows: Iterable[Mapping[str, Any]]) -> str:
    head = (
        "scenario",
        "scale",
        "event",
        "at",
        "mean progress",
        "pieces that no node had",
        "copies",
    )
    return _table(
        head,
        (
            (
                row["title"],
                row["scale"],
                mark["what"],
                _hours(mark["at"]),
                f"{mark['progress']:.1%}",
                f"{mark['missing']:.1%}",
                f"{mark['origin_copies']:.2f}",
            )
            for row in rows
            for mark in row["marks"]
        ),
    )


def _holders(found: Mapping[str, Any]) -> str:
    first = found["table"][0]
    names = [f"whole, replaced: {name}" for name in first["whole"]]
    names += [f"{name} of the pieces each, by chance" for name in first["pieces by chance"]]
    names += [f"a tenth each, dealt out, replaced: {name}" for name in first["ten parts"]]
    rows = (
        (
            f"{row['leave']:.0%}",
            *(f"{count:,}" for count in row["whole"].values()),
            *(f"{count:,}" for count in row["pieces by chance"].values()),
            *(f"{count:,}" for count in row["ten parts"].values()),
        )
        for row in found["table"]
    )
    once = ", ".join(f"{name}: {count}" for name, count in found["30 % at once"].items())
    return (
        _table(("leave in a year", *names), rows) + f"\n30 % leave at once, copies needed: {once}."
    )


def _hours(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds / _HOUR:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
