"""index.html: what a bundle holds, for a browser. One file: no script, no link that leads out, and
everything from a model is escaped. Its policy forbids a browser to load anything.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from outlast.core.sizes import human_size
from outlast.features.bundle.review.marks import MEANING
from outlast.features.bundle.review.report import BundleReview, ReviewedModel, ReviewedRevision
from outlast.features.bundle.review.words import (
    ABOUT,
    CHECK_COMMANDS,
    MOST_FILES,
    PROGRAM,
    PROGRAM_COMMANDS,
    PROOF,
    count,
    visible,
)

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--warn:#b45309}
body{font:1rem/1.55 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1.2rem}
h1{margin-bottom:.2rem}h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem}h1,h2,h3,td,code{overflow-wrap:anywhere}
p code{white-space:nowrap}code,pre{font:.85rem/1.5 ui-monospace,monospace}
pre{background:var(--soft);border-radius:.4rem;padding:.7rem 1rem;overflow:auto}
table{border-collapse:collapse;width:100%;margin:.6rem 0}
th{text-align:left;font-size:.85rem;opacity:.75}
th,td{padding:.25rem .7rem .25rem 0;border-top:1px solid var(--line);vertical-align:top}
.n{text-align:right;white-space:nowrap}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{opacity:.75}dd{margin:0}
.mark{color:var(--warn);font-weight:600;white-space:nowrap}
details{margin:.8rem 0}summary{cursor:pointer}nav a{margin-right:1rem}
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'"


def page(found: BundleReview) -> str:
    """The whole page."""
    return "\n".join(_page(found)) + "\n"


def _safe(text: str) -> str:
    return escape(visible(text))


def _page(found: BundleReview) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>Bundle {found.id[:12]}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>Bundle of models</h1><p>{escape(ABOUT)}</p>"
    commands = "\n".join(f"{command:36} # {what}" for command, what in CHECK_COMMANDS)
    yield f"<pre>{escape(commands)}</pre><p>{_with_code(PROOF)}</p>"
    yield _facts(_summary(found))
    yield from _marked(found)
    yield from _program(found)
    for number, model in enumerate(found.models):
        yield from _model(number, model)
    yield "</body></html>"


def _with_code(text: str) -> str:
    """Our own words, with what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names, and what is HTML already."""
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _summary(found: BundleReview) -> Iterator[tuple[str, str]]:
    yield "id", f"<code>{found.id}</code>"
    yield "sequence", str(found.sequence)
    if found.since:
        builds = f"{_safe(found.since)}: {count(found.assumed, 'file')} expected to be there"
        yield "builds on", builds
    spare = f"; {found.spare}" if found.spare else ""
    parts = count(found.parts + found.parity_parts, "part")
    yield "size", f"{human_size(found.size)} in {parts}{spare}"
    links = (
        f'<a href="#m{number}">{_safe(model.name)}</a>' for number, model in enumerate(found.models)
    )
    yield "models", f"<nav>{' '.join(links)}</nav>"


def _marked(found: BundleReview) -> Iterator[str]:
    marked = found.marked()
    yield "<h2>Files that deserve a look</h2>"
    if not marked:
        yield "<p>None: no code, no pickles, no chat templates that are files of their own.</p>"
        return
    kinds = sorted({file.mark for _, file in marked if file.mark is not None})
    yield _facts((f'<span class="mark">{mark}</span>', _with_code(MEANING[mark])) for mark in kinds)
    yield "<table><tr><th>model<th>file<th>what</tr>"
    for name, file in marked[:MOST_FILES]:
        yield (
            f"<tr><td>{_safe(name)}<td><code>{_safe(file.path)}</code>"
            f'<td class="mark">{file.mark}</tr>'
        )
    yield "</table>" + _more(len(marked))


def _program(found: BundleReview) -> Iterator[str]:
    if not found.program:
        return
    commands = "\n".join(f"{command:36} # {what}" for command, what in PROGRAM_COMMANDS)
    yield f"<h2>The program</h2><p>{_with_code(PROGRAM)}</p><pre>{escape(commands)}</pre>"
    yield '<table><tr><th>file<th>what<th class="n">bytes<th>sha256</tr>'
    for file in found.program:
        yield (
            f'<tr><td>{_safe(file.path)}<td>{file.what}<td class="n">{file.size:,}'
            f"<td><code>{file.sha256}</code></tr>"
        )
    yield "</table>"


def _model(number: int, model: ReviewedModel) -> Iterator[str]:
    yield f'<h2 id="m{number}">{_safe(model.name)}</h2>'
    rows = [("licence", ", ".join(map(_safe, model.licences)) or "not named by its hub")]
    if model.access:
        rows.append(("access", f'<span class="mark">{model.access}</span>'))
    if model.bases:
        rows.append(("made from", ", ".join(map(_safe, model.bases))))
    yield _facts(rows)
    for revision in model.revisions:
        yield from _revision(revision)
    for path, text in model.licence_files:
        lines = "\n".join(map(_safe, text.splitlines()))
        yield f"<details><summary>Text of {_safe(path)}</summary><pre>{lines}</pre></details>"


def _revision(revision: ReviewedRevision) -> Iterator[str]:
    refs = f" ({', '.join(map(_safe, revision.refs))})" if revision.refs else ""
    yield f"<h3>Revision <code>{revision.id}</code>{refs}</h3>"
    rows = [("manifest", f"<code>{revision.manifest}</code>")]
    if revision.claims:
        rows.append(("claims that hold in the archive that wrote this", _safe(revision.claims)))
    if revision.source:
        rows.append(("seen at", _safe(revision.source)))
    if revision.partial:
        missing = "partial: files of it are missing in the archive that wrote this bundle"
        rows.append(("state", f'<span class="mark">{missing}</span>'))
    rows.append(("files", f"{len(revision.files):,}, {human_size(revision.size)}"))
    yield _facts(rows)
    yield '<table><tr><th>file<th class="n">bytes<th>sha256</tr>'
    for file in revision.files[:MOST_FILES]:
        where = "" if file.is_here else " (not in this bundle)"
        yield (
            f'<tr><td>{_safe(file.path)}{where}<td class="n">{file.size:,}'
            f"<td><code>{file.sha256}</code></tr>"
        )
    yield "</table>" + _more(len(revision.files))


def _more(number: int) -> str:
    return f"<p>and {count(number - MOST_FILES, 'more file')}</p>" if number > MOST_FILES else ""
