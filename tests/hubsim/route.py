"""What a request line asks for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote

from tests.hubsim.repo import Kind

What = Literal[
    "resolve", "cdn", "info", "tree", "paths-info", "refs", "commits", "list", "whoami",
    "auth-check", "collection", "git", "control", "unknown",
]  # fmt: skip
_VERBS: dict[str, What] = {
    "revision": "info",
    "tree": "tree",
    "paths-info": "paths-info",
    "refs": "refs",
    "commits": "commits",
    "auth-check": "auth-check",
}
_COLLECTIONS = "/api/collections/"
_KINDS: dict[str, Kind] = {"models": "model", "datasets": "dataset"}
_API = re.compile(r"/api/(models|datasets)(?:/(.+))?")
_RESOLVE = re.compile(r"/(?:(datasets)/)?([^/]+(?:/[^/]+)?)/(?:resolve|raw)/(.+)", re.DOTALL)
_GIT = re.compile(r"/(?:(datasets)/)?([^/]+(?:/[^/]+)?)/(info/refs|git-upload-pack)", re.DOTALL)
_CACHE = re.compile(r"/api/resolve-cache/(models|datasets)/([^/]+/[^/]+)/(.+)", re.DOTALL)
_CDN = re.compile(r"/repos/(models|datasets)/([^/]+(?:/[^/]+)?)/([0-9a-f]{40})/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Route:
    """A parsed request: `tail` is what follows the repo id, still encoded, split at slashes."""

    what: What
    kind: Kind = "model"
    repo_id: str = ""
    tail: tuple[str, ...] = ()
    from_cache: bool = False

    def revision_and_path(self, known: Iterable[str]) -> tuple[str, str]:
        """The revision and the path in the repo.

        A branch's slashes are %2F; as the hub does, slashes left bare are understood too.
        """
        if not self.tail:
            return "main", ""
        parts = [unquote(part) for part in self.tail]
        joined = "/".join(parts)
        names = [name for name in known if "/" in name and f"{joined}/".startswith(f"{name}/")]
        if names:
            name = max(names, key=len)
            return name, joined[len(name) + 1 :]
        if parts[0] == "refs" and len(parts) > 2:
            return "/".join(parts[:3]), "/".join(parts[3:])
        return parts[0], "/".join(parts[1:])


def split_query(raw_path: str) -> tuple[str, dict[str, str]]:
    """The path, still encoded, and the query's values by name: several are joined by commas."""
    path, _, query = raw_path.partition("?")
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        found[key] = f"{found[key]},{value}" if key in found else value
    return path, found


def parse(path: str) -> Route:
    """Find what an encoded path asks of the hub."""
    if path.startswith("/_sim/"):
        return Route("control", tail=(path.removeprefix("/_sim/"),))
    if path == "/api/whoami-v2":
        return Route("whoami")
    if path.startswith(_COLLECTIONS):
        return Route("collection", tail=(unquote(path.removeprefix(_COLLECTIONS)),))
    if match := _CACHE.fullmatch(path):
        tail = tuple(match[3].split("/"))
        return Route("resolve", _KINDS[match[1]], unquote(match[2]), tail, from_cache=True)
    if match := _API.fullmatch(path):
        return _api(_KINDS[match[1]], match[2])
    if match := _RESOLVE.fullmatch(path):
        kind: Kind = "dataset" if match[1] else "model"
        return Route("resolve", kind, unquote(match[2]), tuple(match[3].split("/")))
    if match := _GIT.fullmatch(path):
        git_kind: Kind = "dataset" if match[1] else "model"
        return Route("git", git_kind, unquote(match[2]).removesuffix(".git"), (match[3],))
    return Route("unknown")


def parse_cdn(path: str) -> Route:
    """Find which stored file a CDN path names: the tail is the commit and the sha256."""
    if path.startswith("/_sim/"):
        return Route("control", tail=(path.removeprefix("/_sim/"),))
    match = _CDN.fullmatch(path)
    if match is None:
        return Route("unknown")
    return Route("cdn", _KINDS[match[1]], unquote(match[2]), (match[3], match[4]))


def _api(kind: Kind, rest: str | None) -> Route:
    if rest is None:
        return Route("list", kind)
    parts = rest.split("/")
    for length in (1, 2):
        verb = _VERBS.get(parts[length]) if len(parts) > length else None
        if verb is not None:
            return Route(verb, kind, unquote("/".join(parts[:length])), tuple(parts[length + 1 :]))
    if len(parts) > 2:
        return Route("unknown", kind)
    return Route("info", kind, unquote(rest))
