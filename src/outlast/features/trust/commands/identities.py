"""What ``outlast key`` does with identities of sigstore."""

from collections.abc import Sequence

from outlast.cli.edge import Session
from outlast.cli.screen.render import print_document
from outlast.core.errors import one_line
from outlast.features.trust.commands.pins_shown import identity_document
from outlast.features.trust.keys.identities import IdentityPin, SigstoreIdentity
from outlast.features.trust.keys.pins import PinRole, check_namespace
from outlast.features.trust.records.pinned_identities import pin_identity, revoke_identity


def pin(run: Session, name: str, identity: SigstoreIdentity, label: str, now: str) -> None:
    """Pins an identity for a publisher."""
    wanted = IdentityPin(check_namespace(name, PinRole.PUBLISHER), identity, now, label)
    with run.archive(create=True) as archive:
        made = pin_identity(archive, wanted)
    _tell(run, [made], f"pinned as publisher for {made.namespace}")


def revoke(run: Session, identity: SigstoreIdentity, reason: str, now: str) -> None:
    """Ends the pins of an identity."""
    with run.archive() as archive:
        ended = revoke_identity(archive, identity, reason, now)
    _tell(run, ended, "revoked")


def _tell(run: Session, pins: Sequence[IdentityPin], what: str) -> None:
    for one in pins:
        if run.as_json:
            print_document(identity_document(one))
        else:
            run.say(one_line(f"{what}: {one.label or one.identity.name}", 1000))
            print(one.identity)
