"""Marks of revisions that a mirror fetched because a client asked, and when they were used last.

Only a revision with a mark may be dropped for a quota: one without counts as kept by a person. So
a mark is made before the first draft, while nothing of the revision is here, and it is taken away
by each command that asks for the revision by name. The file's time is that of the last use.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from outlast.core.digest import GitOid
from outlast.core.errors import BadNameError, DamagedRecordError
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.layout import repo_of_folder
from outlast.store.records import sealed
from outlast.store.records.records import Records
from outlast.store.writer import WriteSession

Key: TypeAlias = tuple[RepoId, GitOid]
"""A revision of a model."""

_DEPTH: Final = ("*",) * 4
_BODY: Final = b'{"through": "mirror"}\n'
_MODE: Final = 0o644
_STEP: Final = 1000
"""Nanoseconds between two uses that are noted at once: so their order shows."""


class CachedMarks:
    """The marks of an archive. One that is damaged marks nothing: its revision counts as kept."""

    def __init__(self, records: Records, is_here: Callable[[RepoId, GitOid], bool]) -> None:
        """`is_here` says whether anything of a revision is in the archive."""
        self._records = records
        self._layout = records.layout
        self._is_here = is_here
        self._latest: int | None = None
        """Later than all that this process noted or found."""

    @disk.reported
    def begin(self, writer: WriteSession, repo: RepoId, commit: GitOid) -> bool:
        """Marks a revision of which nothing is here yet; False, and no mark, where something is.
        Call before its first draft is written.
        """
        path = self.path(repo, commit)
        temp = writer.stage(sealed.seal(self._layout.name_of(path), _BODY), _MODE)
        with disk.locked(self._layout.lock, exclusive=True):
            if self._is_here(repo, commit):
                return False
            disk.publish(temp, path)
        self.touch([(repo, commit)])
        return True

    @disk.reported
    def keep(self, repo: RepoId, commit: GitOid) -> bool:
        """A person asked for the revision: from now on it stays. Durable on return; whether it was
        marked.
        """
        path = self.path(repo, commit)
        if not path.exists():
            return False
        with disk.locked(self._layout.lock, exclusive=True):
            return self.remove(repo, commit)

    def remove(self, repo: RepoId, commit: GitOid) -> bool:
        """The same with the archive's lock held exclusively already."""
        path = self.path(repo, commit)
        if not disk.remove(path):
            return False
        with contextlib.suppress(FileNotFoundError):  # another process tidied the folder away
            disk.fsync_dir(path.parent)
        disk.remove_empty_parents(path, self._layout.cached)
        return True

    @disk.reported
    def is_marked(self, repo: RepoId, commit: GitOid) -> bool:
        try:
            return self._records.read(self.path(repo, commit)) == _BODY
        except (FileNotFoundError, DamagedRecordError):
            return False

    @disk.reported
    def stamps(self) -> dict[Key, int]:
        """Every revision that is marked, with a number that is the larger the later it was used."""
        found = {}
        for path in disk.matching(self._layout.cached, *_DEPTH):
            with contextlib.suppress(BadNameError, FileNotFoundError):  # not ours; kept meanwhile
                if GitOid.is_valid(path.name):
                    key = repo_of_folder(path.parent), GitOid(path.name)
                    if self.is_marked(*key):
                        found[key] = os.stat(path).st_mtime_ns
        return found

    @disk.reported
    def touch(self, keys: Iterable[Key]) -> None:
        """Notes that these revisions were used just now, in this order. What is noted later never
        counts as earlier, whatever the clock says. Those without a mark are passed over.
        """
        paths = [path for key in keys if (path := self.path(*key)).exists()]
        if not paths:
            return
        if self._latest is None:
            self._latest = max(self.stamps().values(), default=0)
        at = max(time.time_ns(), self._latest + _STEP)
        self._latest = at + len(paths) * _STEP
        for number, path in enumerate(paths):
            moment = at + number * _STEP
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, ns=(moment, moment))

    def path(self, repo: RepoId, commit: GitOid) -> Path:
        """The file that marks a revision."""
        return self._layout.cached / self._layout.folder_of(repo) / commit.hex
