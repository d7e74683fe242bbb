"""``outlast accept``."""

from collections.abc import Sequence

import click

from outlast.cli.documents.accepted import AcceptedDocument, AllowedCodeDocument, CodeFilePart
from outlast.cli.edge import Session, common, session
from outlast.cli.options.accepted import DIGEST_START
from outlast.cli.screen.render import print_document, print_table
from outlast.core.errors import UsageError
from outlast.core.names import RepoId
from outlast.ops import claims as ops
from outlast.ops.words.code import allowed_code, forbid_code
from outlast.store.words.accepted import Accepted
from outlast.store.words.allowed_code import AllowedCode

_SHOWN = 16


@click.command(
    epilog="""\b
Examples:
  outlast accept                          list what runs by your word
  outlast accept 3f0c55a1e2b94d07         let it run
  outlast accept 3f0c55a1e2b94d07 --undo  take that back
  outlast accept --code                   list which models run with their own code

\b
Exit status:
  0 done · 2 usage · 3 no such manifest · 7 it is revoked · 8 storage
"""
)
@click.argument("digests", nargs=-1, type=DIGEST_START, metavar="[DIGEST]...")
@click.option("--undo", is_flag=True, help="Take it back: a claim is needed again")
@click.option(
    "--code",
    is_flag=True,
    help="List what 'run --allow-code' allowed; with --undo, take DIGEST of code back",
)
@common
def accept(
    digests: tuple[str, ...],
    *,
    undo: bool,
    code: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Let 'run' use revisions by your word alone, or list those that it does.

    Without rules of your own, 'run' asks for one of the claims published, observed and listed.
    What you added or adopted by hand runs by your word; anything else runs once you name the
    DIGEST of its manifest, of which the first 12 digits are enough. The word is for these files
    under this name. It does not change claims, lets nothing run that is revoked, and overrides no
    rule. It does not let code of the model run, either: 'run --allow-code' does.
    """
    if undo and not digests:
        raise UsageError("--undo needs a DIGEST", hint="'outlast accept' lists them")
    if code and digests and not undo:
        raise UsageError(
            "code is allowed where it runs", hint="outlast run TARGET --allow-code DIGEST"
        )
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        if code:
            undone = [forbid_code(archive, one) for one in digests]
            found = [pair for pairs in undone for pair in pairs] if undo else allowed_code(archive)
            _tell_code(run, found, undone=undo)
            return
        change = ops.take_back if undo else ops.accept_manifest
        changed = [change(archive, digest) for digest in digests]
        shown = changed if digests else ops.accepted(archive)
    if as_json:
        for one in shown:
            print_document(_document(one, undone=undo))
    elif digests:
        for one in changed:
            run.say(f"{'taken back' if undo else 'accepted'}: {one.repo}")
            print(one.manifest)
    else:
        _print(shown)


def _tell_code(run: Session, found: Sequence[tuple[RepoId, AllowedCode]], *, undone: bool) -> None:
    for repo, one in found if run.as_json else ():
        print_document(
            AllowedCodeDocument(
                repo=repo,
                digest=one.digest,
                files=[CodeFilePart(path=path, sha256=digest) for path, digest in one.files],
                since=one.since,
                undone=undone,
            )
        )
    if run.as_json:
        return
    if undone:
        for repo, one in found:
            run.say(f"taken back: the code of {repo}")
            print(one.digest)
        return
    rows = [
        (one.digest.hex[:_SHOWN], str(len(one.files)), one.since, str(repo)) for repo, one in found
    ]
    print_table([("CODE", "FILES", "SINCE", "MODEL"), *rows], right=(1,))


def _document(one: Accepted, *, undone: bool) -> AcceptedDocument:
    return AcceptedDocument(
        manifest=one.manifest,
        repo=one.repo,
        revision=one.commit,
        how=one.how,
        since=one.since,
        undone=undone,
    )


def _print(shown: Sequence[Accepted]) -> None:
    rows = [(one.manifest.hex[:_SHOWN], one.how.value, one.since, str(one.repo)) for one in shown]
    print_table([("MANIFEST", "HOW", "SINCE", "MODEL"), *rows])
