"""The names of a revision's files in a folder: their own, wherever its file system takes them.

Programs look for files by their own names. A file system may refuse some, cut them, or take two
for one: then all that are not portable are escaped (:func:`outlast.core.names.portable_names`).
"""

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from outlast.core.names import are_portable, portable_names

_log = logging.getLogger(__name__)

_NOT_FOR_THE_NAME: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
"""Errors of a new file that say nothing of its name."""


def names_in(folder: Path, paths: Iterable[str], *, portable: bool = False) -> dict[str, str]:
    """For each of the safe `paths` of a revision, the one that its file gets below `folder`, which
    is made. With `portable`, names that another system could refuse are escaped, whatever this one
    takes. Raises OSError where nothing can be written to `folder`.
    """
    listed = list(paths)
    if portable or os.sep != "/":  # else a backslash could lead elsewhere
        return portable_names(listed)
    if not are_portable(listed) and not _takes(folder, listed):
        return portable_names(listed)
    return {path: path for path in listed}


def escaped(names: Mapping[str, str]) -> dict[str, str]:
    """Those of `names` that are not the file's own."""
    return {path: name for path, name in names.items() if path != name}


def _takes(folder: Path, paths: Sequence[str]) -> bool:
    """Whether files of these names can be beside each other in `folder`: it is tried."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = tempfile.mkdtemp(prefix=".outlast-", dir=folder)
    try:
        for path in paths:
            place = Path(probe, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return _listed(probe) == set(paths)
    except OSError as error:
        if error.errno in _NOT_FOR_THE_NAME:
            raise
        _log.debug("%s does not take all names: %s", folder, error)
        return False
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def _listed(probe: str) -> set[str]:
    """The files that came of it: some systems cut names silently, or change their form."""
    return {
        Path(root, name).relative_to(probe).as_posix()
        for root, _, names in os.walk(probe)
        for name in names
    }
