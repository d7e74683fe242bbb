"""``outlast key``."""

import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import print_document
from outlast.core.errors import UsageError, one_line
from outlast.core.printable import printable
from outlast.features.trust.assemble import trust_assessor
from outlast.features.trust.commands import identities
from outlast.features.trust.commands.documents import (
    KeyStatementDocument,
)
from outlast.features.trust.commands.options import (
    asking,
    own_keys,
    passphrase_of,
    passphrase_option,
    public_key,
    read_small,
    write_out,
)
from outlast.features.trust.commands.pins_shown import key_document, pin_document, show_all
from outlast.features.trust.keys.identities import SigstoreIdentity
from outlast.features.trust.keys.pins import How, Pin, PinRole, Pins, check_namespace
from outlast.features.trust.keys.public import PublicKey
from outlast.features.trust.keys.signing import open_signer
from outlast.features.trust.records import pinning
from outlast.features.trust.records.key_statements import KeyRevocation, Rotation, signed
from outlast.features.trust.records.statement import MOST_REASON, now_text
from outlast.ops.claims import remember_revocations
from outlast.store.records.attestations import MAX_ATTESTATION

_ACTIONS: Final = ("new", "list", "export", "pin", "revoke")
_MOST_LABEL: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wishes:
    """The options, which several actions share."""

    role: PinRole
    name: str
    recovery: tuple[str, ...]
    also: bool
    first_use: bool
    file: Path | None
    old: str | None
    namespace: str | None
    reason: str | None
    no_passphrase: bool
    passphrase_file: Path | None
    out: Path | None
    identity: SigstoreIdentity | None


@click.command(
    epilog="""\b
Examples:
  outlast key new work
  outlast key list
  outlast key export work > work.pub
  outlast key pin org ~/org.pub
  outlast key pin org --identity release@org.example --issuer https://accounts.google.com
  outlast key pin '*' ~/observer.pub --role observer --name "Vienna mirror"
  outlast key export next --next-of work --for org --out rotation.json
  outlast key pin --file rotation.json
  outlast key revoke work --reason "the laptop was stolen" --for org --out end.json

\b
Exit status:
  0 done · 2 usage, or a key that cannot be used · 3 no such key · 4 a statement that is malformed
  7 another key is pinned, and nothing trusted signed this one · 8 storage
"""
)
@click.argument("action", type=click.Choice(_ACTIONS))
@click.argument("words", nargs=-1, metavar="[NAME] [KEY]")
@click.option(
    "--role",
    type=click.Choice([role.value for role in PinRole]),
    default=PinRole.PUBLISHER.value,
    show_default=True,
    help="Of pin: what its signatures count for",
)
@click.option("--name", "label", default="", metavar="TEXT", help="Of pin: what you call it")
@click.option(
    "--recovery",
    multiple=True,
    metavar="KEY",
    help="Of pin and export: a key that may put another in its place (repeatable)",
)
@click.option("--also", is_flag=True, help="Of pin: beside the keys that the publisher has")
@click.option(
    "--first-use",
    is_flag=True,
    help="Of pin: the key of the only statement that is here; that stays visible",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Of pin: a rotation; of revoke: the end of a key, as others wrote it with --out",
)
@click.option("--next-of", "old", metavar="KEY", help="Of export: this key signs the rotation")
@click.option("--for", "namespace", metavar="ORG", help="Of export and revoke: whose key it is")
@click.option("--reason", metavar="TEXT", help="Of revoke: why, in one line")
@click.option(
    "--identity",
    metavar="NAME",
    help="Of pin and revoke: who signs by sigstore, a mail address or URI, in place of a key",
)
@click.option(
    "--issuer",
    metavar="URL",
    help="With --identity: the OpenID issuer that vouches for it",
)
@click.option("--no-passphrase", is_flag=True, help="Of new: ask for none")
@passphrase_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Of export and revoke: write the statement to this file",
)
@common
def key(
    action: str,
    words: tuple[str, ...],
    *,
    role: str,
    label: str,
    recovery: tuple[str, ...],
    also: bool,
    first_use: bool,
    file: Path | None,
    old: str | None,
    namespace: str | None,
    reason: str | None,
    no_passphrase: bool,
    passphrase_file: Path | None,
    out: Path | None,
    identity: str | None,
    issuer: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make keys of your own, and pin those that you trust.

    'new NAME' makes a key of Ed25519 in your configuration folder, never in the archive. 'list'
    shows your keys, and all pins with how each was made. 'export NAME' prints the public key, which
    ssh-keygen reads, too; with --next-of it writes a rotation, by which those who pinned the old
    key come to the next one.

    'pin ORG KEY' makes a key count for the models of ORG, or of ORG/NAME; KEY is a name of yours or
    a file of ssh-keygen, minisign or 'key export'. Where another key is pinned for a publisher, a
    new one is refused, unless a rotation by the old key or by one of its --recovery keys comes with
    it. 'pin ORG --identity NAME --issuer URL' makes the signatures of that identity count that
    sigstore's certificates vouch for, once 'sigstore-root' is set. 'revoke KEY' ends its pins in
    this archive; with --for it also signs the end of your own key, for others.
    """
    if len(label) > _MOST_LABEL or not label.isprintable():
        raise UsageError(f"--name is a line of at most {_MOST_LABEL} characters")
    if reason is not None and not (reason.strip() and len(reason) <= MOST_REASON):
        raise UsageError(f"--reason is a line of at most {MOST_REASON} characters")
    wishes = _Wishes(
        role=PinRole(role),
        name=label,
        recovery=recovery,
        also=also,
        first_use=first_use,
        file=file,
        old=old,
        namespace=namespace,
        reason=reason,
        no_passphrase=no_passphrase,
        passphrase_file=passphrase_file,
        out=out,
        identity=_identity(action, identity, issuer),
    )
    with session(home, as_json=as_json, quiet=quiet) as run:
        {"new": _new, "list": _list, "export": _export, "pin": _pin, "revoke": _revoke}[action](
            run, words, wishes
        )


def _identity(action: str, name: str | None, issuer: str | None) -> SigstoreIdentity | None:
    if name is None and issuer is None:
        return None
    if name is None or issuer is None:
        raise UsageError("--identity and --issuer go together")
    if action not in {"pin", "revoke"}:
        raise UsageError("--identity is for pin and revoke")
    return SigstoreIdentity.checked(name, issuer)


def _new(run: Session, words: Sequence[str], wishes: _Wishes) -> None:
    (name,) = _exactly(words, "NAME")
    made = own_keys().new(name, _new_passphrase(wishes))
    if run.as_json:
        print_document(key_document(made))
        return
    run.say(f"made {made.path}; only you can read it")
    if not (wishes.passphrase_file or wishes.no_passphrase or sys.stdin.isatty()):
        run.say("it has no passphrase: there was no terminal to ask for one")
    print(made.public.fingerprint)


def _new_passphrase(wishes: _Wishes) -> bytes | None:
    if wishes.passphrase_file is not None:
        return passphrase_of(wishes.passphrase_file)
    if wishes.no_passphrase or not sys.stdin.isatty():
        return None
    said: str = click.prompt(
        "passphrase (empty: none)",
        default="",
        show_default=False,
        hide_input=True,
        confirmation_prompt=True,
        err=True,
    )
    return said.encode() or None


def _list(run: Session, words: Sequence[str], wishes: _Wishes) -> None:
    del wishes
    _exactly(words)
    show_all(run)


def _export(run: Session, words: Sequence[str], wishes: _Wishes) -> None:
    (name,) = _exactly(words, "NAME")
    found = public_key(name)
    if wishes.old is None:
        if run.as_json:
            print_document(key_document(own_keys().get(name)))
        else:
            print(f"{found.line} {printable(name)}" if own_keys().has(name) else found.line)
        return
    signer = open_signer(wishes.old, own_keys(), asking(wishes.passphrase_file))
    rotation = Rotation(
        _publisher(wishes),
        found,
        signer.key,
        _now(),
        _fingerprints(wishes.recovery),
    )
    data = signed(rotation.to_bytes(), signer)
    Rotation.read(data)
    _tell_statement(run, rotation.namespace, found, data, wishes.out)


def _pin(run: Session, words: Sequence[str], wishes: _Wishes) -> None:
    now = _now()
    if wishes.identity is not None:
        (name,) = _exactly(words, "ORG")
        _refuse_options_of_keys(wishes)
        identities.pin(run, name, wishes.identity, wishes.name, now)
        return
    with run.archive(create=True) as archive:
        if wishes.file is not None:
            _exactly(words)
            data = read_small(wishes.file, MAX_ATTESTATION, "statement")
            made = pinning.apply_rotation(archive, Rotation.read(data), now)
        elif wishes.first_use:
            (name,) = _exactly(words, "ORG")
            if wishes.role is not PinRole.PUBLISHER:
                raise UsageError("--first-use is for publishers")
            wanted = _wanted(name, PublicKey(b""), How.FIRST_USE, now, wishes)
            keys = pinning.first_keys(archive, wanted.namespace)
            made = pinning.pin_first(archive, wanted, keys)
        else:
            name, text = _exactly(words, "ORG", "KEY")
            found = public_key(text)
            named = wishes if wishes.name else replace(wishes, name=found.comment)
            wanted = _wanted(name, found, How.EXPLICIT, now, named)
            made = pinning.pin(archive, wanted, also=wishes.also)
        # What this key revoked before counts from now on.
        remember_revocations(archive, trust_assessor(run, archive), run.control.cancel)
    _tell_pins(run, [made], f"pinned as {made.role} for {made.namespace}")


def _revoke(run: Session, words: Sequence[str], wishes: _Wishes) -> None:
    now = _now()
    if wishes.file is not None:
        _exactly(words)
        data = read_small(wishes.file, MAX_ATTESTATION, "statement")
        with run.archive() as archive:
            ended = pinning.apply_revocation(archive, KeyRevocation.read(data), now)
        _tell_pins(run, ended, "revoked")
        return
    if wishes.reason is None:
        raise UsageError("say --reason TEXT", hint="those who pinned the key read it")
    if wishes.identity is not None:
        _exactly(words)
        _refuse_options_of_keys(wishes)
        identities.revoke(run, wishes.identity, wishes.reason, now)
        return
    (name,) = _exactly(words, "KEY")
    is_id = name.startswith("SHA256:")
    fingerprint = name if is_id else public_key(name).fingerprint
    if wishes.namespace is not None:
        if is_id:
            raise UsageError("to sign the end of a key, name the key itself")
        _sign_end(run, name, wishes)
    if wishes.namespace is None or run.config.home.is_dir():
        with run.archive() as archive:
            here = any(one.key.fingerprint == fingerprint for one in Pins(archive).all())
            if here or wishes.namespace is None:
                ended = pinning.revoke_here(archive, fingerprint, wishes.reason, now)
                _tell_pins(run, ended, "revoked")


def _refuse_options_of_keys(wishes: _Wishes) -> None:
    """An identity has no key, so it has no successor, and signs no end of itself."""
    given = (wishes.recovery, wishes.also, wishes.first_use, wishes.file, wishes.old)
    if any(given) or wishes.namespace or wishes.out or wishes.role is not PinRole.PUBLISHER:
        raise UsageError("--identity is of a publisher, and goes without the options of keys")


def _sign_end(run: Session, name: str, wishes: _Wishes) -> None:
    """Writes the end of a key for others: signed by itself, or by a recovery key (--next-of)."""
    assert wishes.reason is not None
    found = public_key(name)
    signer = open_signer(wishes.old or name, own_keys(), asking(wishes.passphrase_file))
    said = KeyRevocation(_publisher(wishes), found, signer.key, _now(), wishes.reason)
    data = signed(said.to_bytes(), signer)
    KeyRevocation.read(data)
    _tell_statement(run, said.namespace, found, data, wishes.out)


def _wanted(name: str, public: PublicKey, how: How, now: str, wishes: _Wishes) -> Pin:
    return Pin(
        check_namespace(name, wishes.role),
        wishes.role,
        public,
        how,
        now,
        wishes.name,
        recovery=_fingerprints(wishes.recovery),
    )


def _fingerprints(names: Sequence[str]) -> tuple[str, ...]:
    found = {n if n.startswith("SHA256:") else public_key(n).fingerprint for n in names}
    return tuple(sorted(found))


def _publisher(wishes: _Wishes) -> str:
    if wishes.namespace is None:
        raise UsageError("say with --for ORG whose key it is")
    return check_namespace(wishes.namespace, PinRole.PUBLISHER)


def _exactly(words: Sequence[str], *names: str) -> Sequence[str]:
    """`words`, if there is one for each of `names`."""
    if len(words) != len(names):
        wanted = " ".join(names) or "no further words"
        raise UsageError(f"this takes {wanted}", hint="see 'outlast key --help'")
    return words


def _now() -> str:
    return now_text(dt.datetime.now(dt.UTC))


def _tell_statement(
    run: Session, namespace: str, about: PublicKey, data: bytes, out: Path | None
) -> None:
    file = write_out(out, data)
    if run.as_json:
        print_document(
            KeyStatementDocument(
                namespace=namespace,
                fingerprint=about.fingerprint,
                file=file,
                statement=data.decode(),
            )
        )
    elif file is None:
        print(data.decode())
    else:
        run.say(f"written to {file}: give it to those who pinned the old key")


def _tell_pins(run: Session, pins: Sequence[Pin], what: str) -> None:
    for pin in pins:
        if run.as_json:
            print_document(pin_document(pin))
        else:
            run.say(one_line(f"{what}: {pin.label}", 1000))
            print(pin.key.fingerprint)
