"""Line charts as SVG: small, and the same bytes for the same numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 44, 92
_COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8e5ea2", "#b8860b", "#555555", "#00a0a0", "#a0522d")
_TICKS = 5
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def chart(
    title: str, across: str, upwards: str, lines: Sequence[Line], *, stairs: bool = False
) -> str:
    """A chart whose axes begin at 0. With `stairs` a value holds until the next point."""
    shown = [line for line in lines if line.points]
    right = _nice(max((x for line in shown for x, _ in line.points), default=1.0))
    top = _nice(max((y for line in shown for _, y in line.points), default=1.0))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="sans-serif" font-size="12">'
    )
    parts = [head, f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>']
    parts.append(_text(_LEFT, 24, title, size=15))
    parts += _axes(right, top, across, upwards)
    for number, line in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        points = _stairs(line.points) if stairs else list(line.points)
        drawn = " ".join(f"{_x(x, right):.1f},{_y(y, top):.1f}" for x, y in points)
        style = f'fill="none" stroke="{colour}" stroke-width="2"{dash}'
        parts.append(f'<polyline {style} points="{drawn}"/>')
        parts += _legend(number, line, colour, dash)
    return "\n".join([*parts, "</svg>", ""])


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    drawn, last = [(0.0, 0.0)], 0.0
    for x, y in points:
        drawn += [(x, last), (x, y)]
        last = y
    return drawn


def _axes(right: float, top: float, across: str, upwards: str) -> list[str]:
    parts = []
    for number in range(_TICKS + 1):
        x, y = right * number / _TICKS, top * number / _TICKS
        low, high = _y(0, top), _y(top, top)
        parts.append(_stroke(_x(x, right), low, _x(x, right), high))
        parts.append(_stroke(_x(0, right), _y(y, top), _x(right, right), _y(y, top)))
        parts.append(_text(_x(x, right), low + 16, f"{x:g}", anchor="middle"))
        parts.append(_text(_LEFT - 6, _y(y, top) + 4, f"{y:g}", anchor="end"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - _BOTTOM + 32, across, anchor="end"))
    parts.append(_text(_LEFT, _TOP - 6, upwards, size=11))
    return parts


def _legend(number: int, line: Line, colour: str, dash: str) -> list[str]:
    x = _LEFT + (number % 3) * 214
    y = _HEIGHT - _BOTTOM + 50 + (number // 3) * 17
    ends = f'x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}"'
    stroke = f'stroke="{colour}" stroke-width="2"{dash}'
    return [f"<line {ends} {stroke}/>", _text(x + 28, y, line.name)]


def _stroke(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {place}>{escape(text)}</text>"


def _x(value: float, right: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / right


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top


def _nice(value: float) -> float:
    """The least end of an axis that is not below `value` and has round ticks."""
    if value <= 0:
        return 1.0
    size = 10.0 ** (len(f"{int(value / _TICKS)}") - 1) if value >= _TICKS else 1.0
    while value / _TICKS < size:
        size /= 10
    return (
        next(step * size for step in _STEPS if step * size * _TICKS >= value * (1 - 1e-9)) * _TICKS
    )
