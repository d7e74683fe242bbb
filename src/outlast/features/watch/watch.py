"""Watching: a pass over each hub, and what came of it told to each channel, again and again."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.errors import Cancelled, DamagedRecordError, OutlastError
from outlast.core.events import Note, WatchNoticed
from outlast.features.watch.changes import Change
from outlast.features.watch.follow import Follow
from outlast.features.watch.holdings import HeldModels
from outlast.features.watch.memory import Memory
from outlast.features.watch.memory_rows import ARCHIVE
from outlast.features.watch.polls.asking import Context
from outlast.features.watch.polls.hub_pass import Pass, Rules
from outlast.features.watch.polls.schedule import HubHealth
from outlast.sources.hub_watch import HubWatch
from outlast.store import disk

_LOCK: Final = "telling.lock"
_AT_ONCE: Final = 50
"""Changes in one message."""
_TOGETHER: Final = 60.0
"""Seconds in which changes wait for others, so that one message tells them."""


class Teller(Protocol):
    """Where changes are told."""

    @property
    def name(self) -> str:
        """By which the memory knows what it has told."""

    def tell(self, changes: Sequence[Change]) -> None:
        """Returns once they are told; raises :class:`OutlastError` if it is not known that they
        were. What it fails to tell is told again in the next pass.
        """


class Archiver(Protocol):
    """What archives the commits that are wanted."""

    def run(self) -> None:
        """Archives what is wanted, as far as budgets allow, or until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Lookout:
    """All that watching needs."""

    context: Context
    hubs: Sequence[HubWatch]
    follows: Callable[[], Sequence[Follow]]
    holdings: HeldModels
    rules: Rules = field(default_factory=Rules)
    channels: Sequence[Teller] = ()
    archiver: Archiver | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of a pass over all hubs: so many `changes`, of which `withdrawn` withdraw
    something; the hubs in `dark` gave no answers.
    """

    changes: int
    withdrawn: int
    dark: tuple[str, ...]


def watch_once(watcher: Lookout, noticed: Callable[[Change], None] | None = None) -> Passed:
    """Looks at all that is due, and tells what changed. `noticed` gets each change as it comes.
    What is wanted is archived at the end.

    Raises :class:`OutlastError` where the list of follows or the memory cannot be read.
    """
    memory, control = watcher.context.memory, watcher.context.control
    changes = withdrawn = 0
    dark = []

    told_at = watcher.context.clock()

    def told(change: Change) -> None:
        nonlocal changes, withdrawn, told_at
        changes += 1
        withdrawn += change.kind.withdraws
        control.emit(_event(change))
        if noticed is not None:
            noticed(change)
        if watcher.context.clock() - told_at >= _TOGETHER:  # a pass may take an hour
            _deliver(watcher)
            told_at = watcher.context.clock()

    for name in (ARCHIVE, *(channel.name for channel in watcher.channels)):
        memory.begin(name)
    _deliver(watcher)
    follows = watcher.follows()
    for hub in watcher.hubs:
        try:
            answered = Pass(
                hub,
                watcher.context,
                follows,
                watcher.holdings,
                rules=watcher.rules,
                told=told,
                alone=len(watcher.hubs) == 1,
            ).run()
            dark += [] if answered else [hub.name]
        finally:
            _deliver(watcher)
    if watcher.archiver is not None:
        watcher.archiver.run()
    return Passed(changes, withdrawn, tuple(dark))


def hasten(watcher: Lookout) -> None:
    """Makes all due, also at hubs that gave no answers; not at one that asked for patience."""
    memory = watcher.context.memory
    for hub in watcher.hubs:
        memory.hasten(hub.name)
        before = memory.hub_state(hub.name)
        after = HubHealth.from_json(before).hastened(hub.name, watcher.context.tuning)
        memory.put_hub_state(hub.name, before, after.to_json())


def _deliver(watcher: Lookout) -> None:
    """Tells each channel what it has not told yet: one process at a time."""
    memory = watcher.context.memory
    path = memory.path.with_name(_LOCK)
    with disk.turn(path, watcher.context.control.cancel.wait):
        _tell_all(watcher, memory)


def _tell_all(watcher: Lookout, memory: Memory) -> None:
    for number, change in memory.pending(ARCHIVE):
        with contextlib.suppress(DamagedRecordError):  # `verify` tells of it
            watcher.holdings.hear(change)
        memory.sent(ARCHIVE, number)
    for channel in watcher.channels:
        try:
            pending = memory.pending(channel.name)
            while batch := list(itertools.islice(pending, _AT_ONCE)):
                channel.tell([change for _, change in batch])
                for number, _ in batch:
                    memory.sent(channel.name, number)
        except Cancelled:
            raise
        except OutlastError as error:
            watcher.context.control.emit(Note(f"{channel.name}: {error}; it is tried again later"))


def _event(change: Change) -> WatchNoticed:
    return WatchNoticed(
        kind=str(change.kind),
        hub=change.hub,
        repo="" if change.repo is None else str(change.repo),
        ref=change.ref,
        before=change.before,
        after=change.after,
        reason=change.reason,
        when=change.when,
    )


def watch(watcher: Lookout, noticed: Callable[[Change], None] | None = None) -> None:
    """Watches until it is cancelled. What fails is said once, and tried again."""
    said = ""
    while True:
        try:
            watch_once(watcher, noticed)
            said = ""
        except Cancelled:
            raise
        except OutlastError as error:
            if str(error) != said:
                watcher.context.control.emit(Note(f"watch: {error}"))
            said = str(error)
        watcher.context.rest(watcher.context.tuning.service)


@contextlib.contextmanager
def watching(
    make: Callable[[Control], contextlib.AbstractContextManager[Lookout]],
    control: Control,
    on_bug: Callable[[BaseException], None],
) -> Iterator[None]:
    """Watches in a thread while the block runs. `make` opens what that needs, in the thread."""
    cancel = Cancel(control.cancel)

    def work() -> None:
        try:
            with make(Control(control.emit, cancel)) as watcher:
                watch(watcher)
        except Cancelled:
            pass
        except OutlastError as error:
            control.emit(Note(f"watch: {error}"))
        except Exception as error:  # noqa: BLE001 - the server goes on
            on_bug(error)

    thread = threading.Thread(target=work, name="watch")
    thread.start()
    try:
        yield
    finally:
        cancel.set()
        thread.join()
