"""``outlast sign``."""

import datetime as dt
from pathlib import Path
from typing import Final

import click

from outlast.cli.edge import TARGET, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import UsageError
from outlast.core.names import Target, check_ref
from outlast.features.trust.assemble import trust_assessor
from outlast.features.trust.commands.documents import CosignDocument, OpenssfDocument
from outlast.features.trust.commands.options import (
    asking,
    key_option,
    out_option,
    passphrase_option,
    read_small,
    signers,
    write_out,
)
from outlast.features.trust.commands.tell import tell
from outlast.features.trust.foreign.cosign import CosignPayload, cosign_sign
from outlast.features.trust.foreign.openssf_signing import load_elliptic, openssf_sign
from outlast.features.trust.records.making import publish, sealed, take
from outlast.features.trust.records.statement import now_text
from outlast.store.records.attestations import MAX_ATTESTATION, MOST

_MOST_REFERENCE: Final = 255


@click.command(
    epilog="""\b
Examples:
  outlast sign me/model
  outlast sign me/model@v2 --key work --expires 365 --out model.dsse.json
  outlast sign me/model --key ~/.ssh/id_ed25519
  outlast sign --take model.dsse.json
  outlast sign --openssf --key EC.pem me/model --output model.sig
  outlast sign --cosign ghcr.io/me/model --key EC.pem me/model --out payload.json

\b
Exit status:
  0 done · 2 usage, or no such key · 3 not archived · 4 damaged, or a statement that is malformed
  7 too many statements · 8 storage
"""
)
@click.argument("target", type=TARGET, required=False)
@click.option("--ref", metavar="NAME", help="Sign it under this ref  [default: the one it has]")
@click.option(
    "--expires",
    type=click.IntRange(1, 3660),
    metavar="DAYS",
    help="After so many days the claim is stale  [default: never]",
)
@click.option(
    "--take",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep a statement that others signed, as 'sign --out' writes it (repeatable)",
)
@click.option(
    "--openssf",
    is_flag=True,
    help="Write a model.sig for model-signing (OpenSSF) to --output, by an EC key in PEM",
)
@click.option(
    "--cosign",
    "reference",
    metavar="NAME",
    help="Sign the image of a model from a registry as cosign does, under this name of it",
)
@key_option
@passphrase_option
@out_option
@common
def sign(
    target: Target | None,
    *,
    ref: str | None,
    expires: int | None,
    files: tuple[Path, ...],
    openssf: bool,
    reference: str | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    out: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Sign a revision as its publisher; or, with --take, keep what others signed.

    The statement names the manifest, the model and the ref, and has a number that grows with each
    revision: a renamed copy does not pass, and an older revision does not pass for the newest. It
    lies in the archive, and goes along with 'export'. Others see that the model is published once
    they have pinned your key ('outlast key pin').

    With --openssf, nothing is kept: the file signs the digests of the files, without the name, the
    revision and the ref. Put it into the model as model.sig, and others check it with
    model-signing.

    With --cosign, nothing is kept: --out FILE gets what is signed, FILE.sig the signature by an EC
    key in PEM. 'cosign attach signature --payload FILE --signature FILE.sig' puts both into a
    registry.
    """
    how = as_json, quiet
    if (target is None) == (not files):
        raise UsageError("name a model to sign, or statements with --take", hint="sign --help")
    if files and (ref or expires or keys or out or reference):
        raise UsageError("--take signs nothing: it goes without the other options")
    if reference is not None:
        if target is None or ref or expires or openssf or len(keys) != 1 or out is None:
            raise UsageError("--cosign takes a model, one --key FILE, and --out FILE")
        _sign_cosign(target, reference, (Path(keys[0]), passphrase_file), out, home, how)
        return
    if openssf:
        if target is None or ref or expires or len(keys) != 1 or out is None:
            raise UsageError("--openssf takes a model, one --key FILE, and --output FILE")
        _sign_openssf(target, Path(keys[0]), passphrase_file, out, home, how)
        return
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        for file in files:
            data = read_small(file, MAX_ATTESTATION, "statement")
            tell(run, archive, take(archive, data, most=MOST), "taken")
        if target is None:
            return
        now = dt.datetime.now(dt.UTC)
        made = publish(
            archive,
            target,
            signers(keys, passphrase_file),
            ref=None if ref is None else check_ref(ref),
            expires="" if expires is None else now_text(now + dt.timedelta(days=expires)),
            now=now,
            height=trust_assessor(run, archive).height,
        )
        tell(run, archive, made, "published", out)


def _sign_openssf(  # noqa: PLR0917 - what the command was given
    target: Target,
    key: Path,
    passphrase_file: Path | None,
    out: Path,
    home: str | None,
    how: tuple[bool, bool],
) -> None:
    """Writes the file of a signature of another tool's format."""
    as_json, quiet = how
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        revision = sealed(archive, target)
        signed = openssf_sign(revision, load_elliptic(key.expanduser(), asking(passphrase_file)))
        file = write_out(out, signed.data)
        left_out = len(revision.files) - signed.files
        if as_json:
            print_document(
                OpenssfDocument(
                    repo=revision.repo,
                    revision=revision.id,
                    manifest=revision.digest,
                    file=str(file),
                    key=signed.hint,
                    files=signed.files,
                    left_out=left_out,
                )
            )
            return
        not_signed = f"; {plural(left_out, 'file')} of git left out" if left_out else ""
        run.say(f"signed {plural(signed.files, 'file')}{not_signed}: no name, revision or ref")
        print(file)


def _sign_cosign(  # noqa: PLR0917 - what the command was given
    target: Target,
    reference: str,
    key: tuple[Path, Path | None],
    out: Path,
    home: str | None,
    how: tuple[bool, bool],
) -> None:
    """Writes what cosign puts beside an image. `key`: the files of the key and its passphrase."""
    as_json, quiet = how
    if not 1 <= len(reference) <= _MOST_REFERENCE or not reference.isprintable():
        raise UsageError("--cosign NAME is a line, like ghcr.io/me/model")
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        revision = sealed(archive, target)
        secret = load_elliptic(key[0].expanduser(), asking(key[1]))
        payload, signature = cosign_sign(revision, reference, secret)
        file = write_out(out, payload)
        beside = write_out(out.with_name(f"{out.name}.sig"), signature)
        if as_json:
            print_document(
                CosignDocument(
                    repo=revision.repo,
                    revision=revision.id,
                    manifest=revision.digest,
                    image=CosignPayload.read(payload).digest,
                    reference=reference,
                    payload=str(file),
                    signature=str(beside),
                )
            )
            return
        run.say(f"signed the image {CosignPayload.read(payload).digest} as {reference}")
        print(file)
        print(beside)
