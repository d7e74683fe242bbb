"""What a statement of another archive is worth: its signatures and its subject alone decide."""

import threading

from outlast.core.claims import Weighed, Weight
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, OutlastError
from outlast.core.names import RepoId
from outlast.features.trust.keys.extra import has_cryptography
from outlast.features.trust.keys.pins import Pin, Pins, PinState
from outlast.features.trust.records.model_view import entitled, read_signed, whom, wrong_subject
from outlast.features.trust.records.signers import signers_of
from outlast.features.trust.records.statement import Revocation
from outlast.store.archive import Archive
from outlast.store.records.attestations import MAX_ATTESTATION

_NOTHING = Weighed(Weight.NOTHING)


class StatementWeigher:
    """Implements :class:`outlast.core.claims.Weigher` by the pins of an archive. Evidence of pulls
    is the operator's own, and does not travel; without what checks signatures nothing does.
    """

    def __init__(self, archive: Archive) -> None:
        self._pins = Pins(archive)
        self._lock = threading.Lock()
        self._read: tuple[int, list[Pin]] | None = None

    def weigh(self, repo: RepoId, manifest: Digest, data: bytes) -> Weighed:
        if len(data) > MAX_ATTESTATION or not has_cryptography():
            return _NOTHING
        try:
            found = read_signed(data)
            # What is kept without a signature does not travel either.
            if not isinstance(found, tuple) or wrong_subject(found[1], manifest, repo):
                return _NOTHING
        except (MalformedError, OutlastError):
            return _NOTHING
        envelope, said = found
        mine = [pin for pin in self._all() if pin.covers(repo)]
        signers = signers_of(envelope, entitled(mine, said), whom(said, repo))
        good = signers.by(PinState.ACTIVE, PinState.RETIRED)
        keys = sorted(
            {pin.key.fingerprint for pin in good} or {one.key_id for one in envelope.signatures}
        )
        same = Digest.of(b"\0".join((envelope.payload, *(key.encode() for key in keys))))
        weight = Weight.COUNTS if good else Weight.UNKNOWN
        return Weighed(weight, same, urgent=isinstance(said.predicate, Revocation))

    def _all(self) -> list[Pin]:
        """The pins, read again where they have changed."""
        stamp = self._pins.stamp
        with self._lock:
            if self._read is None or self._read[0] != stamp:
                self._read = stamp, self._pins.all()
            return self._read[1]
