"""The layout of archivists around a bundle: BagIt 1.0 (RFC 8493). The bundle lies in `data/`; tag
files beside it list the sha256 of every file there.
"""

import datetime as dt
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.digest import Digest
from outlast.core.sizes import human_size
from outlast.features.bundle.part_file import UNFINISHED
from outlast.sources.bundle.media import BAG_PAYLOAD, open_regular
from outlast.store import disk

_DECLARATION: Final = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


@dataclass(frozen=True, slots=True)
class BagNote:
    """What `bag-info.txt` says: the bundle, and which of how many media the bag is."""

    bundle: Digest
    medium: int
    media: int
    date: dt.date


def write_bag(folder: Path, note: BagNote, sums: Mapping[str, Digest]) -> None:
    """Writes the tag files of the bag `folder`. `sums` are the digests of files below `data/` that
    are known; all others are read. Each tag file is replaced as a whole.
    """
    lines, size = [], 0
    for path in _files(folder / BAG_PAYLOAD):
        name = path.relative_to(folder / BAG_PAYLOAD).as_posix()
        digest = sums.get(name) or _digest(path)
        size += os.stat(path).st_size
        lines.append(f"{digest.hex}  {BAG_PAYLOAD}/{_escaped(name)}\n")
    tags = {
        "bagit.txt": _DECLARATION,
        "bag-info.txt": _info(note, size, len(lines)),
        "manifest-sha256.txt": "".join(lines).encode(),
    }
    listed = [f"{Digest.of(data).hex}  {name}\n" for name, data in sorted(tags.items())]
    for name, data in {**tags, "tagmanifest-sha256.txt": "".join(listed).encode()}.items():
        _replace(folder / name, data)


def _files(folder: Path) -> Iterator[Path]:
    """All regular files, by name. What an interrupted write left is none of the bag's."""
    with disk.reporting(folder):
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            if path.name.endswith(UNFINISHED):
                disk.remove(path)
            else:
                yield path


def _digest(path: Path) -> Digest:
    hasher = hashlib.sha256()
    with disk.reporting(path):
        fd = open_regular(path)
        if fd is None:
            raise FileNotFoundError(path)
        with os.fdopen(fd, "rb") as file:
            while chunk := file.read(1 << 20):
                hasher.update(chunk)
    return Digest(hasher.hexdigest())


def _escaped(name: str) -> str:
    """A path as a manifest has it: on one line."""
    return name.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _info(note: BagNote, size: int, files: int) -> bytes:
    lines = [
        "Bag-Software-Agent: outlast",
        f"Bagging-Date: {note.date.isoformat()}",
        f"Bag-Size: {human_size(size)}",
        f"Payload-Oxum: {size}.{files}",
        f"Bag-Group-Identifier: {note.bundle.hex}",
        f"Bag-Count: {note.medium} of {note.media}",
        "Internal-Sender-Description: models in an outlast bundle; data/bundle.json says which",
    ]
    return ("\n".join(lines) + "\n").encode()


def _replace(final: Path, data: bytes) -> None:
    temp = final.with_name(final.name + UNFINISHED)
    with disk.reporting(final):
        disk.remove(temp)
        disk.write_temp(temp, data, 0o644)
        disk.publish(temp, final)
