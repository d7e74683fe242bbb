"""What is archived first of what is wanted: by risk and value, within the bytes of each follow."""

import datetime as dt
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from outlast.core.errors import Cancelled, DiskFullError, OutlastError, StorageError, TransientError
from outlast.core.events import Event, Note
from outlast.core.names import RepoId, Target
from outlast.core.sizes import human_size
from outlast.features.watch.changes import Change
from outlast.features.watch.follow import Follow
from outlast.features.watch.memory_rows import Wanted
from outlast.features.watch.polls.asking import Context
from outlast.features.watch.polls.compare import owner
from outlast.features.watch.polls.members import followed
from outlast.features.watch.polls.schedule import moment, rank
from outlast.fetch.file_filter import Selection
from outlast.fetch.transfer import Wishes
from outlast.fetch.tuning import TUNING as FETCH_TUNING
from outlast.fetch.withdrawals import noting_withdrawals
from outlast.node.scope import Neighbourhood
from outlast.ops.pull import Pulled, pull
from outlast.p2p.resolve import Found, locate
from outlast.sources.base import Source
from outlast.store import disk
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)
_NEVER: Final = 16.0
"""Risk of a model of which nothing is here."""
_SIBLINGS: Final = 8.0
"""Risk that a model has of each other one of its account that was withdrawn lately, and at most
four times that."""
_LATELY: Final = dt.timedelta(days=30)
_RARE: Final = 4.0
"""Risk of a model that few others hold."""
_FEW: Final = 2
"""Independent holders of all files, the hub among them, as `outlast locate` saw them last."""
_URGENT: Final = 4.0
"""By how much the value of a model is higher, or lower, by its priority."""
_SMALL: Final = 1e9
"""Bytes from which size counts: below, a model is archived in a minute or so."""


@dataclass(frozen=True, slots=True)
class Danger:
    """What is known of the risks of models."""

    withdrawn: Mapping[str, int]
    """By account, how many of its models went lately."""


def danger(history: Iterable[Change]) -> Danger:
    """What lately happened, as risk."""
    found: dict[str, set[RepoId]] = {}
    for change in history:
        if change.repo is not None and change.kind.withdraws:
            found.setdefault(owner(change.repo.name).lower(), set()).add(change.repo)
    return Danger({account: len(repos) for account, repos in found.items()})


def urgency(
    wanted: Wanted, follow: Follow, known: Danger, *, held: bool, holders: int | None = None
) -> float:
    """Risk times value, by size: the higher, the sooner. `held`: another commit of it is here;
    `holders`: how many others were seen to have it, None if that is not known.
    """
    siblings = min(4, known.withdrawn.get(owner(wanted.repo.name).lower(), 0))
    risk = 1.0 + wanted.risk + _SIBLINGS * siblings + (0.0 if held else _NEVER)
    risk += _RARE if holders is not None and holders <= _FEW else 0.0
    value = _URGENT ** (1 - rank(follow.priority))
    return risk * value / math.sqrt(1.0 + wanted.size / _SMALL)


def _unheard(_event: Event) -> None:
    """What is planned is told once, when it is done."""


class ArchiveQueue:
    """Archives what is wanted. No follow gets more bytes than it may."""

    def __init__(
        self,
        archive: Archive,
        context: Context,
        follows: Callable[[], Sequence[Follow]],
        *,
        sources: Sequence[Source],
        wishes: Wishes,
        around: Neighbourhood | None = None,
    ) -> None:
        self._archive = archive
        self._memory = context.memory
        self._follows = follows
        self._sources = sources
        self._wishes = wishes
        self._control = context.control
        self._clock = context.clock
        self._tuning = context.tuning
        self._around = around

    def run(self) -> None:
        """Archives what is wanted and due, one model after the other; what fails is tried again
        later. Raises :class:`Cancelled`, and :class:`StorageError` if the disk is full.
        """
        for wanted, follow in self._ordered():
            self._control.cancel.check()
            try:
                self._archive_one(wanted, follow)
            except TransientError as error:
                self._put_off(wanted, str(error), self._tuning.archive_again)
            except (Cancelled, StorageError) as error:
                if not isinstance(error, DiskFullError) or self._is_full():
                    raise
                self._put_off(wanted, str(error), self._tuning.archive_later)
            except OutlastError as error:
                self._put_off(wanted, str(error), self._tuning.archive_later)

    def _is_full(self) -> bool:
        return disk.free_bytes(self._archive.layout.home) < FETCH_TUNING.reserve

    def _ordered(self) -> list[tuple[Wanted, Follow]]:
        """What is due, the most urgent first."""
        now = self._clock()
        follows = self._follows()
        by_hub: dict[str, Mapping[RepoId, list[Follow]]] = {}
        found = []
        since = moment((dt.datetime.fromtimestamp(now, dt.UTC) - _LATELY).timestamp())
        known = danger(self._memory.history(None, since))
        for wanted in self._memory.wanted():
            if wanted.hub not in by_hub:
                by_hub[wanted.hub] = followed(self._memory, wanted.hub, follows)
            those = by_hub[wanted.hub].get(wanted.repo, ())
            follow = next((one for one in those if one.budget is not None), None)
            if follow is None:
                self._memory.unwant(wanted)
            elif wanted.due <= now:
                held = self._archive.find_commit(wanted.repo, wanted.ref) is not None
                seen = self._archive.holders.get(wanted.repo)
                holders = None if seen is None else len(seen.whole_groups)
                score = urgency(wanted, follow, known, held=held, holders=holders)
                found.append((score, wanted, follow))
        found.sort(key=lambda one: (-one[0], str(one[1].repo), one[1].ref))
        return [(wanted, follow) for _, wanted, follow in found]

    def _archive_one(self, wanted: Wanted, follow: Follow) -> None:
        assert follow.budget is not None
        found = self._locate(wanted)  # once: what is counted is what is fetched
        plan = self._pull(wanted, follow, found, dry_run=True).plan
        counted = self._memory.fetched_of(follow.key, wanted.repo, plan.commit)
        counts = max(counted, plan.fetch_bytes - plan.resumed)
        left = max(0, follow.budget - self._memory.fetched(follow.key) + counted)
        if counts > left:
            text = (
                f"{wanted.repo} is not archived: it needs {human_size(counts)}, and of the "
                f"{human_size(follow.budget)} for {follow.text} {human_size(left)} are left"
            )
            self._put_off(wanted, text, self._tuning.archive_later)
            return
        # Noted before the first byte comes: a process that is killed gets no bytes for nothing.
        self._memory.put_fetched(follow.key, wanted.repo, plan.commit, counts)
        pulled = self._pull(wanted, follow, found, dry_run=False)
        came = sum(pulled.fetched.values())
        if came > counts:
            self._memory.put_fetched(follow.key, wanted.repo, plan.commit, came)
        self._memory.unwant(wanted)
        self._control.emit(Note(f"archived {wanted.repo}@{wanted.ref} ({plan.commit.hex[:12]})"))

    def _locate(self, wanted: Wanted) -> Found:
        with noting_withdrawals(self._archive, wanted.repo, self._control.emit) as emit:
            return locate(
                self._sources,
                self._around,
                wanted.repo,
                wanted.ref,
                replace(self._control, emit=emit),
                patience=self._wishes.metadata_patience,
            )

    def _pull(self, wanted: Wanted, follow: Follow, found: Found, *, dry_run: bool) -> Pulled:
        return pull(
            self._archive,
            Target(wanted.repo, wanted.ref),
            self._sources,
            selection=Selection(follow.include, follow.exclude),
            wishes=self._wishes,
            control=replace(self._control, emit=_unheard) if dry_run else self._control,
            around=self._around,
            dry_run=dry_run,
            found=found,
        )

    def _put_off(self, wanted: Wanted, reason: str, seconds: float) -> None:
        self._control.emit(Note(reason))
        later = replace(wanted, due=self._clock() + seconds)
        self._memory.put_off(later)
