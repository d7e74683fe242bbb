"""Statements about keys: a publisher's next key, signed by one that is pinned or by a recovery key
that was named before; and the end of a key, signed by itself or by a recovery key.

A changed key without that is refused: nothing is pinned again silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import rfc8785

from outlast.core.digest import Digest
from outlast.core.errors import BadNameError, ChangedKeyError, MalformedError, PolicyError
from outlast.features.trust.keys.pins import How, Pin, PinRole, PinState, check_namespace
from outlast.features.trust.keys.public import PublicKey, parse_line
from outlast.features.trust.keys.signing import Signer
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import DsseEnvelope, Signature
from outlast.features.trust.records.statement import (
    STATEMENT_TYPE,
    only,
    read_fingerprints,
    read_statement,
    read_subject,
    subject,
    text,
    time,
)

ROTATION: Final = "urn:outlast:rotation:v1"
KEY_REVOCATION: Final = "urn:outlast:key-revocation:v1"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The publisher of `namespace` signs with `key` from now on; `by` is the key that says so, and
    `recovery` names those that may say so next (fingerprints).
    """

    namespace: str
    key: PublicKey
    by: PublicKey
    made: str
    recovery: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The payload of an envelope."""
        said = {
            "by": self.by.line,
            "key": self.key.line,
            "made": self.made,
            "recovery": sorted(self.recovery),
        }
        return _payload(ROTATION, self.namespace, self.key, said)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Reads an envelope, and checks that `by` signed it: whether that key counts, pins say.
        Raises :class:`MalformedError`.
        """
        namespace, said, digest = _opened(data, ROTATION, {"by", "key", "made", "recovery"})
        key, by = parse_line(said["key"]), parse_line(said["by"])
        if digest != Digest.of(key.blob):
            raise MalformedError("the rotation is about another key than it names")
        _require_signed(data, by)
        return cls(namespace, key, by, time(said["made"]), read_fingerprints(said["recovery"]))


@dataclass(frozen=True, slots=True)
class KeyRevocation:
    """What `key` signs does not count any more, for `reason`; `by` is the key that says so."""

    namespace: str
    key: PublicKey
    by: PublicKey
    made: str
    reason: str

    def to_bytes(self) -> bytes:
        """The payload of an envelope."""
        said = {
            "by": self.by.line,
            "key": self.key.line,
            "made": self.made,
            "reason": self.reason,
        }
        return _payload(KEY_REVOCATION, self.namespace, self.key, said)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """As :meth:`Rotation.read`."""
        namespace, said, digest = _opened(data, KEY_REVOCATION, {"by", "key", "made", "reason"})
        key, by = parse_line(said["key"]), parse_line(said["by"])
        if digest != Digest.of(key.blob):
            raise MalformedError("the revocation is about another key than it names")
        _require_signed(data, by)
        return cls(namespace, key, by, time(said["made"]), text(said["reason"]))


def signed(payload: bytes, signer: Signer) -> bytes:
    """The envelope of a statement that one key signs."""
    draft = DsseEnvelope(payload, ())
    signature = Signature(signer.key.fingerprint, signer.sign(draft.message))
    return DsseEnvelope.of(payload, [signature]).to_bytes()


def rotated(pins: Sequence[Pin], rotation: Rotation, now: str) -> list[Pin]:
    """The pins that follow from a rotation: those that change, and the new one at the end. Raises
    :class:`ChangedKeyError` where nothing that is trusted signed it.

    Recovery keys stay those that were named first, until one of them names others: who steals a key
    cannot lock out its owner. One that acts ends all keys that named it, also retired ones.
    """
    mine = [
        pin for pin in pins if pin.role is PinRole.PUBLISHER and pin.namespace == rotation.namespace
    ]
    active = [pin for pin in mine if pin.state is PinState.ACTIVE]
    by_old = [pin for pin in active if pin.key == rotation.by]
    by_recovery = [pin for pin in active or _last(mine) if rotation.by.fingerprint in pin.recovery]
    if not (by_old or by_recovery):
        raise ChangedKeyError(
            f"the rotation of {rotation.namespace} is signed by {rotation.by.short}, which is "
            "neither pinned for it nor one of its recovery keys"
        )
    if any(pin.key == rotation.key for pin in pins if pin in mine or pin.state is PinState.REVOKED):
        raise PolicyError(
            f"{rotation.key.short} was pinned for {rotation.namespace} before, or is revoked",
            hint="'outlast key list' shows what became of it",
        )
    if by_recovery:
        told = [pin for pin in mine if rotation.by.fingerprint in pin.recovery]
        why = "a recovery key put another in its place"
        ended = [revoked(pin, now, why) for pin in told if pin.state is not PinState.REVOKED]
        return [*ended, _successor(by_recovery[0], rotation, How.RECOVERY, now)]
    old = by_old[0]
    if old.recovery and rotation.recovery not in {(), old.recovery}:
        raise ChangedKeyError(
            f"the rotation of {rotation.namespace} names other recovery keys than are pinned",
            hint="only a recovery key does that; ask the publisher for a rotation by one of them",
        )
    why = "it signed its successor"
    retired = [replace(p, state=PinState.RETIRED, ended=now, why=why) for p in by_old]
    return [*retired, _successor(old, rotation, How.ROTATION, now)]


def _last(pins: Sequence[Pin]) -> list[Pin]:
    """Of pins that have all ended, those that ended last."""
    latest = max((pin.ended for pin in pins), default="")
    return [pin for pin in pins if pin.ended == latest]


def _successor(old: Pin, rotation: Rotation, how: How, now: str) -> Pin:
    return Pin(
        rotation.namespace,
        PinRole.PUBLISHER,
        rotation.key,
        how,
        now,
        old.name,
        recovery=rotation.recovery or old.recovery,
        began=old.began,
    )


def ended_by(pins: Sequence[Pin], revocation: KeyRevocation, now: str) -> list[Pin]:
    """The pins that a revocation ends. Raises :class:`PolicyError` where the key that signed it may
    not say so, or no pin has the key.
    """
    mine = [pin for pin in pins if pin.key == revocation.key]
    own = revocation.by == revocation.key
    found = [
        pin
        for pin in mine
        if pin.state is not PinState.REVOKED and (own or revocation.by.fingerprint in pin.recovery)
    ]
    if not found:
        what = "is not pinned here" if not mine else "is revoked already, or by a key that may not"
        raise PolicyError(f"the key {revocation.key.short} {what}", hint="'outlast key list'")
    return [revoked(pin, now, revocation.reason) for pin in found]


def revoked(pin: Pin, when: str, reason: str) -> Pin:
    """A pin whose key does not count any more."""
    return replace(pin, state=PinState.REVOKED, ended=when, why=reason)


def _payload(kind: str, namespace: str, key: PublicKey, said: dict[str, Any]) -> bytes:
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject(namespace, Digest.of(key.blob))],
            "predicateType": kind,
            "predicate": said,
        }
    )


def _opened(data: bytes, kind: str, known: set[str]) -> tuple[str, dict[str, Any], Digest]:
    """Whose key a statement is about, what it says, and the digest that it names."""
    document = read_statement(DsseEnvelope.read(data).payload)
    if document["predicateType"] != kind:
        raise MalformedError(f"not a statement of the type {kind}")
    name, digest = read_subject(document)
    said: dict[str, Any] = document["predicate"]
    only(said, known)
    try:
        if check_namespace(name, PinRole.PUBLISHER) != name:
            raise MalformedError("the name of the publisher is not in lower case")
    except BadNameError as error:
        raise MalformedError(str(error)) from None
    return name, said, digest


def _require_signed(data: bytes, by: PublicKey) -> None:
    envelope = DsseEnvelope.read(data)
    signature = next((s for s in envelope.signatures if s.key_id == by.fingerprint), None)
    if signature is None or not verify(by, envelope.message, signature.data):
        raise MalformedError(f"the signature of {by.short} is missing or does not match")
