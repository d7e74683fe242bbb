"""Which pins signed an envelope. Only keys that are pinned are asked: a stranger's signature costs
no time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from outlast.features.trust.keys.pins import Pin, PinState
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import DsseEnvelope


@dataclass(frozen=True, slots=True)
class Signers:
    """`good`: the pins whose keys signed, each key once; `why`: what is wrong where there is none
    that is active.
    """

    good: tuple[Pin, ...]
    why: str = ""

    def by(self, *states: PinState) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.good if pin.state in states)

    @property
    def active(self) -> tuple[Pin, ...]:
        return self.by(PinState.ACTIVE)


def signers_of(envelope: DsseEnvelope, pins: Sequence[Pin], whom: str) -> Signers:
    """The pins of `pins` whose keys signed; of several pins of one key the most active one counts.
    `whom` says in messages what they would have to be pinned for.
    """
    by_id = {pin.key.fingerprint: pin for pin in sorted(pins, key=_rank, reverse=True)}
    good, wrong = [], []
    for signature in envelope.signatures:
        pin = by_id.get(signature.key_id)
        if pin is None:
            continue
        if verify(pin.key, envelope.message, signature.data):
            good.append(pin)
        else:
            wrong.append(pin)
    return Signers(tuple(good), _why(envelope, good, wrong, whom))


_ORDER = (PinState.ACTIVE, PinState.RETIRED, PinState.REVOKED)


def _rank(pin: Pin) -> int:
    return _ORDER.index(pin.state)


def _why(envelope: DsseEnvelope, good: Iterable[Pin], wrong: Sequence[Pin], whom: str) -> str:
    for pin in good:
        if pin.state is PinState.REVOKED:
            return f"the key {pin.label} was revoked at {pin.ended}"
    if wrong:
        return f"the signature of {wrong[0].label} does not match"
    ids = ", ".join(one.key_id[:60] for one in envelope.signatures[:2])
    return f"signed by {ids}, which is not pinned for {whom}"
