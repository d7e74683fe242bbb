"""Setting a damaged small file aside: moved, never deleted, to be looked at later."""

import os
import shutil
import time
from pathlib import Path
from typing import Final

from outlast.store import disk
from outlast.store.layout import Layout

SET_ASIDE: Final = "records"
"""The folder in the quarantine."""


def name_aside(layout: Layout, path: Path) -> str:
    """What follows the time in the name of the file that `path` is set aside as, unless it is cut
    at the front: then it is no such name of any file.
    """
    return layout.name_of(path).replace("/", "+")


def set_aside(layout: Layout, path: Path, *, keep: bool = False) -> Path:
    """Moves a damaged file into the quarantine, durably, under a name that says where it was;
    returns the new path. `keep`: the file stays as well, until another takes its place.
    """
    place = layout.quarantine / SET_ASIDE
    disk.make_dir(place)
    final = place / f"{time.time_ns()}-{name_aside(layout, path)[-200:]}"
    if keep:
        try:
            os.link(path, final)
        except OSError:  # not every file system has hard links
            shutil.copyfile(path, final)
    else:
        os.rename(path, final)
    disk.fsync_dir(place)
    return final
