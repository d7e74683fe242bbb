"""``outlast scrub``."""

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from outlast.cli.config.file import parse_rate
from outlast.cli.edge import TARGET, Session, common, session
from outlast.cli.screen.render import plural, print_document
from outlast.core.errors import CorruptError, UsageError
from outlast.core.names import Target
from outlast.core.sizes import human_size
from outlast.features.durability.commands.scrub_document import ScrubbedDocument
from outlast.features.durability.scrub.cursor import ScrubCursor
from outlast.features.durability.scrub.found import Scrubbed
from outlast.features.durability.scrub.scrub import Helpers, ScrubWishes
from outlast.features.durability.scrub.scrub import scrub as run_scrub
from outlast.store.archive import Archive

if TYPE_CHECKING:
    from outlast.features.durability.scrub.mender import Mender

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """``90``, ``30m``, ``2h``: seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        del param, ctx
        text = str(value)
        unit = _UNITS.get(text[-1:], 0.0)
        try:
            found = float(text[:-1]) * unit if unit else float(text)
        except ValueError:
            found = -1.0
        if not 0 <= found < 1e9:
            raise UsageError(f"not a duration: {text[:60]!r}", hint="write it as 90, 30m or 2h")
        return found


@click.command(
    epilog="""\b
Examples:
  outlast scrub
  outlast scrub --max-duration 2h --limit-rate 100M
  outlast scrub --full Qwen/Qwen3-0.6B
  outlast scrub --no-mend --json

\b
Exit status:
  0 nothing is damaged, or all of it is mended · 2 usage · 3 not archived · 4 damage is left
  5 another scrub is under way · 8 storage · 130 interrupted (run again: it goes on)
"""
)
@click.argument("target", nargs=-1, type=TARGET)
@click.option("--full", is_flag=True, help="Compare the sha256 of every file, not its checksums")
@click.option(
    "--max-duration",
    type=Duration(),
    metavar="TIME",
    help="Begin no new file after so long, as 2h; the next scrub goes on",
)
@click.option("--limit-rate", metavar="RATE", help="Read at most this much a second, as 100M")
@click.option("--no-mend", is_flag=True, help="Report damage, and mend nothing")
@common
def scrub(
    target: tuple[Target, ...],
    *,
    full: bool,
    max_duration: float | None,
    limit_rate: str | None,
    no_mend: bool,
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Read all bytes of the archive, or those of TARGET, again; report damage, and mend it.

    Checksums of pieces and blocks are compared; with --full every file is hashed. The files that
    were checked longest ago come first, and a scrub that ended early goes on where it was. It reads
    from the disk, with the lowest priority. Manifests, refs and other records with their second
    copies, the sums of plain files and the index are checked each time.

    What is damaged is mended: from what lies here (a second copy, a working copy, another form),
    and else from where the model came from, from static peers and neighbours, as a pull would ask
    them. Only the damaged pieces are fetched, and a file is replaced once all of it was verified.
    What cannot be mended stays damaged: it is not served, and a later scrub tries again.

    'outlast serve' scrubs by itself, as the settings scrub and scrub-rate in [durability] say.
    """
    wishes = ScrubWishes(
        target, full, max_duration, parse_rate(limit_rate) if limit_rate is not None else 0
    )
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        with ScrubCursor(archive.layout.home) as cursor, _helpers(run, archive, no_mend) as helpers:
            result = run_scrub(archive, cursor, wishes, helpers, run.control)
        _print(run, result, wishes)
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


def _print(run: Session, result: Scrubbed, wishes: ScrubWishes) -> None:
    mended = len(result.found) - result.damage_left
    if run.as_json:
        print_document(
            ScrubbedDocument(
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
            )
        )
        return
    verdict = "nothing is damaged"
    if result.found:
        verdict = f"{len(result.found)} damaged: {mended} mended, {result.damage_left} left"
    if result.left:
        verdict += f"; {plural(result.left, 'file')}, {human_size(result.left_size)} to go"
    print(f"{plural(result.files, 'file')}, {human_size(result.size)} read: {verdict}")
