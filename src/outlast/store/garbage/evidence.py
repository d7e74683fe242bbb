"""What the records of an archive say is in use, and which of them cannot be read.

A manifest proves itself by its name. A draft has a check for each line, but one of an older version
has none, so each word in a draft that looks like a sha256 counts as a name; and a draft with a line
that cannot be read, or that claims to have a blob which is not here, is no longer believed to name
everything. The index is never asked.
"""

import errno
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, OutlastError
from outlast.core.manifest import MAX_MANIFEST_BYTES, FileEntry, Revision
from outlast.store import disk
from outlast.store.layout import CAPSULE_SUFFIX, Layout
from outlast.store.records.drafts import Drafts
from outlast.store.records.records import Records
from outlast.store.records.set_aside import SET_ASIDE, name_aside

_NAME: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_COPY: Final = re.compile(r"\.[0-9]{1,6}\Z")
_MANIFEST: Final = ".json"
_DRAFT: Final = ".jsonl"
_NO_READ: Final = "the disk cannot read it, or it is a folder"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be read, or not as a whole, or that was quarantined. `path` is relative
    to the archive's folder; `names` are the sha256 in hex that still occur in it.
    """

    path: str
    reason: str
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the records say. `used` and `awaited` are the keys of the files that are here and of
    those that drafts wait for; `drafted` are all names that occur in drafts.
    """

    used: frozenset[str]
    awaited: frozenset[str]
    drafted: frozenset[str]
    unreadable: tuple[Unreadable, ...]


@dataclass(slots=True)
class _Reading:
    used: set[str] = field(default_factory=set)
    awaited: set[str] = field(default_factory=set)
    drafted: set[str] = field(default_factory=set)
    unreadable: list[Unreadable] = field(default_factory=list)


def gather(layout: Layout, here: Collection[str], gone: Collection[str] = ()) -> Evidence:
    """Reads all records but those that are given up: `gone` are paths relative to the archive's
    folder. `here` are the sha256 in hex of the blobs that are in the archive. Raises
    :class:`StorageError` where a folder cannot be listed, or a record may not be opened.
    """
    found = _Reading()
    readable: set[str] = set()
    complete: set[str] = set()
    for name in disk.listed(layout.manifests):
        path = layout.manifests / name
        if name.endswith(_MANIFEST) and _relative(layout, path) not in gone:
            revision = _manifest(layout, path, name, found)
            if revision is not None:
                readable.add(name)
                found.used |= _keys(revision.files)
                if not revision.partial:
                    draft = layout.draft(revision.repo, revision.id)
                    complete.add(name_aside(layout, draft))
    drafts = Drafts(Records(layout))
    for path in drafts.paths():
        if _relative(layout, path) not in gone:
            _draft(layout, drafts, path, here, found)
    for path in quarantined(layout):
        original = original_name(path)
        if _relative(layout, path) in gone or original in readable or _is_bytes(original):
            continue
        # A commit has one list of files: that of a complete manifest is all that a draft can name.
        if path.parent.name == SET_ASIDE and path.name.partition("-")[2] in complete:
            continue
        _quarantined(layout, path, found)
    return Evidence(
        frozenset(found.used),
        frozenset(found.awaited),
        frozenset(found.drafted),
        tuple(found.unreadable),
    )


def quarantined(layout: Layout) -> Iterator[Path]:
    """What is in quarantine, but for small files that name no blob."""
    for name in disk.listed(layout.quarantine):
        if name != SET_ASIDE:
            yield layout.quarantine / name
    for name in disk.listed(layout.quarantine / SET_ASIDE):
        if name.endswith(_DRAFT):
            yield layout.quarantine / SET_ASIDE / name


def original_name(path: Path) -> str:
    """The name that a file in quarantine had, without the number that keeps copies apart."""
    return _COPY.sub("", path.name)


def _is_bytes(name: str) -> bool:
    """Whether that is the name of a blob or a capsule."""
    return Digest.is_valid(name.removesuffix(CAPSULE_SUFFIX))


def _manifest(layout: Layout, path: Path, name: str, found: _Reading) -> Revision | None:
    try:
        data = _read(path)
    except FileNotFoundError:  # its folder was read before another process replaced it
        return None
    except _UnreadError:
        found.unreadable.append(Unreadable(_relative(layout, path), _NO_READ))
        return None
    try:
        return _checked(data, name)
    except OutlastError as error:
        found.unreadable.append(_unreadable(layout, path, data, str(error)))
        return None


def _checked(data: bytes, name: str) -> Revision:
    digest = Digest(name.removesuffix(_MANIFEST))
    if Digest.of(data) != digest:
        raise IntegrityError("its sha256 is not its name")
    return Revision.from_bytes(data)


def _draft(
    layout: Layout, drafts: Drafts, path: Path, here: Collection[str], found: _Reading
) -> None:
    try:
        data = _read(path)
    except FileNotFoundError:
        return
    except _UnreadError:
        found.unreadable.append(Unreadable(_relative(layout, path), _NO_READ))
        return
    found.drafted |= _names_in(data)
    try:
        revision, bad = drafts.parse(path, data)
    except OutlastError:
        found.unreadable.append(_unreadable(layout, path, data, "it is damaged"))
        return
    found.used |= _keys(revision.files)
    found.awaited |= _keys(revision.missing)
    absent = sum(1 for entry in revision.files if entry.key not in here)
    reason = f"{absent} files that it lists as here are not" if absent else ""
    if bad:
        reason = f"{bad} of its lines cannot be read"
    if reason:
        found.unreadable.append(_unreadable(layout, path, data, reason))


def _quarantined(layout: Layout, path: Path, found: _Reading) -> None:
    try:
        data = _read(path)
    except FileNotFoundError:
        return
    except _UnreadError:
        found.unreadable.append(Unreadable(_relative(layout, path), _NO_READ))
        return
    found.unreadable.append(_unreadable(layout, path, data, "it is in quarantine"))


def _keys(entries: Collection[FileEntry]) -> set[str]:
    return {entry.key for entry in entries}


def _unreadable(layout: Layout, path: Path, data: bytes, reason: str) -> Unreadable:
    return Unreadable(_relative(layout, path), reason, frozenset(_names_in(data)))


def _names_in(data: bytes) -> set[str]:
    return {match.decode() for match in _NAME.findall(data)}


def _relative(layout: Layout, path: Path) -> str:
    return path.relative_to(layout.home).as_posix()


class _UnreadError(Exception):
    """The disk failed to read a record."""


def _read(path: Path) -> bytes:
    """At most as many bytes as a record may have, and one more. Raises :class:`FileNotFoundError`,
    :class:`_UnreadError` where the disk fails, :class:`StorageError` or :class:`ExhaustedError` for
    other reasons: those say nothing about the record.
    """
    try:
        with open(path, "rb") as file:
            return file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.EIO, errno.EISDIR):
            raise _UnreadError from error
        raise disk.storage_error(error, path) from error
