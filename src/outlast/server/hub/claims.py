"""What clients are told of the claims about a revision, and that a revoked one is not served.

Each answer is kept for a moment: a file is asked for in thousands of ranges.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from outlast.core.claims import Assessor, Claims, Standing
from outlast.core.digest import GitOid
from outlast.core.errors import OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.server.tuning import TUNING, ServerTuning
from outlast.store.archive import Archive
from outlast.store.words.revocations import Revoked, refused

_Key: TypeAlias = tuple[RepoId, GitOid]


@dataclass(frozen=True, slots=True)
class _Known:
    until: float
    header: str
    revoked: Revoked | None


class ServedClaims:
    """Thread-safe. Without an `assessor` no claims are told; what is revoked is refused all the
    same.
    """

    def __init__(
        self,
        archive: Archive,
        assessor: Assessor | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        tuning: ServerTuning = TUNING,
    ) -> None:
        self._archive = archive
        self._assessor = assessor
        self._clock = clock
        self._tuning = tuning
        self._lock = threading.Lock()
        self._known: OrderedDict[_Key, _Known] = OrderedDict()

    def known(self, revision: Revision) -> str | None:
        """The header for a revision, if it was found out a moment ago; reads nothing. Raises
        :class:`~outlast.core.errors.RevokedError`.
        """
        with self._lock:
            found = self._known.get((revision.repo, revision.id))
        if found is None or found.until < self._clock():
            return None
        return _told(revision, found)

    def look(self, revision: Revision) -> str:
        """The header; reads records, so call it in a thread. Raises as `known`."""
        claims = self._claims(revision)  # first: a revocation that it comes upon is written down
        revoked = self._archive.revocations.stops(revision.repo, revision.id)
        if revoked is None and claims is not None and claims.revoked:
            revoked = self._unwritten(revision, claims.revoked)
        header = "" if claims is None else header_of(claims)
        found = _Known(self._clock() + self._tuning.claims_s, header, revoked)
        with self._lock:
            self._known[revision.repo, revision.id] = found
            self._known.move_to_end((revision.repo, revision.id))
            while len(self._known) > self._tuning.claims_kept:
                self._known.popitem(last=False)
        return _told(revision, found)

    def _claims(self, revision: Revision) -> Claims | None:
        if self._assessor is None or self._archive.drafts.exists(revision.repo, revision.id):
            return None
        try:
            return self._assessor.claims(revision.digest, revision)
        except OutlastError:  # a record that cannot be read claims nothing
            return None

    def _unwritten(self, revision: Revision, reason: str) -> Revoked | None:
        """A revocation that could not be written down; None for one that the operator accepted."""
        if self._archive.revocations.of(revision.digest) is not None:
            return None
        return Revoked(revision.digest, revision.repo, revision.id, reason, "", "")


def header_of(claims: Claims) -> str:
    """The claims that hold, in order: ``intact, published;stale, observed``."""
    return ", ".join(
        f"{state.claim};stale" if state.standing is Standing.STALE else state.claim
        for state in claims.states
        if state.holds
    )


def _told(revision: Revision, found: _Known) -> str:
    if found.revoked is not None:
        raise refused(revision.repo, found.revoked)
    return found.header
