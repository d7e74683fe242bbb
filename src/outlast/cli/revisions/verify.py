"""``outlast verify``."""

from collections.abc import Iterable

import click

from outlast.cli.documents.parts import warnings_of
from outlast.cli.documents.verified import VerifiedDocument
from outlast.cli.edge import TARGET, common, session
from outlast.cli.revisions.who import explain
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import ExhaustedError, IntegrityError, UsageError
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.ops import verify as ops


@click.command(
    epilog="""\b
Examples:
  outlast verify
  outlast verify Qwen/Qwen3-0.6B
  outlast verify --quarantine     then pull again to replace what was damaged
  outlast verify --who Qwen/Qwen3-0.6B

\b
Exit status:
  0 intact · 3 not archived · 4 damage found · 5 busy: not all could be read
  7 --who: revoked · 8 storage · 130 interrupted
"""
)
@click.argument("target", nargs=-1, type=TARGET)
@click.option("--quarantine", is_flag=True, help="Move damaged files to the quarantine folder")
@click.option(
    "--who",
    is_flag=True,
    help="Read no file: say who vouches for each revision, by which key, and what is missing",
)
@click.option("--store", metavar="URL", help="Check what 'outlast copy' put there, as s3://BUCKET")
@common
def verify(
    target: tuple[Target, ...],
    *,
    quarantine: bool,
    who: bool,
    store: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Re-hash all archived files, or those of TARGET, and report damage.

    The working copies of capsules are read too; --quarantine deletes a damaged one, because 'link'
    and 'run' make it again.
    With --store all bytes of a second home are read, which may cost money, and nothing here.
    Files that are intact and not what their names say (as an error page in place of weights) are
    warnings. Without --quarantine the command changes nothing.

    With --who no file is read. Of each revision four claims are explained, which never mean the
    same: intact (the bytes are those of the manifest), published (a pinned key of the publisher
    signed it), observed (named observers saw a hub list it), listed (a followed catalogue has it).
    A revision that is not intact, or is revoked, makes the exit status 4 or 7.
    """
    if who:
        if quarantine or store is not None:
            raise UsageError("--who reads no file: it goes without --quarantine and --store")
        return explain(target, home, as_json=as_json, quiet=quiet)
    if store is not None:
        if quarantine:
            raise UsageError("--quarantine is for this archive, not for a store")
        return _verify_store(target, store, home, as_json=as_json, quiet=quiet)
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        result = ops.verify(archive, target, quarantine=quarantine, control=run.control)
    if as_json:
        print_document(
            VerifiedDocument(
                blobs=result.blobs,
                bytes=result.size,
                problems=result.problems,
                warnings=warnings_of(result.suspects),
            )
        )
    else:
        verdict = plural(len(result.problems), "problem") if result.problems else "all intact"
        verdict += f", {plural(len(result.suspects), 'warning')}" if result.suspects else ""
        print(f"{plural(result.blobs, 'blob')}, {human_size(result.size)} read: {verdict}")
    return verdict_status(problem.code for problem in result.problems)


def _verify_store(
    target: tuple[Target, ...], url: str, home: str | None, *, as_json: bool, quiet: bool
) -> int:
    from outlast.ops.second_home.check import check  # noqa: PLC0415 - for this option alone

    with session(home, as_json=as_json, quiet=quiet) as run:
        there = run.config.open_home(url)
        result = check(there, target, run.control)
    if as_json:
        print_document(
            VerifiedDocument(
                blobs=result.blobs, bytes=result.size, problems=result.problems, warnings=[]
            )
        )
    else:
        verdict = plural(len(result.problems), "problem") if result.problems else "all intact"
        print(
            f"{plural(result.revisions, 'revision')}, {plural(result.blobs, 'blob')}, "
            f"{human_size(result.size)} read: {verdict}"
        )
    return verdict_status(problem.code for problem in result.problems)


def verdict_status(codes: Iterable[str]) -> int:
    """The exit status for problems with these codes: a shortage of files or memory is no damage."""
    found = set(codes)
    if not found:
        return 0
    return ExhaustedError.exit_code if found == {ExhaustedError.code} else IntegrityError.exit_code
