"""Rot: bytes of an archive that change by themselves, and nothing tells of it."""

import os
from pathlib import Path

from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.ops.verify import verify
from outlast.store.archive import Archive


def file_of(home: Path, data: bytes) -> Path:
    """The file that holds a blob."""
    with Archive(home) as archive:
        digest = Digest.of(data)
        plain = archive.layout.blob(digest)
        return plain if plain.exists() else archive.layout.capsule(digest)


def damage(path: Path, *places: float, size: int = 1) -> None:
    """Inverts some bytes, each that part of the way through; the times stay as they were."""
    stat = path.stat()
    path.chmod(0o644)
    with open(path, "r+b") as file:
        for place in places:
            file.seek(int(stat.st_size * place))
            data = file.read(size)
            file.seek(int(stat.st_size * place))
            file.write(bytes(byte ^ 0xFF for byte in data))
    path.chmod(0o444)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def see(home: Path) -> int:
    """Lets the archive see its damage; of how many blobs."""
    with Archive(home) as archive:
        verify(archive, [], quarantine=False, control=Control())
        return len(archive.damage.all())
