"""What a request of the hub's API asks for. Pure: no I/O, so that hostile paths are easy to test.

Paths are split before they are unquoted: an encoded slash belongs to a ref, not to the path.
"""

from dataclasses import dataclass
from urllib.parse import unquote

from outlast.core.errors import (
    BadNameError,
    EntryNotFoundError,
    NotFoundError,
    RepoNotFoundError,
)
from outlast.core.names import RepoId, RepoKind

_VERBS = frozenset(
    {"revision", "tree", "paths-info", "refs", "commits", "auth-check", "xet-write-token"}
)
_PLURALS = {kind.plural: kind for kind in RepoKind}
_NO_MODELS = frozenset({"favicon.ico", "robots.txt"})
"""What browsers and crawlers ask every server for by themselves: no upstream is asked for those."""
PAGES = frozenset({"home", "page", "folder"})
"""Routes that answer a browser with a page and a program with JSON."""
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Methods that ask for a change, but for those of ``paths-info``."""


@dataclass(frozen=True, slots=True)
class HubRoute:
    """`what` is one of ``health metrics whoami list resolve info tree paths-info refs commits
    auth-check``, of the routes that people type, ``home page folder raw blob``, or of the requests
    that a read-only hub refuses, ``write git``. `ref` and `path` are empty where the request has
    none. Of ``home``, `path` is the plural of the only kind to list, or empty.
    """

    what: str
    kind: RepoKind = RepoKind.MODEL
    repo: RepoId | None = None
    ref: str = ""
    path: str = ""


def parse(raw_path: str, method: str = "GET") -> HubRoute:
    """The route of a raw (still quoted) path; raises what a hub would answer otherwise. What is no
    route of ours, but asks by its `method` for a change, is a ``write``.
    """
    try:
        return _parse(raw_path.split("?", maxsplit=1)[0])
    except NotFoundError:
        if method in WRITING:
            return HubRoute("write")
        raise


def respelled(raw_path: str, repo: RepoId) -> str:
    """The path of the same request for `repo`, whose name differs only in case."""
    parts = raw_path.split("?", maxsplit=1)[0].strip("/").split("/")
    start = 2 if parts[0] == "api" else int(parts[0] in _PLURALS)
    names = repo.name.split("/")
    parts[start : start + len(names)] = names
    return "/" + "/".join(parts)


def _parse(raw_path: str) -> HubRoute:
    if raw_path == "/":
        return HubRoute("home")
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    match parts:
        case ["healthz"]:
            return HubRoute("health")
        case ["metrics"]:
            return HubRoute("metrics")
        case ["api", "whoami-v2"]:
            return HubRoute("whoami")
        case ["api", plural] if plural in _PLURALS:
            return HubRoute("list", _PLURALS[plural])
        case ["api", plural, *rest] if plural in _PLURALS:
            return _api(_PLURALS[plural], rest)
        case ["api", *_]:
            raise EntryNotFoundError("no such API here")
        case [plural] if plural in _PLURALS:
            return HubRoute("home", _PLURALS[plural], path=plural)
        case [plural, *rest] if plural in _PLURALS:
            return _of_repo(_PLURALS[plural], rest)
        case _:
            return _of_repo(RepoKind.MODEL, parts)


def _repo(kind: RepoKind, parts: list[str]) -> RepoId:
    try:
        return RepoId(kind, "/".join(parts))
    except BadNameError as error:
        raise RepoNotFoundError(str(error)) from error


def _api(kind: RepoKind, parts: list[str]) -> HubRoute:
    size = 2 if len(parts) > 2 and parts[2] in _VERBS else 1
    if len(parts) == 2 and parts[1] not in _VERBS:
        size = 2
    repo, rest = _repo(kind, parts[:size]), parts[size:]
    match rest:
        case []:
            return HubRoute("info", kind, repo)
        case ["revision", ref]:
            return HubRoute("info", kind, repo, ref)
        case [("refs" | "auth-check") as what]:
            return HubRoute(what, kind, repo)
        case ["xet-write-token", *_]:
            return HubRoute("write")
        case [("tree" | "paths-info" | "commits") as what, ref, *path]:
            return HubRoute(what, kind, repo, ref, "/".join(path))
    raise EntryNotFoundError("no such API here")


def _of_repo(kind: RepoKind, parts: list[str]) -> HubRoute:
    """A path outside the API, of a repository whose name has two parts or one."""
    for size in (2, 1):
        name, rest = parts[:size], parts[size:]
        match rest:
            case [("resolve" | "raw" | "blob") as what, ref, *path] if path:
                return HubRoute(what, kind, _repo(kind, name), ref, "/".join(path))
            case ["tree", ref, *path]:
                return HubRoute("folder", kind, _repo(kind, name), ref, "/".join(path))
            case ["info", ("refs" | "lfs"), *_] | [("git-upload-pack" | "git-receive-pack")]:
                return HubRoute("git")
    if len(parts) > 2 or parts[0] in _NO_MODELS:
        raise RepoNotFoundError("nothing is served at this path")
    return HubRoute("page", kind, _repo(kind, parts))
