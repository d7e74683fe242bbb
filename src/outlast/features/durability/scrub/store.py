"""A scrub of a second home: all of it is read again, what was read longest ago first; what is
damaged there is put right from the archive here.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from outlast.bucket.home import SecondHome, Stored
from outlast.bucket.records import damaged_records
from outlast.codec.hashing import TreeHasher
from outlast.codec.memory import Readable
from outlast.codec.merkle import Tree
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import (
    DamagedError,
    IntegrityError,
    NotArchivedError,
    OutlastError,
    TransientError,
)
from outlast.core.events import Event, FileProblem, Planned, Progress
from outlast.core.names import Target
from outlast.core.policy import Action
from outlast.core.ratelimit import TokenBucket
from outlast.features.durability.scrub.cursor import FULL, ScrubCursor
from outlast.features.durability.scrub.found import UNTOUCHED, DamagedPart, FoundDamage, Scrubbed
from outlast.features.durability.scrub.scrub import ScrubWishes
from outlast.intake.judging import require_revision
from outlast.ops.second_home.check import contents, problem_in
from outlast.ops.second_home.copy import BlobSender
from outlast.ops.second_home.mend import mend
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)
_SILENT: Final = 3
"""Files in a row that the store does not give, after which it counts as down. Guess."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A file of the home that holds a blob."""

    blob: Digest
    file: Stored


@dataclass(frozen=True, slots=True)
class _Use:
    """A file of a revision that is a blob of `size` plain bytes."""

    where: str
    size: int


def scrub_store(
    home: SecondHome,
    archive: Archive,
    cursor: ScrubCursor,
    wishes: ScrubWishes,
    control: Control,
    *,
    mends: bool,
) -> Scrubbed:
    """Reads the files of a home that this pass has not read yet, and all small things; `mends`:
    puts right bytes from `archive` in place of damaged ones, and of what is missing. Raises
    :class:`RepoNotFoundError` for a target that is not there, :class:`TransientError` where the
    store does not answer, :class:`Cancelled`; what was read by then counts as read.
    """
    home.require(second=True)
    with archive.writer() as writer:
        sender = BlobSender(archive, writer, home, control) if mends else None
        return _StoreScrub(home, sender, cursor, wishes, control).run()


class _StoreScrub:
    def __init__(
        self,
        home: SecondHome,
        sender: BlobSender | None,
        cursor: ScrubCursor,
        wishes: ScrubWishes,
        control: Control,
    ) -> None:
        """Without a `sender` nothing is mended."""
        self._home = home
        self._sender = sender
        self._cursor = cursor
        self._wishes = wishes
        self._emit = control.emit
        self._control = replace(control, emit=self._paced)
        self._pace = TokenBucket(wishes.rate, burst=0.25) if wishes.rate else None
        self._found: list[FoundDamage] = []
        self._uses: dict[Digest, _Use] = {}
        self._files = self._size = 0
        self._began = time.monotonic()

    def _paced(self, event: Event) -> None:
        self._emit(event)
        if isinstance(event, Progress) and self._pace is not None:
            self._pace.take(event.count, self._control.cancel)

    def run(self) -> Scrubbed:
        whole = not self._wishes.targets
        if whole:
            self._check_records()
        self._check_revisions()
        there = self._home.files()
        self._check_missing(there)
        items = [_Item(blob, one) for blob, files in there.items() for one in files]
        if not whole:
            items = [one for one in items if one.blob in self._uses]
        after = self._cursor.begin(FULL) if whole else None
        due = [one for one in items if after is None or self._is_due(one, after)]
        due.sort(key=lambda one: (self._cursor.checked(one.file.name).full, one.file.name))
        self._plan(items, due)
        left = self._check_all(due)
        if whole and not left:
            self._cursor.finish(FULL, [one.file.name for one in items])
        return Scrubbed(
            self._files,
            self._size,
            time.monotonic() - self._began,
            tuple(self._found),
            len(left),
            sum(one.file.size for one in left),
            self._oldest(items),
        )

    def _is_due(self, item: _Item, after: int) -> bool:
        number = self._cursor.checked(item.file.name).full
        return number == 0 or number <= after

    def _plan(self, items: list[_Item], due: list[_Item]) -> None:
        whole, left = sum(one.file.size for one in items), sum(one.file.size for one in due)
        self._emit(Planned("scrub", self._home.name, len(items), whole, whole - left))

    def _oldest(self, items: list[_Item]) -> float:
        """Seconds since a file was read; of one that never was nothing is known."""
        times = [self._cursor.checked(one.file.name).at for one in items]
        return max((max(0.0, time.time() - at) for at in times if at), default=0.0)

    # Small things

    def _check_records(self) -> None:
        for pair in damaged_records(self._home):
            what = f"damaged or missing: {', '.join(pair.damaged)}"
            act = partial(pair.mend, self._home)
            self._mended(DamagedPart.RECORD, pair.name, what, act)

    def _check_revisions(self) -> None:
        for repo, commit in contents(self._home, self._wishes.targets):
            self._control.cancel.check()
            named = f"{repo}@{commit.hex[:12]}"
            target = Target(repo, commit.hex)
            try:
                revision = self._home.load(repo, commit)
            except IntegrityError as error:
                act = partial(self._name_again, target)
                if not self._mended(DamagedPart.MANIFEST, named, str(error), act):
                    continue
                revision = self._home.load(repo, commit)
            for entry in revision.files if revision is not None else ():
                if entry.sha256 is not None:
                    use = _Use(f"{named}: {entry.path}", entry.size)
                    self._uses.setdefault(entry.sha256, use)

    def _name_again(self, target: Target) -> None:
        assert self._sender is not None
        archive = self._sender.archive
        revision = archive.revision(target.repo, target.ref)
        if revision.partial:
            raise NotArchivedError(f"{target} is not complete here")
        require_revision(archive, Action.EXPORT, revision)
        refs = [ref for ref in archive.refs.list(target.repo) if ref.commit == revision.id]
        self._home.put_revision(revision, archive.refs.about(target.repo), refs)

    def _check_missing(self, there: dict[Digest, list[Stored]]) -> None:
        for blob, use in self._uses.items():
            if blob not in there:
                self._control.cancel.check()
                name = self._home.blob_name(blob, capsule=False)
                act = partial(self._mend, blob)
                self._mended(DamagedPart.BLOB, name, f"missing; it is {use.where}", act)

    # Blobs

    def _check_all(self, due: list[_Item]) -> list[_Item]:
        """Reads these files; those that were not read come back."""
        left: list[_Item] = []
        silent = 0
        for number, item in enumerate(due):
            most = self._wishes.most_seconds
            if most is not None and time.monotonic() - self._began >= most:
                return left + due[number:]
            try:
                self._check(item)
                silent = 0
            except TransientError as error:
                silent += 1
                if silent >= _SILENT:
                    raise
                _log.info("%s is not read: %s", item.file.name, error)
                left.append(item)
        return left

    def _check(self, item: _Item) -> None:
        hasher = TreeHasher()

        def opened() -> Readable:
            return self._home.open_file(item.blob, item.file)

        self._home.forget(item.blob)
        name = item.file.name
        problem = problem_in(opened, item.blob, name, self._control, hasher.update)
        self._files += 1
        self._size += item.file.size
        self._cursor.note(name, FULL)
        if not problem:
            self._check_tree(item.blob, hasher.tree())
            return
        use = self._uses.get(item.blob)
        text = f"{problem}; it is {use.where}" if use is not None else problem
        kind = DamagedPart.CAPSULE if item.file.capsule else DamagedPart.BLOB
        if self._home.objects.size(name) is None and self._home.place_of(item.blob) is not None:
            return  # what is right in another form took its place
        self._mended(kind, name, text, partial(self._mend, item.blob))

    def _check_tree(self, blob: Digest, right: Tree | None) -> None:
        """The tree of a blob that is right; it is made anew of what was read."""
        if right is None or not right.layer:
            return
        name = self._home.tree_name(blob)
        try:
            known = self._home.tree(blob, right.size)
        except IntegrityError as error:
            problem = str(error)
        else:
            if known in {None, right}:  # an older outlast wrote none
                return
            problem = "it is that of other bytes"
        self._mended(DamagedPart.SUMS, name, problem, partial(self._home.put_tree, blob, right))

    def _mend(self, blob: Digest) -> None:
        assert self._sender is not None
        form = self._sender.archive.forms.of(blob)
        if form is None:
            raise NotArchivedError("it is not in the archive here")
        mend(self._home, self._sender, (blob, form.size), self._control)

    def _mended(self, kind: DamagedPart, name: str, problem: str, act: Callable[[], None]) -> bool:
        """Mends something, and says what came of it; whether it is right."""
        why_not = UNTOUCHED
        if self._sender is not None:
            why_not = ""
            try:
                act()
            except OutlastError as error:
                self._control.cancel.check()
                why_not = str(error)
        found = FoundDamage(kind, name, problem, mended=not why_not, why_not=why_not)
        self._found.append(found)
        state = "mended" if found.mended else f"NOT mended: {why_not}"
        self._emit(FileProblem(name, f"{problem} ({state})", DamagedError.code))
        return found.mended
