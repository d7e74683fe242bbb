"""``outlast quarantine``."""

import datetime as dt
from collections.abc import Iterable

import click

from outlast.cli.documents.quarantined import AllowedDocument, QuarantinedDocument
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.options.revoked import DigestType
from outlast.cli.screen.render import print_document
from outlast.core.digest import Digest
from outlast.core.errors import one_line
from outlast.core.names import Target
from outlast.intake.formats.allowed import AllowedFile
from outlast.ops.words import quarantine as ops
from outlast.ops.words.quarantine import QuarantinedFile

_DIGESTS = click.argument(
    "digests", metavar="DIGEST...", type=DigestType("a file"), nargs=-1, required=True
)


@click.group(
    epilog="""\b
Examples:
  outlast quarantine ls org/name
  outlast quarantine allow 5f1d…
  outlast quarantine ls
  outlast quarantine undo 5f1d…

\b
Exit status:
  0 done · 2 usage · 3 not archived, or not allowed before · 4 damage found · 8 storage
"""
)
def quarantine() -> None:
    """Show which files are in quarantine, and allow some of them by digest.

    Pickles (.bin and .pt files of PyTorch, .pkl …), and archives that may have some inside, are
    archived and verified as other files are. No program gets them: 'link' and 'run' leave them
    out, 'serve' answers HTTP 403, open_file() refuses. Other archives get them, by bundles, nodes,
    copies and pulls.
    """


@quarantine.command()
@click.argument("target", type=TARGET, required=False)
@common
def ls(target: Target | None, *, home: str | None, as_json: bool, quiet: bool) -> None:
    """List the files of TARGET that are in quarantine; without TARGET, all digests that are
    allowed.
    """
    with (
        session(home, as_json=as_json, quiet=quiet) as run,
        run.archive(create=False) as archive,
    ):
        if target is None:
            _tell(run, ops.allowed_files(archive), "allowed since {}")
            return
        found = ops.in_quarantine(archive, target)
        for one in found:
            _tell_file(run, one)
        if not found:
            run.say(f"no file of {target} is in quarantine")


@quarantine.command()
@_DIGESTS
@common
def allow(digests: tuple[Digest, ...], *, home: str | None, as_json: bool, quiet: bool) -> None:
    """Allow files by their sha256: programs get these bytes from now on, in every model."""
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        done = ops.allow(archive, digests, dt.datetime.now(dt.UTC).date())
        _tell(run, done, "allowed since {}")


@quarantine.command()
@_DIGESTS
@common
def undo(digests: tuple[Digest, ...], *, home: str | None, as_json: bool, quiet: bool) -> None:
    """Put files back into quarantine. Links that were made meanwhile stay."""
    with (
        session(home, as_json=as_json, quiet=quiet) as run,
        run.archive(create=False) as archive,
    ):
        _tell(run, ops.undo(archive, digests), "in quarantine again, was allowed since {}", False)


def _tell(run: Session, files: Iterable[AllowedFile], words: str, is_allowed: bool = True) -> None:
    for one in files:
        if run.as_json:
            print_document(
                AllowedDocument(digest=one.digest, day=one.day, what=one.what, allowed=is_allowed)
            )
        else:
            print(one_line(f"{one.digest.hex}  {words.format(one.day)}: {one.what}"))


def _tell_file(run: Session, one: QuarantinedFile) -> None:
    if run.as_json:
        print_document(
            QuarantinedDocument(
                repo=one.repo,
                path=one.entry.path,
                digest=one.entry.sha256,
                size=one.entry.size,
                reason=one.reason,
                twin=one.twin,
                allowed=one.allowed,
            )
        )
        return
    digest = "" if one.entry.sha256 is None else one.entry.sha256.hex
    state = "allowed" if one.allowed else "in quarantine"
    use = f"; use {one.twin}" if one.twin else ""
    print(one_line(f"{digest}  {state}: {one.entry.path}: {one.reason}{use}"))
