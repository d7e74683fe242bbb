"""The page of an audit: one HTML file, to be read by a person who must decide, and printed. No
script, nothing from elsewhere; its policy forbids a browser to load anything. All text is escaped.
"""

import base64
import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from outlast.features.audit.asking.answers import UntestableError, read_answer
from outlast.features.audit.evidence import SAMPLED, AuditFinding, Verdict, ranked
from outlast.features.audit.page.charts import safe
from outlast.features.audit.page.evidence import page_evidence
from outlast.features.audit.page.figures import figures
from outlast.features.audit.reports.document import AuditReport

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8885;--ink:#1f2933;--audited:#1d4ed8;--honest:#57606a;
--other:#b45309;--alarm:#b91c1c;--ok:#15803d}
@media (prefers-color-scheme:dark){:root{--ink:#e5e7eb;--audited:#7aa2ff;--honest:#a0a8b3;
--other:#f0a04b;--alarm:#ff7b72;--ok:#56d364}}
body{font:1rem/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1.2rem}
h1{margin:0;overflow-wrap:anywhere}h2{margin:2rem 0 .4rem;border-bottom:1px solid var(--line)}
.verdict{border-left:.4rem solid var(--honest);padding:.4rem 1rem;margin:1rem 0}
.divergent{border-color:var(--alarm)}.consistent{border-color:var(--ok)}
.verdict strong{font-size:1.4rem;text-transform:capitalize}
dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.2rem 1rem;margin:.6rem 0}
dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}p{margin:.4rem 0}
figure{margin:1rem 0}figcaption{font-size:.9rem}svg{width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:var(--ink)}
path{fill:none;stroke-width:1.5}.grid{stroke:var(--line);stroke-width:.6}
path.audited{stroke:var(--audited);stroke-width:2}circle.audited{fill:var(--audited)}
path.honest{stroke:var(--honest)}circle.honest{fill:none;stroke:var(--honest)}
path.other{stroke:var(--other);stroke-dasharray:1 3}circle.other{fill:var(--other);fill-opacity:.5}
path.alarm{stroke:var(--alarm);stroke-dasharray:6 4}
svg .t-alarm{fill:var(--alarm)}svg .t-other{fill:var(--other)}svg .t-honest{fill:var(--honest)}
table{border-collapse:collapse;width:100%;table-layout:fixed}
th{text-align:left;font-size:.85rem}th:first-child,td:first-child{width:3rem}
th:last-child,td:last-child{width:5rem;text-align:right}
td,th{border-top:1px solid var(--line);padding:.3rem .6rem .3rem 0;vertical-align:top;
overflow-wrap:anywhere;font-size:.85rem}
@media print{:root{color-scheme:light}body{font-size:.8rem;margin:0;max-width:none;padding:0}
h2,figcaption{break-after:avoid}figure,tr,dl{break-inside:avoid}
thead{display:table-header-group}}
@page{margin:15mm}
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'"
_MOST_ROWS: Final = 200
_MOST_TEXT: Final = 300
"""Characters of a question or an answer that are shown; the report has all."""
_MEANING: Final = {
    Verdict.CONSISTENT: (
        "Nothing differs more than honest engines do, and the alternatives that are named would "
        "have been found. What is not named may still be served, and other requests may be "
        "answered otherwise."
    ),
    Verdict.DIVERGENT: (
        "The answers differ from those of the archived weights by more than honest engines do. "
        "That does not say why: fewer bits, a fine-tune, another revision, a hidden system prompt "
        "and another chat template all look like this. Compare with the right revision first."
    ),
    Verdict.INCONCLUSIVE: "It cannot be told from these answers. Ask more questions.",
    Verdict.UNTESTABLE: (
        "The endpoint offers nothing that can be compared, or its answers cannot be believed."
    ),
}


def page(report: AuditReport, finding: AuditFinding) -> str:
    """The whole page. Raises :class:`~outlast.core.errors.MalformedError`."""
    return "\n".join(_page(report, finding)) + "\n"


def _page(report: AuditReport, finding: AuditFinding) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width">'
    title = f"Audit: {safe(report.model)}"
    yield f"<title>{title}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{title}</h1>"
    yield f"<p>{safe(report.endpoint)}, compared with {safe(report.repo)}</p>"
    yield f'<div class="verdict {finding.verdict.value}"><strong>{finding.verdict.value}</strong>'
    yield f"<p>{safe(finding.reason)}</p><p>{safe(_MEANING[finding.verdict])}</p></div>"
    yield from _list("The result", _result(report, finding))
    for figure in figures(page_evidence(report, finding)):
        yield f"<figure><h2>{safe(figure.title)}</h2>{figure.svg}"
        yield f"<figcaption>{safe(figure.caption)}</figcaption></figure>"
    yield from _list("What was compared", _facts(report))
    yield from _exchanges(report)
    yield "</body></html>"


def _result(report: AuditReport, finding: AuditFinding) -> Iterator[tuple[str, str]]:
    yield "test", report.test or "none"
    yield "error rate", f"{report.alpha:g}: so many honest endpoints at most are called divergent"
    if finding.statistic is not None and finding.floor is not None:
        what = "log evidence" if report.test == SAMPLED else "difference"
        yield what, f"{finding.statistic:.4g} nats; an alarm is above {finding.floor:.4g}"
    if finding.p_value is not None:
        yield "p-value", f"{finding.p_value:.2g}"
    if finding.smallest is not None:
        yield (
            "smallest",
            f"{finding.smallest:.4g} nats would have been found by 90 % of such audits",
        )
    for name, share in (finding.power or {}).items():
        yield f"power: {name}", f"{100 * share:.0f} % of such audits would have found it"
    for name, share in ranked(finding.explanations or {}):
        yield "may be", f"{name}: {100 * share:.0f} % of the likelihood, of what was tried"
    yield "excluded", f"{report.excluded} tokens that could not be compared"
    if report.ended:
        yield "ended", report.ended
    yield "asked", f"{report.requests} requests, {report.tokens_used:,} tokens"


def _facts(report: AuditReport) -> Iterator[tuple[str, str]]:
    yield "model", f"{report.repo}@{report.revision}"
    yield "manifest", report.manifest
    yield "files", ", ".join(report.files[:20])
    yield "time", dt.datetime.fromtimestamp(report.time, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield "honest numerics", ", ".join(report.honest) or "the reference alone"
    yield "alternatives", ", ".join(report.alternatives) or "none"
    yield from report.versions.items()
    yield "commitment", f"{report.commitment} (sha256 of the questions, made before the first one)"
    yield "seed", report.seed


def _list(title: str, rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    facts = "".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>" for name, value in rows)
    yield f"<h2>{safe(title)}</h2><dl>{facts}</dl>"


def _exchanges(report: AuditReport) -> Iterator[str]:
    answers = {one.exchange: one for one in report.audited}
    rows = list(enumerate(report.exchanges))[:_MOST_ROWS]
    if not rows:
        return
    yield "<h2>Questions</h2><table><thead><tr>"
    yield "".join(f'<th scope="col">{n}</th>' for n in ("", "question", "answer", "seconds"))
    yield "</tr></thead><tbody>"
    for number, one in rows:
        said = _answer(one.response)
        note = "" if number in answers else " (asked to find out what the endpoint offers)"
        cells: Sequence[str] = (
            str(number + 1),
            _cut(report.prompts[one.prompt]) + note,
            _cut(said),
            f"{one.seconds:.2f}",
        )
        yield "<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table>"
    if len(report.exchanges) > len(rows):
        yield f"<p>{len(report.exchanges) - len(rows)} more are in the report.</p>"


def _answer(response: str) -> str:
    try:
        return read_answer(response.encode()).text
    except (UntestableError, UnicodeEncodeError):
        return response


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + "…"
