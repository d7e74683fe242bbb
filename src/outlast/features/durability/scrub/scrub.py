"""A scrub: what was checked longest ago is checked first, and what is damaged is mended."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from outlast.codec.payload import Form
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import (
    DamagedError,
    DiskFullError,
    NotArchivedError,
    OutlastError,
    StorageError,
    TransientError,
)
from outlast.core.events import FileProblem, Note, Planned, Progress
from outlast.core.names import Target
from outlast.core.ratelimit import TokenBucket
from outlast.features.durability.parity.keeper import ParityKeeper
from outlast.features.durability.scrub.check import Checks, FileChecks
from outlast.features.durability.scrub.cursor import FULL, QUICK, ScrubCursor
from outlast.features.durability.scrub.found import UNTOUCHED, DamagedPart, FoundDamage, Scrubbed
from outlast.features.durability.scrub.frame import mend_frame
from outlast.features.durability.scrub.items import Item, items_of
from outlast.features.durability.scrub.priority import lower_priority
from outlast.features.durability.scrub.small import Ask, check_small
from outlast.features.durability.scrub.track import Track
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)
Mend = Callable[[Digest], None]
"""Mends a damaged blob, or raises :class:`OutlastError`."""


@dataclass(frozen=True, slots=True)
class ScrubWishes:
    """What to scrub: the files of `targets`, or all. `full`: by sha256. It ends after
    `most_seconds`, also within a file; `rate` in bytes per second, 0: as fast as it goes.
    """

    targets: tuple[Target, ...] = ()
    full: bool = False
    most_seconds: float | None = None
    rate: int = 0

    @property
    def mode(self) -> str:
        return FULL if self.full else QUICK


@dataclass(frozen=True, slots=True)
class Helpers:
    """How what is damaged is mended: blobs by `mend`, manifests by asking."""

    mend: Mend
    ask: Ask


def scrub(
    archive: Archive,
    cursor: ScrubCursor,
    wishes: ScrubWishes,
    helpers: Helpers | None,
    control: Control,
    *,
    parity: ParityKeeper | None = None,
) -> Scrubbed:
    """Checks what this pass has not checked yet, and all small things. Without `helpers` nothing is
    mended. `parity` looks after that of the files, if it is given. Raises :class:`NotFoundError`
    for a target that is not here, :class:`Cancelled`; what was checked by then stays checked.
    """
    keeper = parity or ParityKeeper(archive, None, changes=False)
    return _Scrub(archive, cursor, wishes, helpers, control, parity=keeper).run()


class _OutOfTime(Exception):  # noqa: N818 - no error: the next scrub goes on
    """The scrub ends within a file."""


class _Scrub:
    def __init__(
        self,
        archive: Archive,
        cursor: ScrubCursor,
        wishes: ScrubWishes,
        helpers: Helpers | None,
        control: Control,
        *,
        parity: ParityKeeper,
    ) -> None:
        self._archive = archive
        self._parity = parity
        self._cursor = cursor
        self._wishes = wishes
        self._helpers = helpers
        self._control = control
        self._pace = TokenBucket(wishes.rate, burst=0.25) if wishes.rate else None
        self._found: list[FoundDamage] = []
        self._unmended: set[tuple[Digest, Form]] = set()
        """What was told of already."""
        self._files = self._size = 0
        self._began = time.monotonic()

    def run(self) -> Scrubbed:
        mode = self._wishes.mode
        chosen = self._chosen()
        if chosen is None:
            ask = self._helpers.ask if self._helpers is not None else None
            for found in check_small(self._archive, ask, self._control.cancel):
                self._tell(found)
        self._known(chosen)
        items = list(items_of(self._archive.layout))
        after = self._cursor.begin(mode) if chosen is None else None
        due = [one for one in items if self._is_due(one, chosen, after)]
        due.sort(key=lambda one: (self._cursor.checked(one.name).number(mode), one.name))
        self._plan(items if chosen is None else due, due)
        todo, left = deque(due), list[Item]()
        with (
            ThreadPoolExecutor(1, "scrub", lower_priority) as worker,
            ThreadPoolExecutor(1, "scrub-ahead", lower_priority) as ahead,
        ):
            checks = FileChecks(self._archive, ahead)
            again = deque[Item]()  # what changed while it was read, once more
            for queue, unread in ((todo, again), (again, left)):
                while queue and not self._is_late():
                    item = queue.popleft()
                    if not self._check(item, checks, worker):
                        unread.append(item)
            self._complete_parity(chosen, worker)
        left += [*todo, *again]
        if chosen is None and not left:
            self._cursor.finish(mode, [one.name for one in items])
        return Scrubbed(
            self._files,
            self._size,
            time.monotonic() - self._began,
            tuple(self._found),
            len(left),
            sum(map(self._unread, left)),
            oldest(self._cursor, items),
            self._parity.account.files,
            self._parity.account.size,
            self._parity.account.lacking,
        )

    def _complete_parity(self, chosen: set[Digest] | None, worker: ThreadPoolExecutor) -> None:
        """Writes parity of what lies here now: a file that was mended may have another form. A full
        disk is said, and spoils no scrub.
        """
        if chosen is None:
            self._parity.sweep()
        items = [
            one for one in items_of(self._archive.layout) if chosen is None or one.blob in chosen
        ]
        complete = self._parity.complete
        try:
            worker.submit(complete, items, self._pause, self._is_late).result()
        except DiskFullError as error:
            self._control.emit(Note(str(error)))

    def _pause(self, count: int) -> None:
        """After so many bytes were read."""
        self._control.cancel.check()
        if self._pace is not None and count:
            self._pace.take(count, self._control.cancel)

    def _chosen(self) -> set[Digest] | None:
        """The blobs of the targets, and what they depend on; None: all."""
        if not self._wishes.targets:
            return None
        forms, chosen, todo = self._archive.forms, set[Digest](), list[Digest]()
        for target in self._wishes.targets:
            revision = self._archive.revision(target.repo, target.ref)
            todo += [entry.sha256 for entry in revision.files if entry.sha256 is not None]
        while todo:
            blob = todo.pop()
            if blob not in chosen:
                chosen.add(blob)
                form = forms.capsule(blob)
                todo += [base.sha256 for base in form.bases] if form is not None else []
        return chosen

    def _is_due(self, item: Item, chosen: set[Digest] | None, after: int | None) -> bool:
        if chosen is not None:
            return item.blob in chosen
        assert after is not None
        number = self._cursor.checked(item.name).number(self._wishes.mode)
        return number == 0 or number <= after

    def _plan(self, items: list[Item], todo: list[Item]) -> None:
        whole, left = sum(one.size for one in items), sum(map(self._unread, todo))
        self._control.emit(Planned("scrub", "archive", len(items), whole, whole - left))

    def _unread(self, item: Item) -> int:
        """Bytes of a file that this pass has not read yet."""
        return max(0, item.size - self._cursor.partway(item.name).size)

    def _is_late(self) -> bool:
        most = self._wishes.most_seconds
        return most is not None and time.monotonic() - self._began >= most

    def _known(self, chosen: set[Digest] | None) -> None:
        """What was seen before is mended first."""
        for blob, damages in sorted(self._archive.damage.all().items()):
            if chosen is None or blob in chosen:
                what = "; ".join(one.describe() for one in damages)
                form = damages[0].form
                self._damaged(blob, form, f"{what}, seen by {damages[0].by}")

    def _check(self, item: Item, checks: FileChecks, worker: ThreadPoolExecutor) -> bool:
        """Checks a file, and mends it; False where it changed while it was read."""
        track = Track(self._cursor, item.name)

        def between(count: int) -> None:
            track.read(count)
            self._control.emit(Progress(item.name, count))
            self._pause(count)
            if track.advanced and self._is_late():
                raise _OutOfTime

        check = checks.plain if item.form is Form.PLAIN else checks.capsule
        full = self._wishes.full
        try:
            result = worker.submit(check, item.blob, between, track, full=full).result()
        except _OutOfTime:
            self._size += track.size
            return False
        except TransientError as error:  # as when it gets another name
            _log.info("%s is not checked: %s", item.name, error)
            return False
        except (DamagedError, StorageError) as error:
            result = Checks(damaged=bool(self._archive.damage.of(item.blob)), problem=str(error))
        self._files += 1
        self._size += max(0, item.size - track.before)
        self._cursor.note(item.name, self._wishes.mode)
        self._judge(item, result)
        if found := worker.submit(self._parity.check, item, self._pause).result():
            self._tell(found)
        return True

    def _judge(self, item: Item, result: Checks) -> None:
        kind = DamagedPart.BLOB if item.form is Form.PLAIN else DamagedPart.CAPSULE
        if result.damaged:
            if (item.blob, item.form) not in self._unmended:
                known = self._archive.damage.of(item.blob)
                what = "; ".join(one.describe() for one in known) or "damaged"
                self._damaged(item.blob, item.form, what)
        elif result.problem:
            self._tell(
                FoundDamage(kind, item.name, result.problem, mended=False, why_not="not read")
            )
        if result.sums:
            name = self._archive.layout.name_of(self._archive.layout.sums_of(item.blob))
            self._tell(
                FoundDamage(
                    DamagedPart.SUMS, name, "damaged; all of the blob was hashed", mended=True
                )
            )
        if result.frame:
            problem = f"damaged, but it still reads: {', '.join(result.frame)}"
            act = partial(mend_frame, self._archive, item.blob)
            self._mended(DamagedPart.CAPSULE, item.name, problem, act)

    def _damaged(self, blob: Digest, form: Form, what: str) -> None:
        layout, kind = self._archive.layout, DamagedPart.BLOB
        path = layout.blob(blob)
        if form is not Form.PLAIN:
            kind, path = DamagedPart.CAPSULE, layout.capsule(blob)

        def act() -> None:
            assert self._helpers is not None
            self._helpers.mend(blob)
            if found := self._archive.damage.of(blob):
                raise NotArchivedError(f"still damaged: {found[0].describe()}")

        if not self._mended(kind, layout.name_of(path), what, act):
            self._unmended.add((blob, form))

    def _mended(self, kind: DamagedPart, name: str, problem: str, act: Callable[[], None]) -> bool:
        """Mends something, and says what came of it; whether it is right."""
        why_not = UNTOUCHED
        if self._helpers is not None:
            why_not = ""
            try:
                act()
            except OutlastError as error:
                self._control.cancel.check()
                why_not = str(error)
        self._tell(FoundDamage(kind, name, problem, mended=not why_not, why_not=why_not))
        return not why_not

    def _tell(self, found: FoundDamage) -> None:
        self._found.append(found)
        state = "mended" if found.mended else f"NOT mended: {found.why_not}"
        self._control.emit(FileProblem(found.path, f"{found.problem} ({state})", DamagedError.code))


def oldest(cursor: ScrubCursor, items: Iterable[Item]) -> float:
    """Seconds since the file was checked for which that is longest; one that never was counts from
    when it came, because it was verified then.
    """
    now = time.time()
    ages = (now - max(cursor.checked(one.name).at, one.came) for one in items)
    return max(0.0, max(ages, default=0.0))
