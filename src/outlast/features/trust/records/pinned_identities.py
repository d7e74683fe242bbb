"""Use cases: which identity of sigstore is pinned for whom."""

from dataclasses import replace

from outlast.core.errors import NotFoundError, PolicyError
from outlast.features.trust.keys.identities import IdentityPin, IdentityPins, SigstoreIdentity
from outlast.features.trust.keys.pins import PinState
from outlast.store.archive import Archive


def pin_identity(archive: Archive, wanted: IdentityPin) -> IdentityPin:
    """Pins an identity because the operator says so. A publisher may have several: people and
    pipelines sign. Raises :class:`PolicyError` for one that was revoked.
    """
    pins = IdentityPins(archive)
    same = [one for one in pins.all() if one.identity == wanted.identity]
    for one in same:
        if one.state is PinState.REVOKED:
            raise PolicyError(
                f"{one.identity} was pinned for {one.namespace}, and is revoked: {one.why}",
                hint="an identity that has ended is not pinned again; ask for another one",
            )
        if one.namespace == wanted.namespace:  # when it was pinned stays
            wanted = replace(one, label=wanted.label or one.label)
    with archive.writer() as writer:
        pins.put(writer, wanted)
    return wanted


def revoke_identity(
    archive: Archive, identity: SigstoreIdentity, reason: str, now: str
) -> list[IdentityPin]:
    """Ends the pins of an identity in this archive. Raises :class:`NotFoundError`."""
    pins = IdentityPins(archive)
    ended = [
        replace(one, ended=now, why=reason)
        for one in pins.all()
        if one.identity == identity and one.state is PinState.ACTIVE
    ]
    if not ended:
        raise NotFoundError(
            f"no pin of {identity} counts here", hint="'outlast key list' shows all pins"
        )
    with archive.writer() as writer:
        for one in ended:
            pins.put(writer, one)
    return ended
