"""An archive is on one file system: bytes become archived by a rename, which works on one only."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from outlast.core.errors import StorageError
from outlast.store.layout import Layout

HINT: Final = (
    "all folders of an archive must be on one file system: move the whole archive to the other "
    "disk, and name it with --home or OUTLAST_HOME"
)


def require_one(layout: Layout, file: Path) -> None:
    """Refuses an archive of which a folder is mounted from, or linked to, another file system than
    `file`, a file in its folder for temp files. Moves nothing. Raises :class:`StorageError`.
    """
    stray = [folder.name for folder in _folders(layout) if not _is_beside(file, folder)]
    if stray:
        raise StorageError(
            f"{layout.home}: {', '.join(stray)} is on another file system than {layout.tmp.name}",
            hint=HINT,
        )


def _folders(layout: Layout) -> list[Path]:
    return [
        layout.blobs,
        layout.capsules,
        layout.copies,
        layout.manifests,
        layout.drafts,
        layout.refs,
        layout.second,
        layout.partial,
        layout.shared,
        layout.quarantine,
        layout.trash,
        layout.unreadable,
        layout.unverified,
        layout.cached,
        layout.dropping,
    ]


def _is_beside(file: Path, folder: Path) -> bool:
    """Whether `file` can be moved into `folder`, or there is no such folder yet."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(folder).st_dev != os.stat(file).st_dev:
            return False
        try:
            # To rename a file to "." never works. What is said first is that another mount is in
            # the way: a folder that is bound from elsewhere on the same disk has the same device.
            os.rename(file, f"{os.fspath(folder)}/.")
        except OSError as error:
            return error.errno != errno.EXDEV
    return True
