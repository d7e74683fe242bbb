"""Signed statements about a revision that came from elsewhere: what its sources have of them is
taken along. None is believed because of where it comes from.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, runtime_checkable

from outlast.core.claims import Weighed, Weight
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError, StorageError
from outlast.core.events import Note
from outlast.core.manifest import Revision
from outlast.core.threads import DaemonPool, interruptible
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.fetch.tuning import TUNING, Tuning
from outlast.store.archive import Archive
from outlast.store.records.attestations import MAX_ATTESTATION, MOST, MOST_FROM_OTHERS

_log = logging.getLogger(__name__)


@runtime_checkable
class StatementSource(Protocol):
    """What may have statements about a manifest."""

    @property
    def name(self) -> str: ...

    def statements(self, manifest: Digest, timeout: float | None = None) -> Iterable[bytes]:
        """Those that it has, unchecked."""


def take_statements(
    archive: Archive,
    revision: Revision,
    sources: Sequence[StatementSource],
    control: Control,
    tuning: Tuning = TUNING,
) -> int:
    """Asks up to `tuning.statement_sources` sources at once for statements about a revision that is
    here, and keeps those that travel; how many were new. Those by keys that are pinned here have
    more room than those by keys that are not: these may be invented by the thousand. A source that
    fails has none. Nothing is taken where nothing weighs them.
    """
    if archive.weigher is None or not sources:
        return 0
    manifest = revision.digest
    if not archive.layout.manifest(manifest).exists():
        return 0  # files are still to come
    taken = _Taking(archive, revision, manifest, tuning)
    for name, data in _asked(manifest, sources[: tuning.statement_sources], control, tuning):
        control.cancel.check()
        taken.offer(name, data)
    if taken.counting:
        text = f"{taken.counting} signed statements about {revision.repo} came along"
        control.emit(Note(f"{text}: 'outlast verify --who {revision.repo}' says what they prove"))
    return taken.new


class _Taking:
    """What is kept of what comes. Not thread-safe."""

    def __init__(
        self, archive: Archive, revision: Revision, manifest: Digest, tuning: Tuning
    ) -> None:
        self._archive = archive
        self._repo = revision.repo
        self._manifest = manifest
        self._tuning = tuning
        self._known = {
            self._weighed(stored.data).same for stored in archive.attestations.of(manifest)
        }
        self.new = 0
        self.counting = 0

    def offer(self, source: str, data: bytes) -> None:
        """Keeps a statement, if it is one, and new, and there is room for its kind."""
        found = self._weighed(data) if len(data) <= MAX_ATTESTATION else Weighed(Weight.NOTHING)
        if found.weight is Weight.NOTHING:
            _log.info("%s sends what is no statement about %s", source, self._manifest.short)
            return
        if found.same in self._known:
            return
        counts = found.weight is Weight.COUNTS
        most = MOST_FROM_OTHERS if counts else self._tuning.unknown_statements
        try:
            with self._archive.writer() as writer:
                added = self._archive.attestations.add(writer, self._manifest, data, most=most)
        except OutlastError as error:
            _log.info("a statement of %s is not kept: %s", source, error)
            return
        self._known.add(found.same)
        self.new += added is not None
        self.counting += added is not None and counts

    def _weighed(self, data: bytes) -> Weighed:
        assert self._archive.weigher is not None
        return self._archive.weigher.weigh(self._repo, self._manifest, data)


def _asked(
    manifest: Digest, sources: Sequence[StatementSource], control: Control, tuning: Tuning
) -> Iterator[tuple[str, bytes]]:
    """What the sources answer, all asked at once; each with the source's name."""
    pool = DaemonPool(tuning.statement_sources, "statements")

    def ask(source: StatementSource) -> list[bytes]:
        found, left = [], tuning.statement_bytes
        for data in islice(source.statements(manifest, tuning.statement_answer), MOST):
            left -= len(data)
            if left < 0:
                break
            found.append(data)
        return found

    futures = [(source, pool.submit(ask, source)) for source in sources]
    for source, future in futures:
        try:
            found = interruptible(future.result, control.cancel)
        except (*SOURCE_FAULTS, StorageError) as error:  # that of a second home
            _log.info("%s has no statements: %s", source.name, error)
            continue
        yield from ((source.name, data) for data in found)
