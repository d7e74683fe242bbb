"""What ``outlast key`` shows: your keys, and what is pinned."""

from outlast.cli.edge import Session
from outlast.cli.screen.render import print_document, print_table
from outlast.core.errors import one_line
from outlast.features.trust.commands.documents import (
    KeyDocument,
    PinDocument,
    PinnedIdentityDocument,
)
from outlast.features.trust.commands.options import own_keys
from outlast.features.trust.keys.identities import IdentityPin, IdentityPins
from outlast.features.trust.keys.pins import Pin, Pins
from outlast.features.trust.keys.secret import OwnKey


def show_all(run: Session) -> None:
    """Your keys, the pinned keys and the pinned identities."""
    mine = list(own_keys().all())
    pins: list[Pin] = []
    identities: list[IdentityPin] = []
    if run.config.home.is_dir():
        with run.archive() as archive:
            pins, identities = Pins(archive).all(), IdentityPins(archive).all()
    if run.as_json:
        _print_documents(mine, pins, identities)
        return
    if mine:
        rows = [(own.name, own.public.kind.value, own.public.fingerprint) for own in mine]
        print_table([("YOUR KEY", "KIND", "FINGERPRINT"), *rows])
    if pins:
        head = ("PINNED FOR", "ROLE", "NAME", "FINGERPRINT", "HOW", "SINCE", "STATE")
        print_table([head, *map(_pin_row, pins)])
    if identities:
        head_of_identities = ("PINNED FOR", "IDENTITY", "ISSUER", "NAME", "SINCE", "STATE")
        print_table([head_of_identities, *map(_identity_row, identities)])
    if not (mine or pins or identities):
        run.say("no keys of yours, and none are pinned")


def _print_documents(mine: list[OwnKey], pins: list[Pin], identities: list[IdentityPin]) -> None:
    for own in mine:
        print_document(key_document(own))
    for pin in pins:
        print_document(pin_document(pin))
    for one in identities:
        print_document(identity_document(one))


def key_document(own: OwnKey) -> KeyDocument:
    return KeyDocument(
        name=own.name,
        kind=own.public.kind,
        fingerprint=own.public.fingerprint,
        public=own.public.line,
        path=str(own.path),
    )


def pin_document(pin: Pin) -> PinDocument:
    return PinDocument(
        namespace=pin.namespace,
        role=pin.role,
        name=pin.name,
        kind=pin.key.kind,
        fingerprint=pin.key.fingerprint,
        how=pin.how,
        since=pin.since,
        state=pin.state,
        ended=pin.ended,
        why=pin.why,
        recovery=pin.recovery,
    )


def identity_document(pin: IdentityPin) -> PinnedIdentityDocument:
    return PinnedIdentityDocument(
        namespace=pin.namespace,
        identity=pin.identity.name,
        issuer=pin.identity.issuer,
        name=pin.label,
        since=pin.since,
        state=pin.state,
        ended=pin.ended,
        why=pin.why,
    )


def _pin_row(pin: Pin) -> tuple[str, ...]:
    state = pin.state.value if not pin.ended else f"{pin.state} {pin.ended}: {pin.why}"
    return (
        *(pin.namespace, pin.role.value, pin.name or "-", pin.key.fingerprint),
        *(pin.how.value, pin.since, one_line(state, 200)),
    )


def _identity_row(pin: IdentityPin) -> tuple[str, ...]:
    state = pin.state.value if not pin.ended else f"{pin.state} {pin.ended}: {pin.why}"
    name, issuer = pin.identity.name, pin.identity.issuer
    return pin.namespace, name, issuer, pin.label or "-", pin.since, one_line(state, 200)
