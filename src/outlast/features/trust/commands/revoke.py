"""``outlast revoke``."""

import datetime as dt
from pathlib import Path

import click

from outlast.cli.edge import TARGET, common, session
from outlast.core.errors import UsageError
from outlast.core.names import Target
from outlast.features.trust.commands.options import (
    key_option,
    out_option,
    passphrase_option,
    signers,
)
from outlast.features.trust.commands.tell import tell
from outlast.features.trust.records.making import revoke as use_case
from outlast.features.trust.records.statement import MOST_REASON


@click.command(
    epilog="""\b
Examples:
  outlast revoke me/model@v1 --reason "the tokenizer has a backdoor; use v2"
  outlast revoke other/model --reason "licence withdrawn" --key ~/.ssh/id_ed25519

\b
Exit status:
  0 done · 2 usage, or no such key · 3 not archived · 4 damaged · 8 storage
"""
)
@click.argument("target", type=TARGET)
@click.option("--reason", required=True, metavar="TEXT", help="Why, in one line; others read it")
@key_option
@passphrase_option
@out_option
@common
def revoke(
    target: Target,
    *,
    reason: str,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    out: Path | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Sign that a revision is not to be used any more.

    In this archive that counts at once: 'run', 'serve' and 'share' refuse the revision, and every
    place that shows it says why. It counts in other archives that have the statement and have
    pinned your key, as a publisher of the model or as a revoker. The bytes stay. To use the
    revision all the same, name the digest of its manifest: 'outlast run --accept-revoked DIGEST'.
    """
    if not (1 <= len(reason.strip()) <= MOST_REASON and reason.isprintable()):
        raise UsageError(f"--reason is a line of at most {MOST_REASON} characters")
    now = dt.datetime.now(dt.UTC)
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        made = use_case(archive, target, reason, signers(keys, passphrase_file), now=now)
        tell(run, archive, made, "revoked", out)
