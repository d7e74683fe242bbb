"""The list of files of a commit, as a hub gives it, in 64 hex digits."""

import hashlib
import json
from collections.abc import Iterable

from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry, Revision


def listing_digest(entries: Iterable[FileEntry]) -> Digest:
    """The sha256 of one line for each file, in the order of the lines: ``ETAG SIZE "PATH"``, the
    path as JSON in ASCII. ETAG is what the hub names the bytes by: the sha256 of a file in LFS, the
    git blob id of any other. So it follows from a hub's answer, and from a manifest alike.
    """
    lines = sorted(f"{entry.etag} {entry.size} {json.dumps(entry.path)}\n" for entry in entries)
    return Digest(hashlib.sha256("".join(lines).encode()).hexdigest())


def entries_of(revision: Revision) -> tuple[FileEntry, ...]:
    """All files of the commit, archived or not."""
    return (*revision.files, *revision.missing)
