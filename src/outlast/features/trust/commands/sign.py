"""``outlast sign``."""

import datetime as dt
from pathlib import Path

import click

from outlast.cli.edge import TARGET, common, session
from outlast.core.errors import UsageError
from outlast.core.names import Target, check_ref
from outlast.features.trust.assemble import trust_assessor
from outlast.features.trust.commands.options import (
    key_option,
    out_option,
    passphrase_option,
    read_small,
    signers,
)
from outlast.features.trust.commands.tell import tell
from outlast.features.trust.records.making import publish, take
from outlast.features.trust.records.statement import now_text
from outlast.store.records.attestations import MAX_ATTESTATION, MOST


@click.command(
    epilog="""\b
Examples:
  outlast sign me/model
  outlast sign me/model@v2 --key work --expires 365 --out model.dsse.json
  outlast sign me/model --key ~/.ssh/id_ed25519
  outlast sign --take model.dsse.json

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
    """
    if (target is None) == (not files):
        raise UsageError("name a model to sign, or statements with --take", hint="sign --help")
    if files and (ref or expires or keys or out):
        raise UsageError("--take signs nothing: it goes without the other options")
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
