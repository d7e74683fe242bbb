"""The media of a bundle: folders, looked through for parts. Nothing in them is believed, and no
link is followed.
"""

import contextlib
import errno
import os
import stat
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from outlast.codec.bundle.documents import BUNDLE_FILE, MAX_BUNDLE_FILE, BundleFile, Outer
from outlast.codec.bundle.geometry import HEADER_BYTES, MAX_PARTS, BlockPlace, Geometry
from outlast.codec.bundle.part import PartHeader, Sums
from outlast.core.closing import Closing
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, NotFoundError, OutlastError, StorageError

BAG_PAYLOAD: Final = "data"
"""The folder of a BagIt bag that has what is in it (RFC 8493)."""
PART_FOLDERS: Final = ("parts", "parity")
_SUFFIX: Final = ".olb"
_MOST_OPEN: Final = 300
"""Files that are open at once: a group has up to 255 parts."""
_MOST_FILES: Final = 2 * MAX_PARTS
"""Files that are looked at in one folder."""


@dataclass(frozen=True, slots=True)
class FoundMedia:
    """What lies on the media. `files`: by bundle, its headers and where the parts are; `left_out`:
    what is no part of any, in words.
    """

    parts: Mapping[Digest, Mapping[int, Path]]
    heads: Mapping[Digest, PartHeader]
    documents: Mapping[Digest, BundleFile]
    left_out: Sequence[str]


class PartFiles(Closing):
    """The parts of one bundle in files: the :class:`~outlast.codec.bundle.stream.Frames` of it."""

    def __init__(self, geometry: Geometry, paths: Mapping[int, Path]) -> None:
        self._cut = geometry
        self._paths = dict(paths)
        self._lock = threading.Lock()
        self._open: OrderedDict[int, int] = OrderedDict()

    def read(self, place: BlockPlace, block: memoryview, check: memoryview) -> bool:
        at = self._cut.frame_at(place.row)
        try:
            with self._lock:  # so that no other thread closes the file meanwhile
                fd = self._file(place.part)
                return fd is not None and os.preadv(fd, [block, check], at) == len(block) + len(
                    check
                )
        except OSError as error:
            if error.errno == errno.EIO:  # a bad sector: parity may have it
                return False
            raise StorageError(f"{self._paths[place.part]}: {error.strerror}") from error

    def _file(self, part: int) -> int | None:
        if part in self._open:
            self._open.move_to_end(part)
            return self._open[part]
        path = self._paths.get(part)
        fd = None if path is None else open_regular(path)
        if fd is None:
            self._paths.pop(part, None)
            return None
        while len(self._open) >= _MOST_OPEN:
            os.close(self._open.popitem(last=False)[1])
        self._open[part] = fd
        return fd

    def close(self) -> None:
        with self._lock:
            for fd in self._open.values():
                os.close(fd)
            self._open.clear()


def open_regular(path: Path) -> int | None:
    """A file that is no link, device or pipe, open for reading; None where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EACCES}:
            return None
        raise StorageError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return fd


def read_small(path: Path, limit: int) -> bytes | None:
    """A regular file of at most `limit` bytes; None where there is none, or a larger one."""
    fd = open_regular(path)
    if fd is None:
        return None
    with os.fdopen(fd, "rb") as file:
        data = file.read(limit + 1)
    return data if len(data) <= limit else None


def look(folders: Sequence[Path]) -> FoundMedia:
    """Looks through the folders of bundles: each is one medium, or a copy of several. Raises
    :class:`NotFoundError` where one is no folder.
    """
    documents: dict[Digest, BundleFile] = {}
    left_out: list[str] = []
    headed: list[tuple[Path, PartHeader]] = []
    nameless: list[Path] = []
    for medium in folders:
        if not medium.is_dir():
            raise NotFoundError(f"no folder at {medium}", hint="is the medium mounted there?")
        folder = _inside_bag(medium)
        _note_document(folder, documents, left_out)
        for path in _part_files(folder):
            try:
                head = _header(path)
            except MalformedError as error:
                left_out.append(f"{path}: {error}")
                continue
            if head is None:
                nameless.append(path)
            else:
                headed.append((path, head))
    heads = _heads(documents, [head for _, head in headed])
    parts: dict[Digest, dict[int, Path]] = {identity: {} for identity in heads}
    for path, head in headed:
        if heads[head.bundle].is_of(head):
            _add_part(parts[head.bundle], head, path, left_out)
        else:
            left_out.append(f"{path}: it is cut in another way than the other parts")
    left_out += [
        f"{path}: it is no part of a bundle, or its headers are damaged"
        for path in nameless
        if not _add_nameless(path, heads, parts)
    ]
    return FoundMedia(parts, heads, documents, left_out)


def _inside_bag(folder: Path) -> Path:
    """Where the bundle is in a folder: below `data/` where that is a bag, and no link."""
    inside = folder / BAG_PAYLOAD
    in_bag = not (folder / BUNDLE_FILE).exists() and inside.is_dir() and not inside.is_symlink()
    return inside if in_bag else folder


def _heads(
    documents: Mapping[Digest, BundleFile], found: Sequence[PartHeader]
) -> dict[Digest, PartHeader]:
    """How each bundle is cut: as its contents say, whose sha256 is its id; without them, as most of
    its parts say.
    """
    heads = {identity: head_of(document.contents) for identity, document in documents.items()}
    said = Counter(replace(head, part=0) for head in found)
    for head, _ in said.most_common():
        heads.setdefault(head.bundle, head)
    return heads


def head_of(contents: Outer) -> PartHeader:
    """The header of the first part of a bundle with these contents."""
    return PartHeader(contents.id, 0, contents.geometry, len(contents.encoded))


def _note_document(folder: Path, documents: dict[Digest, BundleFile], left_out: list[str]) -> None:
    path = folder / BUNDLE_FILE
    data = read_small(path, MAX_BUNDLE_FILE)
    if data is None:
        return
    try:
        document = BundleFile.from_bytes(data)
    except OutlastError as error:
        left_out.append(f"{path}: {error}")
        return
    known = documents.get(document.contents.id)
    if known is None or len(known.parts) < len(document.parts):
        documents[document.contents.id] = document


def _part_files(folder: Path) -> Iterator[Path]:
    """The files that may be parts: in the folder itself too, if the parts were copied there."""
    count = 0
    for place in (folder, *(folder / name for name in PART_FOLDERS)):
        if place.is_symlink() and place != folder:
            continue
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as found:
            for entry in sorted(found, key=lambda entry: entry.name):
                if place == folder and not entry.name.endswith(_SUFFIX):
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue
                count += 1
                if count > _MOST_FILES:
                    raise MalformedError(f"{folder} has more files than a bundle can have parts")
                yield Path(entry.path)


def _header(path: Path) -> PartHeader | None:
    """What a file says of itself, at its start or else at its end."""
    fd = open_regular(path)
    if fd is None:
        return None
    try:
        size = os.fstat(fd).st_size
        for at in (0, size - HEADER_BYTES):
            if at < 0:
                continue
            with contextlib.suppress(OSError):  # a bad sector
                head = PartHeader.unpack(os.pread(fd, HEADER_BYTES, at))
                if head is not None:
                    return head
        return None
    finally:
        os.close(fd)


def _add_part(parts: dict[int, Path], head: PartHeader, path: Path, left_out: list[str]) -> None:
    """Of several copies of a part, the one of the right size counts, and the first of those."""
    known = parts.get(head.part)
    size = head.geometry.part_size(head.part)
    if known is not None and (_size(known) == size or _size(path) != size):
        left_out.append(f"{path}: another copy of part {head.part} is read")
        return
    parts[head.part] = path


def _size(path: Path) -> int:
    return os.stat(path, follow_symlinks=False).st_size


def _add_nameless(
    path: Path, heads: Mapping[Digest, PartHeader], parts: dict[Digest, dict[int, Path]]
) -> bool:
    """Takes a part whose headers are damaged by the number in its name, if its blocks prove it."""
    number = path.name.removesuffix(_SUFFIX)
    if not (number.isascii() and number.isdecimal() and len(number) <= len(str(MAX_PARTS))):
        return False
    part = int(number)
    for identity, head in heads.items():
        known = parts.setdefault(identity, {})
        if part < head.geometry.parts and part not in known and _proves(path, head, part):
            known[part] = path
            return True
    return False


def _proves(path: Path, head: PartHeader, part: int) -> bool:
    """Whether any of a file's first blocks is one of that part."""
    cut = head.geometry
    sums = Sums(head.bundle, part)
    frame = memoryview(bytearray(cut.frame_at(1) - cut.frame_at(0)))
    fd = open_regular(path)
    if fd is None:
        return False
    try:
        for row in range(min(cut.rows_of(part), 16)):
            if os.preadv(fd, [frame], cut.frame_at(row)) == len(frame) and sums.holds(row, frame):
                return True
    finally:
        os.close(fd)
    return False
