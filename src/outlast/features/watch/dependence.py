"""Which models depend on which hub: what `locate` saw of their holders, and asking anew."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from outlast.core.control import Control
from outlast.core.errors import OutlastError
from outlast.core.events import Note
from outlast.core.names import RepoId, Target
from outlast.features.watch.follow import Follow, PatternKind
from outlast.features.watch.follows import FOLDER
from outlast.features.watch.memory import Memory
from outlast.features.watch.polls.members import followed
from outlast.ops.holders.independence import Risked, risk_order
from outlast.ops.holders.locate import Around, locate
from outlast.ops.holders.tuning import TUNING
from outlast.ops.holders.tuning import Tuning as LocateTuning
from outlast.ops.holders.values import HolderKind, HolderState
from outlast.sources.base import Source
from outlast.store.archive import Archive
from outlast.store.records.holders import SeenHolders

if TYPE_CHECKING:
    from outlast.store.index import Summary

_PLACES: Final = frozenset({HolderKind.HUB.value, HolderKind.MIRROR.value, HolderKind.SOURCE.value})
PAUSE: Final = 1.0
"""Seconds between two models that are asked for. Guess."""
PATIENCE: Final = 3
"""Models in a row for which a source may fail to answer; then it is left alone. Guess."""


@dataclass(frozen=True, slots=True)
class Dependence:
    """A model, who was seen to hold it (None: it was never asked for), and what of it is here: all
    (True), a part (False) or nothing (None).
    """

    repo: RepoId
    size: int
    seen: SeenHolders | None
    here: bool | None

    @property
    def groups(self) -> frozenset[str]:
        """The independent holders of all of it, beside this archive."""
        return frozenset() if self.seen is None else self.seen.whole_groups

    @property
    def risked(self) -> Risked:
        """The same as the question what a hub takes with it wants it."""
        holders = () if self.seen is None else self.seen.holders
        places = frozenset(one.group for one in holders if one.kind in _PLACES)
        return Risked(self.repo, self.size, self.groups, places, here=self.here is True)


def models_of(archive: Archive, follows: Sequence[Follow], hubs: Iterable[str]) -> list[RepoId]:
    """The models that `follows` mean, as far as this archive knows them: those that are named, and
    what `watch` found by patterns, or is archived of an organisation.
    """
    found = {archive.refs.spelling(one.repo) for one in follows if one.repo is not None}
    whole = {
        (one.what, one.organisation.lower())
        for one in follows
        if one.kind is PatternKind.ORGANISATION
    }
    for repo in archived(archive) if whole else ():
        if (repo.kind, repo.name.partition("/")[0].lower()) in whole:
            found.add(repo)
    if any((archive.layout.home / FOLDER).glob("*.sqlite")):  # else nothing was watched yet
        with Memory.open(archive.layout.home) as memory:
            for hub in hubs:
                found |= {archive.refs.spelling(repo) for repo in followed(memory, hub, follows)}
    return sorted(found)


def archived(archive: Archive) -> list[RepoId]:
    """The models of which a revision is here."""
    return sorted({summary.repo for summary in archive.summaries()})


def dependences(archive: Archive, repos: Iterable[RepoId]) -> list[Dependence]:
    """What is known of the holders of each model, those at the highest risk first."""
    summaries: dict[RepoId, list[Summary]] = {}
    for one in archive.summaries():
        summaries.setdefault(one.repo, []).append(one)
    found = {}
    for repo in repos:
        seen = archive.holders.get(repo)
        here = summaries.get(repo, [])
        if seen is not None and here:
            here = [one for one in here if one.revision == seen.commit]
            if not here:  # another revision is archived now, and was not asked for
                seen, here = None, summaries[repo]
        best = max(here, key=lambda one: (not one.partial, one.size), default=None)
        size = seen.size if seen is not None else 0 if best is None else best.size
        whole = None if best is None else not best.partial
        found[repo] = Dependence(repo, size, seen, whole)
    counts = {repo: None if one.seen is None else len(one.groups) for repo, one in found.items()}
    return [found[repo] for repo in risk_order(counts)]


@dataclass(slots=True)
class _Sources:
    """Those that are still asked. One that has not answered several times in a row is left alone:
    it is down, or asks for fewer requests.
    """

    asked: list[Source]
    control: Control
    _failures: dict[str, int] = field(default_factory=dict)

    def hear(self, source: Source, state: HolderState | None) -> None:
        """How a source failed; None if it answered."""
        silent = state in {HolderState.UNREACHABLE, HolderState.NO_ANSWER}
        failures = self._failures.get(source.name, 0) + 1 if silent else 0
        self._failures[source.name] = failures
        if failures >= PATIENCE:
            self.asked = [other for other in self.asked if other is not source]
            self.control.emit(Note(f"{source.name} does not answer: it is not asked any more"))


def refresh(
    archive: Archive,
    models: Sequence[Dependence],
    sources: Sequence[Source],
    around: Around,
    control: Control,
    *,
    pause: Callable[[float], object] | None = None,
    tuning: LocateTuning = TUNING,
) -> int:
    """Asks for one model after the other who holds it, with a pause between two; how many were
    asked for. One that no source knows does not stop the others. Where no source is left to say
    what a model is that is not here, it is not asked for.
    """
    wait = pause or control.cancel.wait
    rest = _Sources(list(sources), control)
    asked = 0
    for model in models:
        if model.here is None and not rest.asked:
            continue
        if asked:
            wait(PAUSE)
        control.cancel.check()
        asked += 1
        try:
            target = Target(model.repo, None)
            locate(archive, target, rest.asked, around, control, failed=rest.hear, tuning=tuning)
        except OutlastError as error:
            control.cancel.check()
            control.emit(Note(f"{model.repo}: {error}"))
    return asked
