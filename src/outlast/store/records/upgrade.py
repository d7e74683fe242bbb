"""Brings an archive of format 1 or 2 to format 3: every small file gets its check.

It happens once, when an archive is first written to, with the lock held exclusively. The marker is
changed last: a crash before that leaves an archive of the older format, in which files with a check
are read as well as those without.
"""

import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from outlast.core.errors import OutlastError
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.layout import FORMAT, MARKER
from outlast.store.records import draft_lines, sealed
from outlast.store.records.drafts import Drafts, DraftState
from outlast.store.records.facts import About
from outlast.store.records.records import Records
from outlast.store.records.refs import ABOUT, decode_ref
from outlast.store.records.set_aside import set_aside
from outlast.store.records.shares import Shares
from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)

_MODE: Final = 0o644
_NO_READ: Final = frozenset({errno.EIO, errno.EISDIR, errno.ENOENT, errno.ENOTDIR})
"""Errors that say that a file is lost, or no file."""


def upgrade(records: Records, held: Callable[[], Iterable[RepoId]]) -> None:
    """Seals the small files of an archive, unless that is done. `held` are the models of which a
    manifest is here. What cannot be read is left as it is; from then on it counts as damaged.
    """
    layout = records.layout
    with (
        disk.reporting(layout.home),
        WriteSession(layout) as session,
        disk.locked(layout.lock, exclusive=True),
    ):
        marker = layout.read_marker()
        if marker.version < FORMAT:
            _log.info("bringing %s to format %d", layout.home, FORMAT)
            _Upgrade(records, session).run(held())
        elif marker.unfinished:  # a crash came just before the last step
            disk.publish(session.stage(MARKER, disk.READ_ONLY), layout.marker)


class _Upgrade:
    def __init__(self, records: Records, session: WriteSession) -> None:
        self._records = records
        self._layout = records.layout
        self._session = session

    def run(self, held: Iterable[RepoId]) -> None:
        for path in disk.matching(self._layout.refs, "*", "*", "*", "*"):
            self._small(path)
        models = {*held, *(state.repo for state in self._drafts())}
        for repo in sorted(models):
            path = self._layout.repo_refs(repo) / ABOUT
            if not path.exists():  # until now that meant: open to all
                self._put(path, sealed.seal(self._layout.name_of(path), About().encode()))
        shares = Shares(self._records)
        for infohash in shares.stamps():
            data = shares.get(infohash)
            if data is not None:
                path = shares.path(infohash)
                self._publish(path, sealed.seal(self._layout.name_of(path), data))
        for path in (self._layout.second_of(self._layout.marker), self._layout.marker):
            self._publish(path, MARKER, disk.READ_ONLY)

    def _small(self, path: Path) -> None:
        """A ref, or what is known of a model."""
        try:
            body = self._records.read(path)
            About.decode(body) if path.name == ABOUT else decode_ref(path.name, body)
        except (OutlastError, OSError) as error:
            # From now on a file without a check is damaged: one that cannot be read at this moment
            # would be that for ever.
            if isinstance(error, OSError) and error.errno not in _NO_READ:
                raise
            _log.warning("%s: %s", self._layout.name_of(path), error)
            return
        self._put(path, sealed.seal(self._layout.name_of(path), body))

    def _drafts(self) -> Iterator[DraftState]:
        for state in Drafts(self._records).states():
            if state.revision is not None:
                name = self._layout.name_of(state.path)
                if state.bad_lines:  # what they named is nowhere else
                    _log.warning("%s: %d lines cannot be read", name, state.bad_lines)
                    set_aside(self._layout, state.path, keep=True)
                self._publish(state.path, draft_lines.write_start(name, state.revision))
            yield state

    def _put(self, path: Path, data: bytes) -> None:
        temps = self._session.stage(data, _MODE), self._session.stage(data, _MODE)
        self._session.publish_twice(temps, path)

    def _publish(self, path: Path, data: bytes, mode: int = _MODE) -> None:
        disk.publish(self._session.stage(data, mode), path)
