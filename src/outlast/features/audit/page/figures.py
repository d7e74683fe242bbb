"""The four charts of an audit's page."""

from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import NamedTuple

from outlast.features.audit.page.charts import Chart
from outlast.features.audit.page.evidence import PageEvidence


class Figure(NamedTuple):
    """A chart with its title, and what it shows in words."""

    title: str
    svg: str
    caption: str


def figures(found: PageEvidence) -> Iterator[Figure]:
    """The charts for which there are numbers."""
    if found.audited:
        yield _over_tokens(found)
        yield _by_question(found)
        yield _calibration(found)
    if found.seconds:
        yield _latency(found.seconds)


_MOST_NAME = 16
"""Characters of a name at the left of a chart."""


def _top(*values: float) -> float:
    return 1.08 * max(1e-6, *values)


def _over_tokens(found: PageEvidence) -> Figure:
    values = found.course
    high = _top(*values, found.threshold)
    low = min(0.0, *values)
    title = "Evidence over tokens"
    chart = Chart(title, (0, len(values), "tokens compared"), (low, high, found.course_unit))
    chart.axes()
    chart.level(found.threshold, "alarm above", "alarm")
    for name, mean in found.expected:
        if mean <= high:
            chart.level(mean, name, "other")
    chart.line(list(enumerate(values, start=1)), "audited")
    chart.dots([(len(values), values[-1])], "audited")
    return Figure(title, chart.svg(), found.course_caption)


def _by_question(found: PageEvidence) -> Figure:
    scores = [fmean(one) for one in found.audited]
    honest = [fmean(one) for rows in found.honest.values() for one in rows]
    shown = [*scores, found.level]
    title = "Each question"
    low = min(0.0, *shown)
    chart = Chart(title, (0, len(scores) + 1, "question"), (low, _top(*shown), found.unit))
    chart.axes()
    chart.level(found.level, found.level_name, "alarm")
    if honest and found.comparable:
        chart.level(fmean(honest), "honest mean", "honest")
    chart.dots(list(enumerate(scores, start=1)), "audited", 5)
    return Figure(title, chart.svg(), found.question_caption)


def _calibration(found: PageEvidence) -> Figure:
    rows: list[tuple[str, Sequence[float], str]] = [
        (name, [fmean(one) for one in some], "honest") for name, some in found.honest.items()
    ]
    rows += [(name, [fmean(one) for one in some], "other") for name, some in found.others.items()]
    rows.append(("endpoint", found.beside, "audited"))
    rows.reverse()  # the first at the top
    high = _top(*(max(some, default=0) for _, some, _ in rows), found.threshold)
    title = "Calibration"
    chart = Chart(
        title,
        (0, high, found.calibration_unit),
        (-0.5, len(rows) - 0.5, ""),
        height=70 + 26 * len(rows),
        root_x=True,
    )
    names = [(number, _short(name)) for number, (name, _, _) in enumerate(rows)]
    chart.axes(labels_y=names)
    chart.mark(found.threshold, "alarm")
    for number, (_, some, kind) in enumerate(rows):
        chart.dots([(value, number) for value in some], kind)
    return Figure(title, chart.svg(), found.calibration_caption)


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else name[:_MOST_NAME] + "…"


def _latency(seconds: Sequence[float]) -> Figure:
    title = "Latency"
    chart = Chart(title, (0, len(seconds) + 1, "request"), (0, _top(*seconds), "seconds"))
    chart.axes()
    chart.level(median(seconds), "median", "honest")
    chart.dots(list(enumerate(seconds, start=1)), "audited")
    return Figure(
        title,
        chart.svg(),
        f"Seconds from each request until its whole answer was here; the median is "
        f"{median(seconds):.2f} s. This audit does not judge the speed.",
    )
