"""The page of a dossier: one HTML file, to be read and printed. No script, nothing from elsewhere;
its policy forbids a browser to load anything. All text is escaped here, in one place.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from outlast.features.trust.dossier.sections import PageSection, Warned

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8886;--warn:#b45309}
@media (prefers-color-scheme:dark){:root{--warn:#f59e0b}}
body{font:1rem/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1.2rem}
h1{margin:0;overflow-wrap:anywhere}h2{margin:2rem 0 .4rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;width:100%;margin:.6rem 0}
th{text-align:left;font-size:.85rem;font-weight:600}
th,td{padding:.3rem .8rem .3rem 0;border-top:1px solid var(--line);vertical-align:top;
overflow-wrap:anywhere}
td{font-size:.9rem;min-width:5.5rem}
dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.2rem 1rem;margin:.6rem 0}
dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}p{margin:.4rem 0}
.look{color:var(--warn);font-weight:600}
@media print{:root{color-scheme:light}body{font-size:.75rem;margin:0;max-width:none;padding:0}
h2{break-after:avoid}tr,dl{break-inside:avoid}thead{display:table-header-group}}
@page{margin:15mm}
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'"


def page(name: str, parts: Iterable[PageSection]) -> str:
    """The whole page about the model `name`."""
    return "\n".join(_page(name, parts)) + "\n"


def _page(name: str, parts: Iterable[PageSection]) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>Dossier: {_safe(name)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>Dossier: {_safe(name)}</h1>"
    for part in parts:
        yield f"<section><h2>{_safe(part.title)}</h2>"
        yield from (f"<p>{_safe(text)}</p>" for text in part.text)
        if part.facts:
            facts = "".join(f"<dt>{_safe(k)}</dt><dd>{_value(v)}</dd>" for k, v in part.facts)
            yield f"<dl>{facts}</dl>"
        if len(part.table) > 1:
            yield from _table(part.table)
        yield "</section>"
    yield "</body></html>"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    head = "".join(f'<th scope="col">{_safe(one)}</th>' for one in rows[0])
    yield f"<table><thead><tr>{head}</tr></thead><tbody>"
    for row in rows[1:]:
        yield "<tr>" + "".join(f"<td>{_value(one)}</td>" for one in row) + "</tr>"
    yield "</tbody></table>"


def _value(text: str) -> str:
    return f'<span class="look">{_safe(text)}</span>' if isinstance(text, Warned) else _safe(text)


def _safe(text: str) -> str:
    """`text` in one line, escaped, with what steers or hides written out."""
    visible = "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)
    return escape(visible)
