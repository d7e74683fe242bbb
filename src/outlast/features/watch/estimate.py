"""What archiving all that a pattern names would take, as its hub says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from outlast.core.control import Control
from outlast.core.errors import NotFoundError, PolicyError, RepoNotFoundError
from outlast.core.names import RepoId
from outlast.features.watch.follow import Follow, PatternKind
from outlast.features.watch.polls.members import found_by, of_account
from outlast.fetch.file_filter import Selection
from outlast.sources.hub import HubSource
from outlast.sources.hub_watch import HubWatch

MOST_ASKED: Final = 200
"""Models whose sizes are asked for: two requests each."""


@dataclass(frozen=True, slots=True)
class Takes:
    """`size`: bytes of the files of `models` models, but for `unknown` of them."""

    models: int
    size: int
    unknown: int


def estimate(watch: HubWatch, source: HubSource, follow: Follow, control: Control) -> Takes:
    """Asks the hub. Raises :class:`RepoNotFoundError` where it knows nothing that is meant, and the
    errors of sources.
    """
    repos = sorted(set(matching(watch, follow)))
    if not repos:
        raise RepoNotFoundError(
            f"{watch.name} knows nothing that {follow.text} names", hint="check the spelling"
        )
    selection = Selection(follow.include, follow.exclude)
    size = unknown = 0
    for repo in repos[:MOST_ASKED]:
        control.cancel.check()
        try:
            listing = source.describe(repo, follow.ref or "main")
        except (NotFoundError, PolicyError):
            if follow.repo is not None:
                raise
            unknown += 1
            continue
        size += sum(entry.size for entry in listing.entries if selection.wants(entry.path))
    return Takes(len(repos), size, unknown + len(repos[MOST_ASKED:]))


def matching(watch: HubWatch, follow: Follow) -> Iterator[RepoId]:
    """The models that a pattern names now."""
    if follow.repo is not None:
        yield follow.repo
    elif follow.kind is PatternKind.ORGANISATION:
        rows = watch.listed(follow.what, [("author", follow.organisation)])
        yield from of_account(follow.what, follow.organisation, (row.get("id") for row in rows))
    else:
        yield from found_by(watch, follow)
