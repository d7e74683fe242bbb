"""``outlast scrub``."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from outlast.cli.config.file import parse_rate
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.options.duration import Duration
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import CorruptError
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.features.durability.commands.scrub_document import ScrubbedDocument
from outlast.features.durability.parity.keeper import ParityKeeper
from outlast.features.durability.scrub.cursor import ScrubCursor
from outlast.features.durability.scrub.found import Scrubbed
from outlast.features.durability.scrub.scrub import Helpers, ScrubWishes
from outlast.features.durability.scrub.scrub import scrub as run_scrub
from outlast.features.durability.settings import CopiesSettings
from outlast.store.archive import Archive
from outlast.store.layout import Layout

if TYPE_CHECKING:
    from outlast.features.durability.scrub.mender import Mender


@click.command(
    epilog="""\b
Examples:
  outlast scrub
  outlast scrub --max-duration 2h --limit-rate 100M
  outlast scrub --full Qwen/Qwen3-0.6B
  outlast scrub --no-mend --json
  outlast scrub --store s3://models/archive --max-duration 2h

\b
Exit status:
  0 nothing is damaged, or all of it is mended · 2 usage · 3 not archived · 4 damage is left
  5 another scrub is under way, or no answer from the store · 7 the store refuses · 8 storage
  130 interrupted (run again: it goes on)
"""
)
@click.argument("target", nargs=-1, type=TARGET)
@click.option("--full", is_flag=True, help="Compare the sha256 of every file, not its checksums")
@click.option(
    "--max-duration",
    type=Duration(),
    metavar="TIME",
    help="End after so long, as 2h, also within a large file; the next scrub goes on there",
)
@click.option("--limit-rate", metavar="RATE", help="Read at most this much a second, as 100M")
@click.option("--no-mend", is_flag=True, help="Report damage, and mend nothing")
@click.option("--store", metavar="URL", help="Read a second home, as s3://BUCKET, not the archive")
@common
def scrub(
    target: tuple[Target, ...],
    *,
    full: bool,
    max_duration: float | None,
    limit_rate: str | None,
    no_mend: bool,
    store: str | None,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Read all bytes of the archive, or those of TARGET, again; report damage, and mend it.

    Checksums of pieces and blocks are compared; with --full every file is hashed. The files that
    were checked longest ago come first, and a scrub that ended early goes on where it was. It reads
    from the disk, with the lowest priority. Manifests, refs and other records with their second
    copies, attestations, the sums of plain files and the index are checked each time.

    What is damaged is mended: from its parity, from what lies here (a second copy, a working copy,
    another form), and else from where the model came from, from static peers and neighbours, as a
    pull would ask them. Only the damaged pieces are fetched, and a file is replaced once all of it
    was verified. What cannot be mended stays damaged: it is not served, and a later scrub tries
    again.

    With the setting parity in [durability], parity is written of each file that lacks it, and
    written anew where it is damaged.

    With --store all of what 'outlast copy' put there is read and hashed, the files that were read
    longest ago first. What is damaged or missing there is put right from the archive here. That is
    traffic, which stores in a cloud charge for.

    'outlast serve' scrubs by itself, as the settings scrub and scrub-rate in [durability] say.
    """
    wishes = ScrubWishes(
        target, full, max_duration, parse_rate(limit_rate) if limit_rate is not None else 0
    )
    if store is not None:
        return _scrub_store(store, wishes, home, no_mend=no_mend, as_json=as_json, quiet=quiet)
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        with ScrubCursor(archive.layout.home) as cursor, _helpers(run, archive, no_mend) as helpers:
            share = run.config.features.get("durability", CopiesSettings()).scrub.parity
            parity = ParityKeeper(archive, share, changes=helpers is not None)
            result = run_scrub(archive, cursor, wishes, helpers, run.control, parity=parity)
        _print(run, result, wishes)
    return CorruptError.exit_code if result.damage_left else 0


def _scrub_store(
    url: str, wishes: ScrubWishes, home: str | None, *, no_mend: bool, as_json: bool, quiet: bool
) -> int:
    from outlast.app import open_archive  # noqa: PLC0415 - few scrub a store
    from outlast.features.durability.scrub.store import scrub_store  # noqa: PLC0415 - likewise

    wishes = replace(wishes, full=True)
    with session(home, as_json=as_json, quiet=quiet) as run:
        there = run.config.open_home(url)
        with open_archive(run.config.home, keep=False) as archive:
            if not Layout(run.config.home).marker.exists():
                run.say("no archive here: nothing is mended, and the next scrub begins anew")
            with ScrubCursor(archive.layout.home, store=there.name) as cursor:
                result = scrub_store(there, archive, cursor, wishes, run.control, mends=not no_mend)
        _print(run, result, wishes, there.name)
    return CorruptError.exit_code if result.damage_left else 0


@contextlib.contextmanager
def _helpers(run: Session, archive: Archive, no_mend: bool) -> Iterator[Helpers | None]:
    """What mends is loaded and opened with the first damage: where nothing is damaged, that would
    be most of the start.
    """
    if no_mend:
        yield None
        return
    with contextlib.ExitStack() as stack:

        @functools.cache
        def mender() -> "Mender":
            from outlast.features.durability.commands.open_mender import (  # noqa: PLC0415
                open_mender,
            )

            return stack.enter_context(open_mender(run, archive))

        yield Helpers(lambda blob: mender().mend(blob), lambda: mender().ask())


def _print(run: Session, result: Scrubbed, wishes: ScrubWishes, store: str = "") -> None:
    mended = len(result.found) - result.damage_left
    if run.as_json:
        print_document(
            ScrubbedDocument(
                store=store,
                mode="full" if wishes.full else "quick",
                files=result.files,
                bytes=result.size,
                seconds=round(result.seconds, 3),
                found=result.found,
                mended=mended,
                damage_left=result.damage_left,
                complete=not result.left,
                left=result.left,
                left_bytes=result.left_size,
                oldest_seconds=round(result.oldest, 1),
                parity_files=result.parity_files,
                parity_bytes=result.parity_size,
                parity_lacking=result.parity_lacking,
            )
        )
        return
    verdict = "nothing is damaged"
    if result.found:
        verdict = f"{len(result.found)} damaged: {mended} mended, {result.damage_left} left"
    if result.left:
        verdict += f"; {plural(result.left, 'file')}, {human_size(result.left_size)} to go"
    if result.parity_files:
        written = f"{plural(result.parity_files, 'file')}, {human_size(result.parity_size)}"
        verdict += f"; parity written ({written})"
    if result.parity_lacking:
        verdict += f"; {plural(result.parity_lacking, 'file')} without parity"
    print(f"{plural(result.files, 'file')}, {human_size(result.size)} read: {verdict}")
