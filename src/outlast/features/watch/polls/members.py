"""Which models a list of follows means at a hub: those that it names, and those that patterns have
found. What a pattern found once is followed as long as the pattern is.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from outlast.core.errors import BadNameError
from outlast.core.names import RepoId, RepoKind
from outlast.features.watch.changes import Change, ChangeKind
from outlast.features.watch.follow import Follow, PatternKind
from outlast.features.watch.memory import Memory
from outlast.features.watch.polls.compare import owner
from outlast.features.watch.polls.schedule import rank
from outlast.sources.hub_watch import HubWatch


def followed(memory: Memory, hub: str, follows: Iterable[Follow]) -> dict[RepoId, list[Follow]]:
    """The models at a hub, each with the follows that mean it, the most urgent first."""
    found: dict[RepoId, list[Follow]] = {}
    for follow in follows:
        named = {follow.repo} if follow.repo else memory.members(hub, follow.key)
        for repo in named:
            found.setdefault(repo, []).append(follow)
    for those in found.values():
        those.sort(key=lambda follow: rank(follow.priority))
    return found


def account_name(kind: RepoKind, organisation: str) -> str:
    """The duty in which all models of an account are looked at."""
    return f"account:{kind.plural}/{organisation}"


def pattern_name(follow: Follow) -> str:
    """The duty in which the models of a pattern are looked for."""
    return f"pattern:{follow.key}"


def found_by(hub: HubWatch, follow: Follow) -> list[RepoId]:
    """The models that a collection or a search names now."""
    if follow.kind is PatternKind.COLLECTION:
        items = hub.collection(follow.slug) or []
        kinds = {str(kind): kind for kind in RepoKind}
        return [*_named((kinds[kind], name) for kind, name in items if kind in kinds)]
    rows = hub.listed(follow.what, [*map(_filter, follow.terms)])
    return [*_named((follow.what, row.get("id")) for row in rows)]


def _filter(term: tuple[str, str]) -> tuple[str, str]:
    """A term of a search in the hub's words."""
    key, value = term
    if key == "author":
        return term
    return "filter", value if key == "tag" else f"{key}:{value}"


def _named(items: Iterable[tuple[RepoKind, Any]]) -> Iterator[RepoId]:
    """Those whose names are names."""
    for kind, name in items:
        try:
            yield RepoId(kind, str(name))
        except BadNameError:
            continue


def of_account(kind: RepoKind, organisation: str, names: Iterable[Any]) -> list[RepoId]:
    """Those of the names in an account's list that are of that account."""
    wanted = organisation.lower()
    return [
        one for one in _named((kind, name) for name in names) if owner(one.name).lower() == wanted
    ]


def appeared(follow: Follow, hub: str, when: str, repos: Iterable[RepoId]) -> list[Change]:
    """What is told of models that a pattern found, and did not find before."""
    return [Change(ChangeKind.APPEARED, hub, when, repo, after=follow.text) for repo in repos]
