"""What `doctor` finds of statements, pins and revocations."""

from collections.abc import Iterator

from outlast.features.trust.keys.identities import IdentityPins
from outlast.features.trust.keys.pins import Pins, PinState
from outlast.ops.doctor import Finding, Health
from outlast.store.archive import Archive

_NAMED = 3


def findings(archive: Archive) -> Iterator[Finding]:
    """What is wrong with them, and how many there are."""
    yield _statements(archive)
    yield _pins(archive)
    yield from _revoked(archive)


def _statements(archive: Archive) -> Finding:
    attestations = archive.attestations
    faults = list(attestations.faults())
    if faults:
        named = ", ".join(archive.layout.name_of(fault.path) for fault in faults[:_NAMED])
        return Finding(
            "attestations",
            Health.WRONG,
            f"{len(faults)} signed statements are damaged and do not count: {named}",
            "delete them, and take them again with 'outlast sign --take FILE'",
        )
    count = sum(len(attestations.names(manifest)) for manifest in attestations.manifests())
    return Finding("attestations", Health.OK, f"{count} statements")


def _pins(archive: Archive) -> Finding:
    pins, identities = Pins(archive), IdentityPins(archive)
    if damaged := [*pins.damaged(), *identities.damaged()]:
        named = ", ".join(archive.layout.name_of(pin.path) for pin in damaged[:_NAMED])
        return Finding(
            "pins",
            Health.WRONG,
            f"{len(damaged)} pins are damaged and do not count: {named}",
            "delete them, and pin the keys again with 'outlast key pin'",
        )
    states = [pin.state for pin in pins.all()] + [one.state for one in identities.all()]
    active = states.count(PinState.ACTIVE)
    return Finding(
        "pins", Health.OK, f"{active} keys are pinned, {len(states) - active} have ended"
    )


def _revoked(archive: Archive) -> Iterator[Finding]:
    found = archive.revocations.all().values()
    if not found:
        return
    accepted = sum(bool(one.accepted) for one in found)
    unread = sum(one.repo is None for one in found)
    text = f"{len(found)} manifests are revoked, {accepted} of them accepted all the same"
    if unread:
        yield Finding(
            "revoked",
            Health.WRONG,
            f"{text}; the records of {unread} are damaged",
            "revoke them again with 'outlast revoke'",
        )
    else:
        yield Finding("revoked", Health.NOTE, text, "'outlast show' says why of each")
