"""The plain pages that a browser gets for the paths that people type. Every text from a model, an
archive or a request is escaped; there is no script, and the headers forbid one.
"""

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from outlast.core.names import RepoId
from outlast.mirror.answers import Found
from outlast.store.records.facts import About

MOST_ROWS: Final = 1000
"""Lines of a page; what is left out is counted below them."""

_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td{padding:.2rem .6rem;border-top:1px solid #8884}"
    "td+td{text-align:right;white-space:nowrap}pre{padding:.6rem;background:#8882;overflow:auto}"
    "td,h1{overflow-wrap:anywhere}:root{color-scheme:light dark}"
)
_STYLE_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
    "Vary": "Accept, Authorization",
}
"""Of every page: nothing is loaded, run, framed or guessed."""
_KEPT: Final = frozenset({"X-Error-Code", "X-Error-Message", "Retry-After", "WWW-Authenticate"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is: the `origin` by which the browser reached us, the repository, the `ref` that
    the path named (empty: none), and the `folder` (empty: the top one).
    """

    origin: str
    repo: RepoId
    ref: str = ""
    folder: str = ""


def is_browser(request: web.Request) -> bool:
    """Whether a request asks for a page. Programs ask for JSON or anything."""
    accept = request.headers.get("Accept", "")
    kinds = (part.split(";", 1)[0].strip().lower() for part in accept.split(","))
    return any(kind in {"text/html", "application/xhtml+xml"} for kind in kinds)


def reply(text: str, headers: Mapping[str, str] | None = None, status: int = 200) -> web.Response:
    """A page as an answer; `headers` beside those of every page."""
    sent = {**(headers or {}), **HEADERS}
    return web.Response(
        status=status, text=text, content_type="text/html", charset="utf-8", headers=sent
    )


def home(found: Sequence[tuple[RepoId, About]], origin: str) -> str:
    """The models and datasets that the client may see."""
    shown = [(_link(_path(repo), str(repo)), _access(about)) for repo, about in found[:MOST_ROWS]]
    body = [_table(shown), _more(len(found), "/?search=PART-OF-A-NAME finds them")]
    if not found:
        body.append("<p>Nothing is archived here that you may see.</p>")
    body += [
        "<p>Programs use it as a hub:</p>",
        _commands(f"HF_ENDPOINT={origin} hf download ORGANISATION/NAME"),
    ]
    return _page("Models in this archive", body)


def repository(place: Place, found: Found, about: About, rows: Sequence[Mapping[str, Any]]) -> str:
    """One folder of a revision: its files with their sizes, and how to get them. `rows` are those
    of the hub's ``tree``.
    """
    repo, view = place.repo, found.view
    revision = view.revision
    ref = place.ref or revision.id.hex
    facts = [f"commit {revision.id}", f"{len(view.files):,} files"]
    facts.append(_size(sum(entry.size for entry in view.files.values())))
    if view.lacking:
        facts.append(f"{view.lacking:,} more files are not archived")
    if found.stale_since:
        facts.append(f"not compared with the hub since {found.stale_since}")
    if found.unconfirmed:
        facts.append("a neighbour's word, which no hub has confirmed")
    access = _access(about)
    facts += [f"{access} at its hub"] if access else []
    shown = [_row(place, ref, row) for row in rows[:MOST_ROWS]]
    if place.folder:
        above = place.folder.rpartition("/")[0]
        shown.insert(0, (_link(_folder(repo, ref, above), ".."), ""))
    at = f"@{ref}" if place.ref else ""
    option = f" --revision {_shell(ref)}" if place.ref else ""
    kind = " --repo-type dataset" if repo.kind.value == "dataset" else ""
    body = [
        f"<p>{html.escape(' · '.join(facts))}</p>",
        _table(shown),
        _more(len(rows), "the API lists them"),
        "<p>To get it:</p>",
        _commands(
            f"HF_ENDPOINT={place.origin} hf download {repo.name}{kind}{option}",
            f"outlast pull {_shell(f'{repo}{at}')} --from {place.origin}",
        ),
        f"<p>{_link('/', 'All models')}</p>",
    ]
    return _page(f"{repo}{f'/{place.folder}' if place.folder else ''}", body)


def problem(status: int, headers: Mapping[str, str], message: str) -> web.Response:
    """The page in place of an error's JSON, with those of its `headers` that say more."""
    body = [f"<p>{html.escape(message)}</p>", f"<p>{_link('/', 'All models')}</p>"]
    kept = {name: value for name, value in headers.items() if name in _KEPT}
    return reply(_page(str(status), body), kept, status)


def file_path(repo: RepoId, ref: str, path: str, how: str = "resolve") -> str:
    """The path of a file on this server, quoted."""
    return f"{_path(repo)}/{how}/{quote(ref, safe='')}/{quote(path)}"


def _path(repo: RepoId) -> str:
    return f"/{quote(repo.hub_path)}"


def _folder(repo: RepoId, ref: str, folder: str) -> str:
    return f"{_path(repo)}/tree/{quote(ref, safe='')}/{quote(folder)}".rstrip("/")


def _row(place: Place, ref: str, row: Mapping[str, Any]) -> tuple[str, str]:
    path = str(row["path"])
    name = path.removeprefix(f"{place.folder}/")
    if row["type"] == "directory":
        return _link(_folder(place.repo, ref, path), f"{name}/"), ""
    how = "resolve" if "lfs" in row else "raw"  # what git keeps is text, mostly
    return _link(file_path(place.repo, ref, path, how), name), html.escape(_size(int(row["size"])))


def _access(about: About) -> str:
    return "private" if about.private else "gated" if about.gated else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = "\n".join(f"<tr><td>{first}</td><td>{second}</td></tr>" for first, second in rows)
    return f"<table>\n{lines}\n</table>" if lines else ""


def _more(count: int, how: str) -> str:
    if count <= MOST_ROWS:
        return ""
    return f"<p>… and {count - MOST_ROWS:,} more: {html.escape(how)}.</p>"


def _commands(*lines: str) -> str:
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def _shell(word: str) -> str:
    """`word` as a shell reads it: refs may hold what a shell would expand."""
    safe = all(c.isalnum() or c in "@%+=:,./-_" for c in word) and word.isascii()
    return word if safe else "'" + word.replace("'", "'\"'\"'") + "'"


def _link(target: str, text: str) -> str:
    return f'<a href="{html.escape(target)}">{html.escape(text)}</a>'


def _size(count: float) -> str:
    """Bytes for people: powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _page(title: str, body: Iterable[str]) -> str:
    parts = "\n".join(part for part in body if part)
    name = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{name} · outlast</title><style>{_STYLE}</style></head>\n"
        f"<body>\n<h1>{name}</h1>\n{parts}\n</body>\n</html>\n"
    )
