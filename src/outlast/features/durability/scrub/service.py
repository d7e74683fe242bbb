"""Beside `serve`: damage is mended soon after it was seen, and scrubs begin when they are due."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from outlast.app import App
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import BusyError, Cancelled, OutlastError
from outlast.core.events import Event, Note, Planned, Progress
from outlast.core.ratelimit import TokenBucket
from outlast.core.status import ParityStatus
from outlast.features.durability.parity.files import room_of
from outlast.features.durability.parity.geometry import Share
from outlast.features.durability.parity.keeper import ParityKeeper
from outlast.features.durability.scrub.cursor import QUICK, PassTimes, ScrubCursor
from outlast.features.durability.scrub.items import items_of
from outlast.features.durability.scrub.mender import Mender, homes_of
from outlast.features.durability.scrub.scrub import ScrubWishes, oldest, scrub
from outlast.features.durability.scrub.tuning import TUNING, ScrubTuning
from outlast.features.durability.settings import ScrubSettings, StoreSetting
from outlast.node.scope import Neighbourhood
from outlast.server.http.log import log_bug
from outlast.server.http.metrics import Metrics
from outlast.store.archive import Archive
from outlast.store.uses import file_name

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Try:
    """When to mend a blob again (monotonic seconds), and how long to wait after that."""

    due: float = 0.0
    pause: float = 0.0


@dataclass(slots=True)
class Mending:
    """Mends what is noted as damaged; what cannot be mended is tried again, less and less
    often.
    """

    archive: Archive
    mend: Callable[[Digest], None]
    control: Control
    tuning: ScrubTuning = TUNING
    _tries: dict[Digest, _Try] = field(default_factory=dict)

    def step(self) -> None:
        """Mends what is due."""
        damaged = self.archive.damage.all()
        self._tries = {blob: one for blob, one in self._tries.items() if blob in damaged}
        for blob in sorted(damaged):
            self.control.cancel.check()
            one = self._tries.setdefault(blob, _Try(pause=self.tuning.again))
            if time.monotonic() >= one.due:
                self._try(blob, one)

    def _try(self, blob: Digest, one: _Try) -> None:
        try:
            self.mend(blob)
        except Cancelled:
            raise
        except OutlastError as error:
            one.due = time.monotonic() + one.pause
            one.pause = min(self.tuning.longest, 2 * one.pause)
            name = file_name(self.archive, blob)
            self.control.emit(Note(f"{name} is damaged, and not mended yet: {error}"))


def scrub_if_due(
    archive: Archive,
    every: float,
    settings: ScrubSettings,
    control: Control,
    metrics: Metrics,
) -> None:
    """Begins a pass `every` so many seconds, and goes on with one that is under way. It only finds
    damage: another thread mends it.
    """
    with contextlib.suppress(BusyError), ScrubCursor(archive.layout.home) as cursor:
        times = cursor.times(QUICK)
        if times is None:  # what came was verified as it came
            cursor.begin(QUICK)
            cursor.finish(QUICK, ())
            times = cursor.times(QUICK)
        metrics.scrub_oldest.set(oldest(cursor, items_of(archive.layout)))
        if times is None or not _is_recent(times, every):
            parity, wishes = ParityKeeper(archive, settings.parity), ScrubWishes(rate=settings.rate)
            result = scrub(archive, cursor, wishes, None, control, parity=parity)
            metrics.scrub_damage.inc(len(result.found))
            metrics.scrub_oldest.set(result.oldest)
            text = f"scrubbed {result.files} files: {len(result.found)} damaged"
            control.emit(Note(text))


def complete_parity(
    archive: Archive, share: Share | None, rate: int, control: Control
) -> ParityStatus:
    """Writes the parity that blobs lack, also of those that came since the last scrub; how it
    stands then. Raises :class:`DiskFullError`.
    """
    keeper = ParityKeeper(archive, share)
    pace = TokenBucket(rate, burst=0.25) if rate else None

    def between(count: int) -> None:
        control.cancel.check()
        if pace is not None and count:
            pace.take(count, control.cancel)

    if share is not None:
        with contextlib.suppress(BusyError), ScrubCursor(archive.layout.home):
            keeper.complete(items_of(archive.layout), between)
    if keeper.account.files:
        control.emit(Note(f"parity written: {keeper.account.files} files"))
    files, size = room_of(archive.layout)
    return ParityStatus(files, size, keeper.account.lacking)


def _is_recent(times: PassTimes, every: float) -> bool:
    """Whether the last pass is through, not too long ago; one in the future counts for nothing: the
    clock was set back.
    """
    return times.finished is not None and 0 <= time.time() - times.finished < every


@contextlib.contextmanager
def scrubbing_beside(
    app: App, settings: ScrubSettings, stores: Sequence[StoreSetting] = ()
) -> Iterator[None]:
    """Mends and scrubs in threads beside a server while the block runs. `stores` are asked, too."""
    cancel = Cancel(app.control.cancel)
    control = Control(app.control.emit, cancel)
    work: list[tuple[Callable[[], None], float]] = []
    if settings.mend:
        around = None if app.node is None else Neighbourhood(app.node)
        sources = (*app.sources, *homes_of(stores, app.homes, control))
        mender = Mender(
            app.archive, sources, lambda: contextlib.nullcontext(around), app.wishes, control
        )
        work.append((Mending(app.archive, mender.mend, control).step, TUNING.look))
    counted = Control(_counting(app, control), cancel)

    def look() -> None:
        if settings.every is not None:
            scrub_if_due(app.archive, settings.every, settings, counted, app.metrics)
        status = complete_parity(app.archive, settings.parity, settings.rate, control)
        app.metrics.parity.set(status.size)
        if app.node is not None:
            app.node.parity = status

    work.append((look, TUNING.due))
    threads = [
        threading.Thread(target=_again, args=(step, pause, control), name="durability")
        for step, pause in work
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        cancel.set()
        for thread in threads:
            thread.join()


def _counting(app: App, control: Control) -> Callable[[Event], None]:
    """Counts the bytes of a scrub; a server shows no progress of it."""

    def emit(event: Event) -> None:
        if isinstance(event, Progress):
            app.metrics.scrubbed.inc(event.count)
        elif not isinstance(event, Planned):
            control.emit(event)

    return emit


def _again(step: Callable[[], None], pause: float, control: Control) -> None:
    said = ""
    while not control.cancel.is_set:
        try:
            step()
            said = ""
        except Cancelled:
            return
        except OutlastError as error:
            if str(error) != said:
                control.emit(Note(f"durability: {error}"))
            said = str(error)
        except Exception as error:  # noqa: BLE001 - the server goes on
            log_bug("durability", error)
            return
        with contextlib.suppress(Cancelled):
            control.cancel.wait(pause)
