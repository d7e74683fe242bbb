"""Garbage collection: what no manifest, draft or live write session refers to goes to the trash.

What is in use is read from the records themselves (`store.garbage.evidence`) and from the headers
of the capsules, which carry checksums; never from the index. A record that cannot be read protects
all that it may have named (`store.garbage.census`), until it is readable again or the operator
gives it up.
"""

import contextlib
import hashlib
import logging
import math
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from outlast.core.descriptors import is_exhausted
from outlast.core.digest import Digest
from outlast.core.errors import NotFoundError, OutlastError, StorageError
from outlast.store import copies, disk, linkpartials, locks
from outlast.store.archive import Archive, BlobInfo
from outlast.store.forms import Forms, read_form
from outlast.store.garbage.census import Census
from outlast.store.garbage.evidence import (
    Evidence,
    Unreadable,
    gather,
    original_name,
    quarantined,
)
from outlast.store.garbage.trash import Discarded, Trash
from outlast.store.garbage.tuning import GRACE, READ
from outlast.store.layout import CAPSULE_SUFFIX, PARITY_SUFFIX, Layout
from outlast.store.partials import CAPSULE
from outlast.store.writer import leased, orphans, sweep

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that can go: a ``blob``, a ``capsule``, a working ``copy``, a ``partial``
    download, a ``record`` that was given up, an ``attestation`` of a manifest that is gone,
    ``trash`` whose time is over, or ``tmp`` of a dead process. `size` is in bytes; `waits`: it is
    in the trash now, and takes room as before.
    """

    what: str
    name: str
    size: int
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Spared:
    """A record that cannot be read, with the blobs that are kept for no other reason: how many, and
    their bytes on the disk. `record` is its path relative to the archive's folder.
    """

    record: str
    reason: str
    count: int
    size: int


def collect(
    archive: Archive,
    *,
    dry_run: bool,
    grace: float = GRACE,
    discard: Iterable[str] = (),
    alone: bool = False,
    kept: Callable[[BlobInfo], object] = bool,
    spared: Callable[[Spared], object] = bool,
    found: Callable[[int, int], object] = lambda _files, _size: None,
    only: Collection[str] | None = None,
) -> Generator[Garbage]:
    """Finds garbage and, unless `dry_run`, moves blobs and capsules to the trash and deletes the
    rest, and what has been in the trash for `grace` seconds; with 0, it deletes all at once. Yields
    each piece once it is gone. `kept` is told of each blob that nothing refers to, but that a delta
    capsule depends on; `spared` of each record that cannot be read; `found` of how many blobs and
    capsules are to go, if any are, and of their bytes. Records that `discard` names are given up. A
    caller that ends the iteration leaves the rest as it is. With `only`, keys of files
    (`FileEntry.key`), nothing else is looked at, the trash neither: what of these nothing needs is
    deleted at once, their downloads too.

    Raises :class:`StorageError` where a folder cannot be listed: it is not empty, and nothing goes;
    and where the locks of the file system keep no other process out, unless the caller says that
    there is none (`alone`).
    Raises :class:`NotFoundError` for a name in `discard` that is none of these records.
    """
    layout = archive.layout
    gone: set[Digest] = set()
    if not (alone or dry_run):
        _require_locks(layout)
    with (
        disk.reporting(layout.home),
        _forgetting(archive, gone, dry_run=dry_run),
        disk.locked(layout.lock, exclusive=True),
    ):
        job = _Collection(archive, discard, grace=grace, dry_run=dry_run, alone=alone, only=only)
        # The trash first: on a full disk its room may be what the rest needs.
        old = grace if only is None else math.inf
        for file in job.trash.expire(old, dry_run=dry_run):
            yield Garbage("trash", file.original, file.size)
        for garbage in job.run(kept, spared, found):
            if garbage.what in {"blob", "capsule"}:
                gone.add(Digest(garbage.name))
            yield garbage
        if not dry_run:
            job.tidy_notes()
        if only is not None:
            return
        dead = (orphans if dry_run else sweep)(layout, alone=alone)
        if dead:
            yield Garbage("tmp", f"{dead} folders of dead processes", 0)


@contextlib.contextmanager
def _forgetting(archive: Archive, gone: set[Digest], *, dry_run: bool) -> Iterator[None]:
    """At the end, however it comes, forgets the trees of blobs that are `gone`."""
    try:
        yield
    finally:
        if not dry_run:
            archive.index.forget_trees(d for d in gone if archive.forms.of(d) is None)


def _require_locks(layout: Layout) -> None:
    """Refuses to collect where a process that is about to use a blob cannot be noticed."""
    with disk.reporting(layout.lock):
        reason = locks.fault(layout.lock)
    if reason:
        raise StorageError(
            f"{layout.home}: {reason}, so a collection could delete what another process needs",
            hint="end all other outlast processes that use this archive, on every machine, "
            "then run 'outlast gc --alone'",
        )


def undo(archive: Archive) -> Iterator[tuple[Discarded, bool]]:
    """Puts all of the trash back; yields each file, and whether its place was free."""
    with disk.reporting(archive.layout.trash), disk.locked(archive.layout.lock, exclusive=True):
        trash = Trash(archive.layout)
        for file in list(trash.files()):
            yield file, trash.restore(file)


class _Collection:
    """One collection, from what lies on the disk while the lock is held."""

    def __init__(
        self,
        archive: Archive,
        discard: Iterable[str],
        *,
        grace: float,
        dry_run: bool,
        alone: bool,
        only: Collection[str] | None = None,
    ) -> None:
        self._only = only
        self._archive = archive
        self._layout = archive.layout
        self._grace = grace if only is None else 0
        self._dry_run = dry_run
        self._alone = alone
        self.trash = Trash(archive.layout)
        self._take_stock()
        self._set_aside: dict[str, list[Path]] = {}
        for path in quarantined(self._layout):
            name = original_name(path)
            if name.endswith(CAPSULE_SUFFIX):
                self._set_aside.setdefault(name.removesuffix(CAPSULE_SUFFIX), []).append(path)
        self._doubled: dict[Digest, bool] = {}
        self._gone: set[str] = set()
        self._gone = self._discarded(tuple(discard))
        self._evidence = self._rescued()

    def _take_stock(self) -> None:
        self._plain = {blob.digest: blob.size for blob in self._archive.plain_blobs()}
        self._capsules = Forms(self._layout).capsules()  # their headers; no cache is asked
        self._here = {digest.hex for digest in (*self._plain, *self._capsules)}

    def _gather(self) -> Evidence:
        return gather(self._layout, self._here, self._gone)

    def _discarded(self, discard: Collection[str]) -> set[str]:
        if not discard:
            return set()
        known = {record.path for record in self._gather().unreadable}
        for name in (*self._here, *self._set_aside):
            known |= {record.path for record in self._headers(name)[1]}
        return {_match(name, known) for name in discard}

    def _rescued(self) -> Evidence:
        """The records, after blobs that they refer to, and the bases of these, were taken back out
        of the trash.
        """
        while True:
            evidence = self._gather()
            wanted = set(evidence.used)
            self._add_bases(wanted)
            lost = {name for name in wanted if name not in self._here}
            back = self.trash.rescue(lost) if lost and not self._dry_run else []
            for file in back:
                _log.warning("%s was in the trash, and is in use: it was put back", file.original)
            if not back:
                return evidence
            self._take_stock()  # a capsule that came back may have a base

    def run(
        self,
        kept: Callable[[BlobInfo], object],
        spared: Callable[[Spared], object],
        found: Callable[[int, int], object],
    ) -> Iterator[Garbage]:
        evidence = self._evidence
        # A finished blob may wait for its line in a draft, as its partial did before.
        keep = {
            *evidence.used,
            *evidence.awaited,
            *evidence.drafted,
            *leased(self._layout, alone=self._alone),
        }
        needed, sure = self._needed(keep, spared)
        for record in sorted(self._gone):
            path = self._layout.home / record
            if os.path.lexists(path):
                yield self._drop("record", record, path, path.lstat().st_size)
        unneeded = list(self._unneeded(needed))
        if unneeded:
            found(len(unneeded), sum(size for *_, size in unneeded))
        for what, digest, path, size in unneeded:
            yield self._drop(what, digest.hex, path, size)
        for name in sorted(sure - keep):
            if name in self._here:
                _log.debug("%s stays: a delta capsule depends on it", name)
                kept(BlobInfo(Digest(name), self._stored(name)))
        if not evidence.unreadable:  # a draft among them may wait for any of the downloads
            wanted = set(evidence.awaited - evidence.used)
            wanted |= {key + CAPSULE for key in wanted}
            yield from _partials(self._archive, wanted, self._only, dry_run=self._dry_run)
        if self._only is None:
            yield from self._leftovers(keep)

    def _leftovers(self, keep: set[str]) -> Iterator[Garbage]:
        for name, size in linkpartials.abandoned(self._layout, dry_run=self._dry_run):
            yield Garbage("partial", name, size)
        for name, size in copies.garbage(self._layout, keep, dry_run=self._dry_run):
            yield Garbage("copy", name, size)
        for name, size in self._archive.attestations.garbage(
            dry_run=self._dry_run, keeps=self._archive.keeps_evidence
        ):
            yield Garbage("attestation", name, size)

    def tidy_notes(self) -> None:
        """Deletes the sums, the parity and the damage of blobs that are gone."""
        layout = self._layout
        for path in disk.matching(layout.parity, "??", f"*{PARITY_SUFFIX}"):
            if not _payload_of(layout, path).exists():
                disk.remove(path)
                disk.remove_empty_parents(path, layout.parity)
        for path in disk.matching(layout.sums, "??", "*"):
            if Digest.is_valid(path.name) and not layout.blob(Digest(path.name)).exists():
                disk.remove(path)
                disk.remove_empty_parents(path, layout.sums)
        for name in filter(Digest.is_valid, disk.listed(layout.damage)):
            digest = Digest(name)
            if not (layout.blob(digest).exists() or layout.capsule(digest).exists()):
                disk.remove(layout.damage / name)

    def _unneeded(self, needed: Collection[str]) -> Iterator[tuple[str, Digest, Path, int]]:
        """Capsules come first, so that none is left whose base went before it."""
        for digest, form in self._capsules.items():
            path = self._layout.capsule(digest)
            if digest.hex in needed and not self._is_doubled(digest):
                continue
            if self._relative(path) not in self._gone and self._may_go(digest):
                size = form.stored_bytes if form is not None else path.stat().st_size
                yield "capsule", digest, path, size
        for digest, size in self._plain.items():
            if digest.hex not in needed and self._may_go(digest):
                yield "blob", digest, self._layout.blob(digest), size

    def _may_go(self, digest: Digest) -> bool:
        return self._only is None or digest.hex in self._only

    def _needed(
        self, keep: set[str], spared: Callable[[Spared], object]
    ) -> tuple[set[str], set[str]]:
        """All that stays; and of it, what stays because of records and headers that can be read."""
        records = list(self._evidence.unreadable)
        sure = set(keep)
        records += self._add_bases(sure)
        needed = set(sure)
        census = Census(self._layout, lambda: self._here, dry=self._dry_run)
        for record in records:  # it grows while it is gone through
            known = replace(record, names=record.names | self._indexed(record.path))
            names = census.protected(known)
            extra = {name for name in names - sure if name in self._here}
            size = sum(map(self._stored, extra))
            spared(Spared(record.path, record.reason, len(extra), size))
            before = set(needed)
            needed |= names
            records += self._add_bases(needed, names - before)
        census.tidy()
        return needed, sure

    def _add_bases(
        self, needed: set[str], begin: Collection[str] | None = None
    ) -> list[Unreadable]:
        """Adds all bases of the capsules of `needed`; returns the capsules among them whose
        header, and so whose bases, cannot be read.
        """
        todo = list(needed if begin is None else begin)
        lost = []
        while todo:
            bases, unreadable = self._headers(todo.pop())
            lost += unreadable
            todo += bases - needed
            needed |= bases
        return lost

    def _headers(self, name: str) -> tuple[set[str], list[Unreadable]]:
        """The bases of the capsule that holds a blob, or of those that held it before they were
        quarantined; and those whose header cannot be read.
        """
        if not Digest.is_valid(name):
            return set(), []
        digest = Digest(name)
        if digest in self._capsules:
            if self._is_doubled(digest):
                return set(), []
            found = [(self._layout.capsule(digest), self._capsules[digest])]
        elif digest in self._plain:
            return set(), []
        else:
            found = [(path, read_form(path, digest)) for path in self._set_aside.get(name, ())]
        bases: set[str] = set()
        lost = []
        for path, form in found:
            if form is not None:
                bases |= {base.sha256.hex for base in form.bases}
            elif (relative := self._relative(path)) not in self._gone:
                lost.append(Unreadable(relative, "the header of this capsule cannot be read"))
        return bases, lost

    def _is_doubled(self, digest: Digest) -> bool:
        """Whether the plain file makes the capsule superfluous: a crash came between two steps of a
        change of form, or the capsule is damaged; and the plain bytes are right.
        """
        form = self._capsules[digest]
        if digest not in self._plain or (form is not None and form.size != self._plain[digest]):
            return False
        if digest not in self._doubled:
            self._doubled[digest] = is_intact(self._layout.blob(digest), digest)
        return self._doubled[digest]

    def _indexed(self, path: str) -> set[str]:
        """What the index says that a manifest named: one reason more to keep that."""
        name = original_name(Path(path)).removesuffix(".json")
        if not Digest.is_valid(name):
            return set()
        try:
            found = self._archive.index.blobs_of([Digest(name)])
        except OutlastError:
            return set()
        return {digest.hex for blobs in found.values() for digest in blobs}

    def _stored(self, name: str) -> int:
        digest = Digest(name)
        form = self._capsules.get(digest)
        return self._plain.get(digest, form.stored_bytes if form is not None else 0)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._layout.home).as_posix()

    def _drop(self, what: str, name: str, path: Path, size: int) -> Garbage:
        waits = self._grace > 0
        with disk.reporting(path):
            if not self._dry_run:
                if waits:
                    self.trash.put(path)
                else:
                    disk.remove(path)
        return Garbage(what, name, size, waits)


def is_intact(path: Path, digest: Digest) -> bool:
    """Whether the bytes of the file `path` have this sha256; reads all of them. False where the
    disk fails to. Raises :class:`ExhaustedError`.
    """
    hasher = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while data := file.read(READ):
                hasher.update(data)
    except OSError as error:
        if is_exhausted(error):
            raise disk.storage_error(error, path) from error
        return False
    return hasher.hexdigest() == digest.hex


def _match(name: str, known: Collection[str]) -> str:
    """The record that a person names by its path or the last part of it."""
    if name in known:
        return name
    found = [path for path in known if path.rpartition("/")[2] == name]
    if len(found) == 1:
        return found[0]
    raise NotFoundError(
        f"{name!r} is not a record that cannot be read",
        hint="'outlast gc --dry-run' lists those that keep blobs from going",
    )


def _payload_of(layout: Layout, parity: Path) -> Path:
    """The file of which a file of parity is, by its name."""
    name = parity.name.removesuffix(PARITY_SUFFIX)
    folder = layout.capsules if name.endswith(CAPSULE_SUFFIX) else layout.blobs
    return folder / parity.parent.name / name


def _partials(
    archive: Archive, wanted: set[str], only: Collection[str] | None, *, dry_run: bool
) -> Iterator[Garbage]:
    """Downloads that no draft waits for any more, of all or `only` of these keys. One in progress
    is locked and stays.
    """
    stems = {p.stem for p in archive.layout.partial.iterdir() if p.suffix in {".data", ".have"}}
    if only is not None:
        stems &= {*only, *(key + CAPSULE for key in only)}
    for stem in sorted(stems - wanted):
        path = archive.layout.partial / f"{stem}.data"
        size = _drop_partial(path, archive.layout.lock, dry_run=dry_run)
        if size is not None:
            yield Garbage("partial", stem, size)


def _drop_partial(path: Path, lock: Path, *, dry_run: bool) -> int | None:
    """Deletes a download that is not in progress; its size, or None where it is. The lock is held
    until both files are gone, so that no process begins with half of them.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # its process died between the rename and the journal's removal
        if not dry_run:
            disk.remove(path.with_suffix(".have"))
        return 0
    try:
        if not locks.try_lock(fd, lock):
            return None
        size = os.fstat(fd).st_blocks * 512
        if not dry_run:
            disk.remove(path.with_suffix(".have"))
            disk.remove(path)
        return size
    finally:
        os.close(fd)
