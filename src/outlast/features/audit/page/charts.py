"""Charts as SVG: axes, lines, dots and labels, drawn as text. Colours and strokes are classes of
the page's style; nothing here is a style of its own, which the page's policy would refuse.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from outlast.core.printable import printable

WIDTH: Final = 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 104, 92, 12, 40
_TICKS: Final = 5
_LABEL: Final = 12
"""Pixels between labels that are beside each other."""

Scale = Callable[[float], float]


def safe(text: str) -> str:
    """Text from anywhere as HTML."""
    return escape(printable(text))


def ticks(low: float, high: float) -> list[float]:
    """About :data:`_TICKS` round numbers from `low` to `high`."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A number as a label has it."""
    return f"{value:.3g}" if abs(value) < 1e4 else f"{value:,.0f}"


class Chart:
    """A chart; `x` and `y` are the lowest and the highest value of an axis, and its title.
    `root_x`: the x axis is drawn by square roots, which shows small numbers beside large ones, and
    0.
    """

    def __init__(
        self,
        name: str,
        x: tuple[float, float, str],
        y: tuple[float, float, str],
        *,
        height: int = 300,
        root_x: bool = False,
    ) -> None:
        self._name = name
        self._height = height
        self._x, self._y = x, y
        self._root_x = root_x
        self._parts: list[str] = []
        self._labels: list[tuple[float, str, str]] = []

    def px(self, value: float) -> float:
        low, high, _ = self._x
        if self._root_x:
            low, high, value = 0.0, math.sqrt(max(high, 0)), math.sqrt(max(value, 0))
        return _LEFT + _share(value, low, high) * (WIDTH - _LEFT - _RIGHT)

    def py(self, value: float) -> float:
        low, high, _ = self._y
        bottom = self._height - _BOTTOM
        return bottom - _share(value, low, high) * (bottom - _TOP)

    def axes(self, *, labels_y: Sequence[tuple[float, str]] | None = None) -> None:
        """Ticks, grid lines and titles; `labels_y` names rows in place of numbers."""
        bottom = self._height - _BOTTOM
        for value in ticks(*self._x[:2]):
            at = self.px(value)
            self._parts.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>')
            self._text(at, bottom + 15, number(value), "middle")
        rows = labels_y
        if rows is None:
            rows = [(value, number(value)) for value in ticks(*self._y[:2])]
        for value, said in rows:
            at = self.py(value)
            self._parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{WIDTH - _RIGHT}"/>')
            self._text(_LEFT - 6, at + 4, said, "end")
        self._text((WIDTH - _RIGHT + _LEFT) / 2, self._height - 6, self._x[2], "middle")
        if labels_y is None:
            middle = (bottom + _TOP) / 2
            said = safe(self._y[2])
            self._parts.append(
                f'<text text-anchor="middle" transform="translate(14 {middle:.0f}) rotate(-90)">'
                f"{said}</text>"
            )

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through points."""
        if points:
            path = "L".join(f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in points)
            self._parts.append(f'<path class="{kind}" d="M{path}"/>')

    def level(self, value: float, said: str, kind: str) -> None:
        """A horizontal line with a label at its right."""
        at = self.py(value)
        self._parts.append(f'<path class="{kind}" d="M{_LEFT} {at:.1f}H{WIDTH - _RIGHT}"/>')
        self._labels.append((at, said, kind))

    def mark(self, value: float, kind: str) -> None:
        """A vertical line."""
        at = self.px(value)
        bottom = self._height - _BOTTOM
        self._parts.append(f'<path class="{kind}" d="M{at:.1f} {_TOP}V{bottom}"/>')

    def dots(self, points: Sequence[tuple[float, float]], kind: str, radius: float = 4) -> None:
        """Circles, each with its numbers as a tooltip."""
        for x, y in points:
            self._parts.append(
                f'<circle class="{kind}" cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" '
                f'r="{radius}"><title>{number(x)}, {number(y)}</title></circle>'
            )

    def svg(self) -> str:
        """The whole chart."""
        last = -1e9
        for at, said, kind in sorted(self._labels):
            last = max(at, last + _LABEL)
            self._text(WIDTH - _RIGHT + 5, last + 4, said, "start", kind)
        body = "".join(self._parts)
        return (
            f'<svg viewBox="0 0 {WIDTH} {self._height}" role="img" '
            f'aria-label="{safe(self._name)}">{body}</svg>'
        )

    def _text(self, x: float, y: float, said: str, anchor: str, kind: str = "") -> None:
        marked = f' class="t-{kind}"' if kind else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{marked}>{safe(said)}</text>'
        )


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two, from 0 to 1; what lies beyond is drawn at the border."""
    if not high > low:
        return 0.5
    return min(1.0, max(0.0, (value - low) / (high - low)))
