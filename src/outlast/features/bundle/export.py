"""Export: models from an archive to a bundle on one or several media."""

import contextlib
import datetime as dt
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from outlast.codec.bundle.contents import BundleContents
from outlast.codec.bundle.documents import (
    BUNDLE_FILE,
    MAX_BUNDLE_FILE,
    BundleFile,
    Outer,
    PartSum,
)
from outlast.codec.bundle.geometry import SUM_BYTES, BlockPlace
from outlast.codec.bundle.part import BlockSums, PartHeader
from outlast.codec.bundle.stream import BundleBlocks
from outlast.codec.erasure import TOGETHER, Encoder
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, DiskFullError, OutlastError, StorageError, UsageError
from outlast.core.events import Note, Planned, Progress
from outlast.core.sizes import human_size
from outlast.core.threads import one_ahead
from outlast.features.bundle.archive_stream import DamagedPayloadError, Piece
from outlast.features.bundle.bag import BagNote, write_bag
from outlast.features.bundle.buffers import Buffers, Lent
from outlast.features.bundle.ordered import InOrder
from outlast.features.bundle.outgoing import Outgoing, PlainOutgoing, SealedOutgoing
from outlast.features.bundle.part_file import UNFINISHED, PartFile, WrittenPart
from outlast.features.bundle.payload_check import PayloadChecks
from outlast.features.bundle.planning import ExportPlan
from outlast.features.bundle.review.companions import companions, script
from outlast.features.bundle.sealing import begun, forget
from outlast.features.bundle.tuning import TUNING, Tuning
from outlast.sources.bundle.media import BAG_PAYLOAD, PartFiles, head_of, read_small
from outlast.store import disk
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)

NextMedium: TypeAlias = Callable[[int, int], Path]
"""Asks for medium number n (from 1) of so many; where it is."""


@dataclass(frozen=True, slots=True)
class ExportedBundle:
    """The result of an export: `kept` of its `parts` were there already; `media` were used.
    `outer`: what the bundle says to everybody, whose sha256 is its id.
    """

    contents: BundleContents
    outer: Outer
    parts: int
    kept: int
    media: int
    written_bytes: int


def media_of(plan: ExportPlan, capacity: int | None, tuning: Tuning = TUNING) -> list[range]:
    """Which parts go on which medium of `capacity` bytes (None: all on one). Raises
    :class:`UsageError` where one part does not fit.
    """
    cut = plan.cut
    if capacity is None:
        return [range(cut.parts)]
    beside = 3 * len(plan.outer.encoded) + sum(map(len, plan.records)) + tuning.medium_reserve
    per_medium = (capacity - beside) // cut.part_size(0)
    if per_medium < 1:
        raise UsageError(
            f"a medium of {human_size(capacity)} has no room for a part of "
            f"{human_size(cut.part_size(0))}, and {human_size(beside)} beside it",
            hint="give a smaller --part-size, or larger media",
        )
    return [
        range(first, min(first + per_medium, cut.parts))
        for first in range(0, cut.parts, per_medium)
    ]


def export_bundle(
    archive: Archive,
    plan: ExportPlan,
    places: Sequence[Path],
    next_medium: NextMedium,
    *,
    media: Sequence[range],
    bagit: bool = False,
    control: Control,
    now: dt.datetime,
) -> ExportedBundle:
    """Writes the bundle. `places`: the folders that are there now, in which an earlier run may have
    left something. Parts that it finished are read again, and kept if all of their blocks are
    right; those on a medium that is not there are not written again. `bagit`: each medium becomes a
    bag, the bundle below its `data/`. The parity of an encrypted bundle is computed from its parts,
    which no second reading of the archive gives: all media must be there then.

    Raises :class:`CorruptError` where a blob of the archive is damaged: the parts that have some of
    it are removed; :class:`DiskFullError` before the first byte on a medium without the room.
    """
    below = BAG_PAYLOAD if bagit else ""
    if plan.seal is not None:
        _require_all(plan, places, media)
        plan = begun(archive, plan, [place / below for place in places])
    pages = _pages(archive, plan)
    cut = plan.cut
    job = _Export(archive, plan, control, now.isoformat(timespec="seconds"))
    control.emit(Planned("export", f"{len(plan.revisions)} revisions", cut.parts, _work(plan)))
    with contextlib.closing(job):
        for place in places:
            job.take_up(place / below)
        for number, parts in enumerate(media, 1):
            if job.are_elsewhere(parts, [place / below for place in places]):
                control.emit(Note(f"medium {number} was finished by an earlier run"))
                continue
            folder = next_medium(number, len(media))
            job.write_medium(Medium(folder / below, parts, pages))
            if bagit:
                note = BagNote(plan.outer.id, number, len(media), now.date())
                write_bag(folder, note, job.sums_of(parts))
    if plan.seal is not None:
        forget(archive, plan.seal)
    return ExportedBundle(plan.contents, plan.outer, cut.parts, job.kept, len(media), job.written)


def _pages(archive: Archive, plan: ExportPlan) -> dict[str, bytes]:
    """The files that are for people, and for hosts without outlast, by path. Beside an encrypted
    bundle lies none that says what is in it.
    """
    if plan.seal is not None:
        return script()
    records = zip(plan.contents.records, plan.records, strict=True)
    return {record.path: data for record, data in records} | companions(archive, plan)


def _work(plan: ExportPlan) -> int:
    """Bytes that progress is counted in: those of all blocks."""
    cut = plan.cut
    return sum(map(cut.rows_of, range(cut.parts))) * cut.layout.block


def _require_all(plan: ExportPlan, places: Sequence[Path], media: Sequence[range]) -> None:
    if plan.cut.layout.parity and len(places) < len(media):
        raise UsageError(
            f"the parity of an encrypted bundle needs all its {len(media)} media at once",
            hint="give --to once for each medium, or --parity 0",
        )


@dataclass(frozen=True, slots=True)
class Medium:
    """A folder, the parts that go there, and the small files beside them, by path."""

    folder: Path
    parts: range
    pages: Mapping[str, bytes]

    def write(self, path: str, data: bytes) -> None:
        """A small file; one that is the same already stays."""
        final = self.folder / path
        with disk.reporting(final):
            if read_small(final, len(data)) == data:
                return
            temp = final.with_name(final.name + UNFINISHED)
            disk.make_dir(final.parent)
            disk.remove(temp)
            disk.write_temp(temp, data, 0o644)
            disk.publish(temp, final)


class _Export:
    """One export. Blocks go by in the order of the stream, from the archive or from parts that are
    kept, and so does every payload through its check.
    """

    def __init__(self, archive: Archive, plan: ExportPlan, control: Control, made: str) -> None:
        self._plan = plan
        self._cut = plan.cut
        self._control = control
        self._made = made
        make = PlainOutgoing if plan.seal is None else SealedOutgoing
        self._out: Outgoing = make(archive, plan)
        self._checks = PayloadChecks(archive, plan.contents, plan.records)
        self._checking = InOrder[tuple[BlockPlace, Lent]](
            self._check, "payloads", after=lambda job: job[1].done()
        )
        self._buffers = Buffers(plan.cut.layout.block, TUNING.under_way)
        self._parts: dict[int, PartSum] = {}
        self._sums: dict[int, bytearray] = {}
        """By part, those of its blocks that went by: what is read again must be the same."""
        self._folders: dict[int, Path] = {}
        """Where the parts of this run lie."""
        self._closing = contextlib.ExitStack()
        self.kept = 0
        self.written = 0

    def close(self) -> None:
        self._checking.abandon()
        self._closing.close()
        self._checks.close()
        self._out.close()

    def _check(self, job: tuple[BlockPlace, Lent]) -> None:
        place, block = job
        plain = self._out.plain(place, block.data)
        if plain is not None:
            self._checks.update(*plain)

    # Media

    def take_up(self, folder: Path) -> None:
        """Learns what an earlier run of this export noted in a folder. Raises
        :class:`StorageError` where another bundle is there.
        """
        data = read_small(folder / BUNDLE_FILE, MAX_BUNDLE_FILE)
        if data is None:
            return
        try:
            found = BundleFile.from_bytes(data)
        except OutlastError as error:
            _log.info("%s is written anew: %s", folder / BUNDLE_FILE, error)
            return
        if found.contents.id != self._out.outer.id:
            raise StorageError(
                f"{folder} has another bundle, {found.contents.id.short}…",
                hint="name an empty folder, or delete that bundle first; one that is encrypted is "
                "gone on with until it is complete",
            )
        self._made = found.made
        for part in found.parts:
            self._parts.setdefault(part.number, part)

    def are_elsewhere(self, parts: range, places: Sequence[Path]) -> bool:
        """Whether all of these parts were finished, and are on none of these places."""
        names = [self._cut.name(part) for part in parts]
        is_here = any((place / name).exists() for place in places for name in names)
        return not is_here and all(part in self._parts for part in parts)

    def write_medium(self, medium: Medium) -> None:
        self.take_up(medium.folder)
        self._require_room(medium)
        for path, data in medium.pages.items():
            medium.write(path, data)
        medium.write(BUNDLE_FILE, self._document())
        try:
            for part in medium.parts:
                if not self._cut.is_parity(part):
                    self._data_part(medium.folder, part)
            self._checking.settle()
            self._parity_parts(medium)
        except DamagedPayloadError as error:
            self._drop(error.piece, medium)
            name = self._plan.paths.get(error.piece.payload.blob, "") if error.piece.payload else ""
            raise CorruptError(f"{name}: {error}" if name else str(error)) from None
        medium.write(BUNDLE_FILE, self._document())

    def sums_of(self, parts: range) -> dict[str, Digest]:
        """The sha256 of parts that were written or compared, by their paths."""
        return {self._cut.name(part): self._parts[part].sha256 for part in parts}

    def _document(self) -> bytes:
        sums = tuple(self._parts[part] for part in sorted(self._parts))
        return BundleFile(self._out.outer, self._made, sums).to_bytes()

    def _require_room(self, medium: Medium) -> None:
        with disk.reporting(medium.folder):
            medium.folder.mkdir(parents=True, exist_ok=True)
            free = disk.free_bytes(medium.folder)
            names = {part: medium.folder / self._cut.name(part) for part in medium.parts}
            absent = [part for part, path in names.items() if not path.exists()]
        needed = sum(map(self._cut.part_size, absent)) + 2 * len(self._document())
        needed += sum(map(len, medium.pages.values()))
        if needed > free:
            raise DiskFullError(
                f"{medium.folder} needs {human_size(needed)} more; {human_size(free)} are free",
                hint="free space there, or spread the bundle over media with --media SIZE",
            )

    def _drop(self, piece: Piece, medium: Medium) -> None:
        """Removes the parts that have bytes of a damaged payload."""
        first, last = self._out.part_of(piece.start), self._out.part_of(piece.end - 1)
        for part in range(first, last + 1):
            self._parts.pop(part, None)
            if part in self._folders:
                disk.remove(self._folders[part] / self._cut.name(part))
        medium.write(BUNDLE_FILE, self._document())

    def _head(self, part: int) -> PartHeader:
        return replace(head_of(self._out.outer), part=part)

    # Data

    def _data_part(self, folder: Path, part: int) -> None:
        written = WrittenPart(folder, self._head(part))
        blocks = written.blocks() if self._out.repeatable else self._whole(written)
        for row, (block, found) in enumerate(blocks):
            self._go_by(BlockPlace(part, row), block, found)
        self._folders[part] = folder
        if written.sum is not None:
            self.kept += 1
            self._parts[part] = written.sum
            return
        written.remove()
        with PartFile(folder, self._head(part)) as file:
            for row in range(self._cut.rows_of(part)):
                place = BlockPlace(part, row)
                block = self._buffers.take(self._cut.layout.block)
                self._read_into(place, block.data)
                self._go_by(place, block, file.add(block))
            self._parts[part] = file.finish()
        self.written += self._parts[part].size

    def _whole(self, written: WrittenPart) -> Iterator[tuple[Lent, bytes]]:
        """The blocks of a part that is right to its end; no others: what is written anew will not
        be the same.
        """
        for _ in written.blocks():
            self._control.cancel.check()
        return iter(()) if written.sum is None else written.blocks()

    def _read_into(self, place: BlockPlace, block: memoryview) -> None:
        """Fills `block` with that of the archive's stream."""
        if place.row < self._cut.rows_of(place.part):
            self._out.fill(place, block)
        else:  # a short last part has zeros there
            block[:] = bytes(len(block))

    def _go_by(self, place: BlockPlace, block: Lent, found: bytes) -> None:
        """A block is on the medium, and used no more but for this: its payloads are checked, unless
        they were: then it must be the same block.
        """
        self._control.cancel.check()
        known = self._sums.setdefault(place.part, bytearray())
        if len(known) > place.row * SUM_BYTES:
            self._compare(place, found)
            block.done()
            return
        known += found
        self._checking.put((place, block))
        self._control.emit(Progress(self._cut.name(place.part), len(block.data)))

    def _compare(self, place: BlockPlace, found: bytes) -> None:
        at = place.row * SUM_BYTES
        known = self._sums.get(place.part, b"")[at : at + SUM_BYTES]
        if known and known != found:
            raise CorruptError(
                f"the archive gave other bytes than before for {self._cut.name(place.part)}",
                hint="'outlast verify' lists the damage; then delete that part, and export again",
            )

    # Parity

    def _parity_parts(self, medium: Medium) -> None:
        """The parity parts of this medium, from the archive's bytes: the data may be on others. Of
        an encrypted bundle, from the parts.
        """
        cut = self._cut
        wanted: dict[int, list[int]] = {}
        for part in filter(cut.is_parity, medium.parts):
            written = WrittenPart(medium.folder, self._head(part))
            for _ in written.blocks():
                self._control.cancel.check()
            if written.sum is None:
                written.remove()
                wanted.setdefault(cut.group_of(part), []).append(part)
            else:
                self.kept += 1
                self._parts[part] = written.sum
        for group, parts in wanted.items():
            with contextlib.ExitStack() as stack:
                files = {
                    part: stack.enter_context(PartFile(medium.folder, self._head(part)))
                    for part in parts
                }
                self._parity_of(group, files)
                for part, file in files.items():
                    self._parts[part] = file.finish()
                    self.written += self._parts[part].size

    def _parity_of(self, group: int, files: Mapping[int, PartFile]) -> None:
        cut = self._cut
        data, parity = cut.data_of(group), cut.parity_of(group)
        encoder = Encoder(len(parity), cut.layout.block)
        # The same memory for all rows: fresh pages cost more than the parity.
        memory = [
            [memoryview(bytearray(cut.layout.block)) for _ in range(TOGETHER)] for _ in range(2)
        ]

        def read(job: tuple[int, int], turn: int) -> tuple[int, list[memoryview]]:
            row, first = job
            blocks = memory[turn][: len(data) - first]
            for part, block in zip(data[first:], blocks, strict=False):
                self._read_again(BlockPlace(part, row), block)
            return first, blocks

        firsts = range(0, len(data), TOGETHER)
        jobs = itertools.product(range(cut.rows_of(parity.start)), firsts)
        with (
            ThreadPoolExecutor(1, "reread") as executor,
            contextlib.closing(one_ahead(read, jobs, executor)) as found,
        ):
            for first, blocks in found:
                self._control.cancel.check()
                encoder.add(first, blocks)
                if first == firsts[-1]:
                    self._end_row(encoder, parity, files)

    def _end_row(self, encoder: Encoder, parity: range, files: Mapping[int, PartFile]) -> None:
        """Writes a row of parity, and begins the next."""
        for part, file in files.items():
            with self._buffers.take(self._cut.layout.block) as block:
                block.data[:] = encoder.blocks[part - parity.start]
                file.add(block)
            self._control.emit(Progress(self._cut.name(part), self._cut.layout.block))
        encoder.clear()

    def _read_again(self, place: BlockPlace, block: memoryview) -> None:
        if not self._out.repeatable:
            self._read_written(place, block)
            return
        self._read_into(place, block)
        if place.part in self._sums and place.row < self._cut.rows_of(place.part):
            self._compare(place, BlockSums(self._out.outer.id, place.part).of(place.row, block))

    def _read_written(self, place: BlockPlace, block: memoryview) -> None:
        """A block of a part that lies on one of the media."""
        if place.row >= self._cut.rows_of(place.part):
            block[:] = bytes(len(block))
        elif not self._written.intact(place, block):
            raise CorruptError(
                f"{self._cut.name(place.part)} on its medium is not what was written, or gone",
                hint="run the same command again; if it goes on like that, use another medium",
            )

    @cached_property
    def _written(self) -> BundleBlocks:
        """The data parts on the media that are there; all of them are finished."""
        paths = {part: folder / self._cut.name(part) for part, folder in self._folders.items()}
        return BundleBlocks(self._closing.enter_context(PartFiles(self._cut, paths)), self._head(0))
