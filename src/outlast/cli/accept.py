"""``outlast accept``."""

from collections.abc import Sequence

import click

from outlast.cli.documents.accepted import AcceptedDocument
from outlast.cli.edge import common, session
from outlast.cli.options.accepted import DIGEST_START
from outlast.cli.screen.render import print_document, print_table
from outlast.core.errors import UsageError
from outlast.ops import claims as ops
from outlast.store.words.accepted import Accepted

_SHOWN = 16


@click.command(
    epilog="""\b
Examples:
  outlast accept                          list what runs by your word
  outlast accept 3f0c55a1e2b94d07         let it run
  outlast accept 3f0c55a1e2b94d07 --undo  take that back

\b
Exit status:
  0 done · 2 usage · 3 no such manifest · 7 it is revoked · 8 storage
"""
)
@click.argument("digests", nargs=-1, type=DIGEST_START, metavar="[DIGEST]...")
@click.option("--undo", is_flag=True, help="Take it back: a claim is needed again")
@common
def accept(
    digests: tuple[str, ...], *, undo: bool, home: str | None, as_json: bool, quiet: bool
) -> None:
    """Let 'run' use revisions by your word alone, or list those that it does.

    Without rules of your own, 'run' asks for one of the claims published, observed and listed.
    What you added or adopted by hand runs by your word; anything else runs once you name the
    DIGEST of its manifest, of which the first 12 digits are enough. The word is for these files
    under this name. It does not change claims, lets nothing run that is revoked, and overrides no
    rule.
    """
    if undo and not digests:
        raise UsageError("--undo needs a DIGEST", hint="'outlast accept' lists them")
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
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
