"""``outlast import``."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from outlast.cli.edge import Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import one_line
from outlast.core.printable import printable
from outlast.core.sizes import human_size
from outlast.features.bundle.commands.documents import (
    ImportedDocument,
    ListedDocument,
    ListedFile,
    RefusedPart,
)
from outlast.features.bundle.commands.identity import IDENTITY, keyring
from outlast.features.bundle.importing import Imported, Refused, import_bundle
from outlast.features.bundle.review.listing import list_files
from outlast.ops.claims import remember_revocations
from outlast.sources.bundle.opened import OpenBundle, open_media

_NOT_WHOLE: Final = 4


@click.command(
    "import",
    epilog="""\b
Examples:
  outlast import /media/usb
  outlast import /mnt/disk1 /mnt/disk2
  outlast import /media/usb --json
  outlast import /media/usb --list
  outlast import /media/usb --identity key.txt

\b
Exit status:
  0 all of it is in the archive · 2 usage · 3 no bundle there · 4 something was refused, or is
  missing on these media · 7 against a rule · 8 storage · 130 interrupted
""",
)
@click.argument("folders", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--identity", **IDENTITY)
@click.option("--list", "listing", is_flag=True, help="Print what the bundle holds; import nothing")
@common
def import_(
    *,
    folders: tuple[Path, ...],
    identity: Path | None,
    listing: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Archive what the bundle in FOLDERS holds, one folder for each medium, in any order.

    Every file is compared with its sha256 before it is kept. Parts that are damaged or lost are
    restored from parity, as long as all media are named at once. What cannot be restored is
    refused, and named; the rest is archived, and the same command goes on from there.

    A branch or tag moves forward only: where this archive saw it later than the bundle says, it
    stays. What is private or gated on either side is so afterwards. Nothing in a bundle is run, and
    no link in it is followed. An encrypted bundle needs --identity, or 'identity' in the
    configuration.
    """
    with session(home, as_json=as_json, quiet=quiet) as run:
        media = open_media(folders, keyring(run, identity))
        with contextlib.ExitStack() as stack:
            for bundle in media.bundles:
                stack.enter_context(bundle)
            if listing:
                for bundle in media.bundles:
                    _list(run, bundle)
                return 0
            archive = stack.enter_context(run.archive(create=True))
            results = [import_bundle(archive, bundle, run.control) for bundle in media.bundles]
            assessor = run.assessor(archive)
            if assessor is not None and any(result.statements for result in results):
                remember_revocations(archive, assessor, run.control.cancel)
        run.screen.settle()
        for result in results:
            _print(run, result, media.left_out)
        return 0 if all(result.is_whole for result in results) else _NOT_WHOLE


def _print(run: Session, result: Imported, left_out: Sequence[str]) -> None:
    contents = result.bundle.contents
    if run.as_json:
        print_document(
            ImportedDocument(
                id=result.bundle.id,
                contents=contents.id,
                sequence=contents.sequence,
                new=[f"{rev.repo}@{rev.id}" for rev in result.new],
                already=len(result.revisions) - len(result.new),
                unfinished=[f"{rev.repo}@{rev.id}" for rev in result.unfinished],
                new_blobs=result.new_blobs,
                new_bytes=result.new_bytes,
                had_files=result.had_files,
                refs=result.moved,
                kept_refs=[_part(one) for one in result.kept],
                refused=[_part(one) for one in result.refused],
                repaired_blocks=result.repaired,
                statements=result.statements,
                catalogues=result.catalogues,
                left_out=left_out,
            )
        )
        return
    for text in left_out:
        run.say(f"left out: {one_line(text)}")
    for one in result.kept:
        run.say(f"{one.what} stays: {one.reason}")
    for one in result.refused:
        run.say(f"refused: {one.what}: {one.reason}")
    if result.repaired:
        run.say(f"restored from parity: {plural(result.repaired, 'block')}")
    if result.statements:
        said = plural(result.statements, "statement")
        run.say(f"{said} came along; 'outlast verify --who' says what they prove")
    for name in result.catalogues:
        run.say(f"the catalogue {name} came along: 'outlast catalogue sync {name}' reads it")
    already = len(result.revisions) - len(result.new)
    had = f", {already} were here already" if already else ""
    unfinished = f"; {len(result.unfinished)} are not complete" if result.unfinished else ""
    run.say(
        f"imported bundle {contents.id.short}: {plural(len(result.new), 'new revision')}{had}"
        f"{unfinished}; {plural(result.new_blobs, 'new blob')}, {human_size(result.new_bytes)}"
    )
    for revision in result.revisions:
        print(f"{revision.repo}@{revision.id}")


def _list(run: Session, bundle: OpenBundle) -> None:
    found = list_files(bundle)
    if run.as_json:
        files = [
            ListedFile(
                model=str(one.revision.repo),
                commit=one.revision.id.hex,
                path=one.entry.path,
                size=one.entry.size,
                sha256=one.entry.sha256,
                held=one.held,
            )
            for one in found
        ]
        print_document(
            ListedDocument(
                id=bundle.id,
                contents=bundle.contents.id,
                sequence=bundle.contents.sequence,
                files=files,
            )
        )
        return
    print(f"bundle {bundle.id}, sequence {bundle.contents.sequence}")
    for one in found:
        where = "" if one.held else "  (not in this bundle)"
        name = printable(f"{one.revision.repo}@{one.revision.id.hex[:12]}/{one.entry.path}")
        print(f"{one.entry.sha256}  {one.entry.size:>14}  {name}{where}")


def _part(refused: Refused) -> RefusedPart:
    return RefusedPart(what=refused.what, reason=refused.reason, code=refused.code)
