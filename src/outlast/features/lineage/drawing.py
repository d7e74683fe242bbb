"""What was found as text for people, and as a picture (SVG)."""

from collections.abc import Iterator
from html import escape
from typing import Final

from outlast.core.printable import printable
from outlast.features.lineage import statistics
from outlast.features.lineage.relative import Bond, LineageFound, Relative

_WORDS: Final = {
    Bond.SAME: "has the same weights as",
    Bond.PARENT: "was made from",
    Bond.CHILD: "is what was made into",
    Bond.RELATED: "shares weights with",
    Bond.UNRELATED: "is not related to",
    Bond.UNTESTED: "cannot be compared with",
}
_WIDTH: Final = 300
_HEIGHT: Final = 44
_LINE: Final = 16
_GAP: Final = 28
_ACROSS: Final = 380
_EVIDENCE: Final = 4
"""Lines of evidence at an edge of the picture."""
_MOST: Final = 58
"""Letters of a line there."""


def text_lines(found: LineageFound) -> Iterator[str]:
    """The tree: the model, its relatives with the evidence, and what is none."""
    yield f"{found.repo} {found.manifest.short}…  {found.structure}"
    count = len(found.relatives)
    for place, one in enumerate(found.relatives, 1):
        rest = "   " if place == count and not found.others else "│  "
        mark = "└─ " if rest == "   " else "├─ "
        away = "" if one.here else "  (not here)"
        p = "" if one.log_p is None else f"  p = {statistics.written(one.log_p)} of all tests"
        yield f"{mark}{_WORDS[one.bond]} {one.repo} {one.manifest.short}…{away}{p}"
        for evidence in one.evidence:
            yield f"{rest}  {evidence.kind.value:<11} {printable(evidence.text)}"
    for place, one in enumerate(found.others, 1):
        mark = "└─ " if place == len(found.others) else "├─ "
        yield f"{mark}{_WORDS[one.bond]} {one.repo} {one.manifest.short}…{_why(one)}"
    yield verdict(found)


def _why(one: Relative) -> str:
    if one.bond is Bond.UNTESTED:
        return f": {printable(one.evidence[-1].text)}" if one.evidence else ""
    return "" if one.log_p is None else f"  p = {statistics.written(one.log_p)}"


def verdict(found: LineageFound) -> str:
    """The last line."""
    models = f"{found.considered} other model{'' if found.considered == 1 else 's'}"
    if found.relatives:
        many = len(found.relatives)
        return f"{many} relative{'' if many == 1 else 's'} among {models}"
    if not found.considered:
        return "there is no other model to compare with"
    return f"none of these: no relative among {models}, {found.compared} compared in full"


def svg(found: LineageFound) -> str:
    """A picture that stands alone: parents on the left, what was made on the right, and below the
    model those of which no direction is known. No script, no font, no link is in it.
    """
    left = [one for one in found.relatives if one.bond in (Bond.PARENT, Bond.SAME)]
    right = [one for one in found.relatives if one.bond is Bond.CHILD]
    below = [one for one in found.relatives if one.bond is Bond.RELATED]
    step = _HEIGHT + _EVIDENCE * _LINE + _GAP
    rows = max(len(left), len(right), 1 + len(below))
    width, height = 3 * _WIDTH + 2 * (_ACROSS - _WIDTH) + 2 * _GAP, rows * step + 2 * _GAP
    middle = (_GAP + _ACROSS, _GAP)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        f"<title>{_safe(f'Lineage of {found.repo}')}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for column, models in ((0, left), (2, right)):
        for row, one in enumerate(models):
            at = (_GAP + column * _ACROSS, _GAP + row * step)
            start, end = (at, middle) if column == 0 else (middle, at)
            parts.append(_edge(start, end, known=one.bond is not Bond.SAME))
            parts += _model(one, at)
    for row, one in enumerate(below, 1):
        at = (_GAP + _ACROSS, _GAP + row * step)
        x = at[0] + _WIDTH // 2
        parts.append(
            f'<path d="M{x} {at[1] - step + _HEIGHT} L{x} {at[1]}" stroke="#888" fill="none" '
            'stroke-dasharray="5 4"/>'
        )
        parts += _model(one, at)
    parts += _box(str(found.repo), f"{found.manifest.short}… {found.structure}", middle, "#dbe9ff")
    if not found.relatives:
        parts.append(_words(verdict(found), middle[0], middle[1] + _HEIGHT + _LINE))
    return "\n".join([*parts, "</svg>", ""])


def _edge(start: tuple[int, int], end: tuple[int, int], *, known: bool) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    half = (x1 + x2) // 2
    head = f" M{x2 - 7} {y2 - 4} L{x2} {y2} L{x2 - 7} {y2 + 4}" if known else ""
    path = f"M{x1} {y1} C{half} {y1} {half} {y2} {x2} {y2}{head}"
    return f'<path d="{path}" stroke="#333" fill="none"/>'


def _model(one: Relative, at: tuple[int, int]) -> list[str]:
    p = "" if one.log_p is None else f" p = {statistics.written(one.log_p)}"
    parts = _box(str(one.repo), f"{one.manifest.short}… {one.bond.value}{p}", at, "#f2f2f2")
    for line, evidence in enumerate(one.evidence[:_EVIDENCE], 1):
        parts.append(
            _words(evidence.text, at[0] + 4, at[1] + _HEIGHT + line * _LINE - 2, small=True)
        )
    return parts


def _box(title: str, line: str, at: tuple[int, int], colour: str) -> list[str]:
    x, y = at
    size = f'width="{_WIDTH}" height="{_HEIGHT}" rx="6"'
    return [
        f'<rect x="{x}" y="{y}" {size} fill="{colour}" stroke="#333"/>',
        _words(title, x + 8, y + 18),
        _words(line, x + 8, y + 36, small=True),
    ]


def _words(text: str, x: int, y: int, *, small: bool = False) -> str:
    size = ' font-size="10"' if small else ""
    cut = text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
    return f'<text x="{x}" y="{y}"{size}>{_safe(cut)}</text>'


def _safe(text: str) -> str:
    """Without what XML does not allow."""
    return escape("".join(letter if letter.isprintable() else "\ufffd" for letter in text))
