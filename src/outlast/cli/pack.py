"""``outlast pack`` and ``outlast unpack``."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import click

from outlast.cli.documents.space import RepackedDocument
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.options.forms import form_wishes
from outlast.cli.screen.render import plural, print_document, saving
from outlast.codec.payload import Form
from outlast.core.errors import IntegrityError
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.intake.form_policy import FormWish
from outlast.ops import pack as ops

_Done: TypeAlias = Literal["packed", "unpacked"]
_PLANNED: Final[Mapping[_Done, Literal["would-be-packed", "would-be-unpacked"]]] = {
    "packed": "would-be-packed",
    "unpacked": "would-be-unpacked",
}


@click.command(
    epilog="""\b
Examples:
  outlast pack --dry-run                 print how much it would save
  outlast pack
  outlast pack me/my-finetune --base org/base
  outlast pack me/my-finetune --no-base  depend on no other model

\b
Exit status:
  0 done · 3 not archived · 4 damage found · 8 storage · 130 interrupted
"""
)
@click.argument("target", nargs=-1, type=TARGET)
@click.option(
    "--form",
    type=click.Choice([FormWish.AUTO.value, FormWish.CAPSULE.value]),
    default=FormWish.AUTO.value,
    help="auto: if it saves 3 % (default); capsule: if it saves anything",
)
@click.option(
    "--base",
    type=TARGET,
    help="Compress against this model, not the base_model that the model's README names",
)
@click.option(
    "--no-base", is_flag=True, help="Compress against no other model; re-encode delta capsules"
)
@click.option("--dry-run", is_flag=True, help="Encode and print the saving; write nothing")
@common
def pack(
    target: tuple[Target, ...],
    *,
    form: str,
    base: Target | None,
    no_base: bool,
    dry_run: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compress all archived files, or those of TARGET, losslessly.

    A compressed file (a capsule) can be read at any offset, served and run as before.

    A fine-tune is stored as a delta against its base if the archive holds the base. The plain file
    is deleted after its capsule was written, read back and compared with the sha256. Stop the
    command at any time and run it again. Files with hard links outside of the archive ('adopt',
    'link') are skipped, because packing them would free no space.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        wishes = form_wishes(run.config, form, base, no_base=no_base)
        changes = ops.pack(archive, target, wishes, dry_run=dry_run, control=run.control)
    _report(run, "packed", changes, dry_run=dry_run)
    return IntegrityError.exit_code if changes.problems else 0


@click.command(
    epilog="""\b
Examples:
  outlast unpack Qwen/Qwen3-0.6B
  outlast unpack

\b
Exit status:
  0 done · 3 not archived · 4 damage found · 8 storage · 130 interrupted
"""
)
@click.argument("target", nargs=-1, type=TARGET)
@click.option("--dry-run", is_flag=True, help="Print how much space it needs; change nothing")
@common
def unpack(
    target: tuple[Target, ...], *, dry_run: bool, home: str | None, as_json: bool, quiet: bool
) -> int:
    """Turn all capsules, or those of TARGET, back into plain files.

    Each file is decoded and compared with its sha256 before the capsule is deleted. Afterwards
    'outlast gc' deletes bases that neither a capsule nor a revision needs.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        changes = ops.unpack(archive, target, dry_run=dry_run, control=run.control)
    _report(run, "unpacked", changes, dry_run=dry_run)
    return IntegrityError.exit_code if changes.problems else 0


def _report(run: Session, what: _Done, changes: ops.Changes, *, dry_run: bool) -> None:
    done = [*changes.of(ops.Outcome.PACKED), *changes.of(ops.Outcome.UNPACKED)]
    before, after = sum(b.before for b in done), sum(b.after for b in done)
    linked = changes.of(ops.Outcome.LINKED)
    if run.as_json:
        print_document(
            RepackedDocument(
                type=_PLANNED[what] if dry_run else what,
                changed=len(done),
                thin=sum(blob.form is Form.DELTA for blob in done),
                before_bytes=before,
                after_bytes=after,
                already=len(changes.of(ops.Outcome.ALREADY)),
                unpaying=len(changes.of(ops.Outcome.UNPAYING)),
                linked=len(linked),
                linked_bytes=sum(blob.before for blob in linked),
                problems=changes.problems,
            )
        )
        return
    verb = f"would be {what}" if dry_run else what
    saved = f" ({saving(before, after)} saved)" if after < before else ""
    print(f"{plural(len(done), 'file')} {verb}: {human_size(before)} → {human_size(after)}{saved}")
    unpaying = changes.of(ops.Outcome.UNPAYING)
    if unpaying:
        run.say(f"{plural(len(unpaying), 'file')} would not be smaller and stay plain")
    if linked:
        size = human_size(sum(blob.before for blob in linked))
        run.say(
            f"{plural(len(linked), 'file')} ({size}) skipped: hard links outside of the "
            "archive keep the plain bytes"
        )
