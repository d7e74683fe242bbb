"""Use cases: which key is pinned for whom, and how that changes. A changed key is refused unless
what is trusted already signed it.
"""

from collections.abc import Iterable
from dataclasses import replace

from outlast.core.errors import ChangedKeyError, MalformedError, NotFoundError, PolicyError
from outlast.features.trust.keys.pins import How, Pin, PinRole, Pins, PinState
from outlast.features.trust.keys.public import PublicKey
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.key_statements import (
    KeyRevocation,
    Rotation,
    ended_by,
    revoked,
    rotated,
)
from outlast.features.trust.records.statement import Publication, Statement
from outlast.store.archive import Archive


def pin(archive: Archive, wanted: Pin, *, also: bool = False) -> Pin:
    """Pins a key because the operator says so. `also`: beside other keys of that publisher. Raises
    :class:`ChangedKeyError` where another key is pinned for it, and :class:`PolicyError` for a key
    that was revoked.
    """
    pins = Pins(archive)
    mine = _like(pins, wanted)
    _refuse_ended(wanted, pins.all(), mine)
    same = (p for p in mine if (p.key, p.namespace) == (wanted.key, wanted.namespace))
    if (old := next(same, None)) is not None:  # how it began stays visible
        wanted = replace(
            old, name=wanted.name or old.name, recovery=wanted.recovery or old.recovery
        )
    elif wanted.role is PinRole.PUBLISHER and not also:
        _refuse_changed(wanted, mine)
    _put(archive, pins, [wanted])
    return wanted


def pin_first(archive: Archive, wanted: Pin, keys: Iterable[PublicKey]) -> Pin:
    """Pins the one key of `keys`, which statements in the archive came with. Raises
    :class:`ChangedKeyError` where a key was ever pinned for that publisher: this is no first use.
    """
    found = dict.fromkeys(keys)
    pins = Pins(archive)
    if mine := _like(pins, wanted):
        raise ChangedKeyError(
            f"{mine[0].key.short} was pinned for {mine[0].namespace} before: this is no first use"
        )
    if len(found) != 1:
        what = "no statement" if not found else f"statements by {len(found)} keys"
        raise NotFoundError(
            f"there is {what} of {wanted.namespace} here",
            hint="ask the publisher for its key, then 'outlast key pin NAME FILE'",
        )
    made = replace(wanted, key=next(iter(found)), began=How.FIRST_USE)
    _refuse_ended(made, pins.all(), mine)
    _put(archive, pins, [made])
    return made


def first_keys(archive: Archive, namespace: str) -> list[PublicKey]:
    """The keys that statements in the archive name for a publisher, and that did sign them."""
    found = []
    probe = Pin(namespace, PinRole.PUBLISHER, PublicKey(b""), how=How.FIRST_USE, since="")
    for manifest in archive.attestations.manifests():
        for stored in archive.attestations.of(manifest):
            try:
                envelope = DsseEnvelope.read(stored.data)
                said = Statement.read(envelope.payload)
            except MalformedError:
                continue
            if isinstance(said.predicate, Publication) and probe.covers(said.repo):
                found += [k for k in said.predicate.keys if _did_sign(envelope, k)]
    return found


def apply_rotation(archive: Archive, rotation: Rotation, now: str) -> Pin:
    """Pins the key that a rotation names. Raises as `key_statements.rotated` does."""
    pins = Pins(archive)
    changed = rotated(pins.all(), rotation, now)
    _put(archive, pins, changed)
    return changed[-1]


def apply_revocation(archive: Archive, revocation: KeyRevocation, now: str) -> list[Pin]:
    """Ends the pins of a key. Raises as `key_statements.ended_by` does."""
    pins = Pins(archive)
    changed = ended_by(pins.all(), revocation, now)
    _put(archive, pins, changed)
    return changed


def revoke_here(archive: Archive, fingerprint: str, reason: str, now: str) -> list[Pin]:
    """Ends the pins of a key in this archive, because its operator says so. Raises
    :class:`NotFoundError`.
    """
    pins = Pins(archive)
    changed = [
        revoked(one, now, reason)
        for one in pins.all()
        if one.key.fingerprint == fingerprint and one.state is not PinState.REVOKED
    ]
    if not changed:
        raise NotFoundError(
            f"no pin of {fingerprint} counts here", hint="'outlast key list' shows all pins"
        )
    _put(archive, pins, changed)
    return changed


def _like(pins: Pins, wanted: Pin) -> list[Pin]:
    """Pins of that role, in whatever state, for models that `wanted` is about, too."""
    return [p for p in pins.all() if p.role is wanted.role and p.overlaps(wanted.namespace)]


def _refuse_ended(wanted: Pin, pins: Iterable[Pin], mine: Iterable[Pin]) -> None:
    """A key that was revoked counts for nothing any more, one that was retired not again."""
    same = (p for p in pins if p.key == wanted.key)
    ended = [
        p
        for p in same
        if p.state is PinState.REVOKED or (p.state is PinState.RETIRED and p in mine)
    ]
    if ended:
        raise PolicyError(
            f"{wanted.key.short} was pinned for {ended[0].namespace}, and is {ended[0].state}: "
            f"{ended[0].why}",
            hint="a key that has ended is not pinned again; ask for a new one",
        )


def _refuse_changed(wanted: Pin, mine: Iterable[Pin]) -> None:
    active = [p for p in mine if p.state is PinState.ACTIVE and p.key != wanted.key]
    if active:
        raise ChangedKeyError(
            f"another key is pinned for {active[0].namespace}: {active[0].label}",
            hint="pin the publisher's rotation (--file FILE); --also pins a second key beside "
            "it; 'outlast key revoke' ends the old one",
        )


def _put(archive: Archive, pins: Pins, changed: Iterable[Pin]) -> None:
    with archive.writer() as writer:
        for one in changed:  # those that end first: a crash leaves no two that count
            pins.put(writer, one)


def _did_sign(envelope: DsseEnvelope, key: PublicKey) -> bool:
    return any(
        one.key_id == key.fingerprint and verify(key, envelope.message, one.data)
        for one in envelope.signatures
    )
