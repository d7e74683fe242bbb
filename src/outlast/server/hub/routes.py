"""What a request of the hub's API asks for. Pure: no I/O, so that hostile paths are easy to test.

Paths are split before they are unquoted: an encoded slash belongs to a ref, not to the path.
"""

from dataclasses import dataclass
from urllib.parse import unquote

from outlast.core.errors import BadNameError, EntryNotFoundError, RepoNotFoundError
from outlast.core.names import RepoId, RepoKind

_VERBS = frozenset({"revision", "tree", "paths-info", "refs", "commits", "auth-check"})
_PLURALS = {kind.plural: kind for kind in RepoKind}


@dataclass(frozen=True, slots=True)
class HubRoute:
    """`what` is one of ``health metrics whoami list resolve info tree paths-info refs commits
    auth-check``; `ref` and `path` are empty where the request has none.
    """

    what: str
    kind: RepoKind = RepoKind.MODEL
    repo: RepoId | None = None
    ref: str = ""
    path: str = ""


def parse(raw_path: str) -> HubRoute:
    """The route of a raw (still quoted) path; raises what a hub would answer otherwise."""
    parts = [unquote(part) for part in raw_path.split("?", maxsplit=1)[0].strip("/").split("/")]
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
        case [plural, *rest] if plural in _PLURALS and len(rest) > 3:
            return _resolve(_PLURALS[plural], rest)
        case _:
            return _resolve(RepoKind.MODEL, parts)


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
        case [("tree" | "paths-info" | "commits") as what, ref, *path]:
            return HubRoute(what, kind, repo, ref, "/".join(path))
    raise EntryNotFoundError("no such API here")


def _resolve(kind: RepoKind, parts: list[str]) -> HubRoute:
    for size in (2, 1):
        if len(parts) > size + 2 and parts[size] == "resolve":
            ref, path = parts[size + 1], "/".join(parts[size + 2 :])
            return HubRoute("resolve", kind, _repo(kind, parts[:size]), ref, path)
    raise RepoNotFoundError("nothing is served at this path")
