"""``outlast export``."""

import dataclasses
import datetime as dt
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from outlast.cli.edge import TARGET, Session, SizeType, common, session
from outlast.cli.lists.read import list_option, read_list
from outlast.cli.options.revoked import accept, accept_option
from outlast.cli.screen.render import plural, print_document
from outlast.codec.bundle.contents import CATALOGUES
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.errors import BadConfigError, UsageError
from outlast.core.names import Target
from outlast.core.printable import printable
from outlast.core.sizes import human_size
from outlast.features.bundle.commands.documents import ExportedDocument
from outlast.features.bundle.commands.identity import IDENTITY, keyring
from outlast.features.bundle.export import ExportedBundle, export_bundle, media_of
from outlast.features.bundle.planning import ExportPlan, ExportWishes, make_plan
from outlast.features.bundle.program.wheel_names import PLATFORMS, Machine, machine
from outlast.features.bundle.sealing import sealed
from outlast.features.bundle.since import read_since
from outlast.features.bundle.tuning import TUNING
from outlast.ops.claims import claims_of
from outlast.sources.bundle.age import read_recipients
from outlast.store import disk

_MOST_PARITY: Final = 50.0


class PercentType(click.ParamType[float]):
    """``10%`` or ``10``."""

    name = "percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        del param, ctx
        try:
            found = float(str(value).removesuffix("%"))
        except ValueError:
            found = -1.0
        if not 0 <= found <= _MOST_PARITY:
            raise BadConfigError(
                f"not a percentage from 0 to {_MOST_PARITY:.0f}: {str(value)[:40]!r}",
                hint="write it like 10%",
            )
        return found


@click.command(
    "export",
    epilog="""\b
Examples:
  outlast export Qwen/Qwen3-0.6B --to /media/usb
  outlast export -f models.txt --to /media/usb --media 64GB
  outlast export -f models.txt --to /mnt/a --to /mnt/b --media 2TB
  outlast export -f models.txt --to /media/usb --since inventory.json
  outlast export -f models.txt --to /media/usb --bagit
  outlast export Qwen/Qwen3-0.6B --to /media/usb --encrypt age1…
  outlast export Qwen/Qwen3-0.6B-GGUF --to /media/usb --with-engine --python 3.11,3.13
  outlast export Qwen/Qwen3-0.6B --to /media/usb --catalogue acme
  outlast export Qwen/Qwen3-0.6B --to /media/usb --since last/bundle.json --dry-run

\b
Exit status:
  0 written · 2 usage · 3 not archived · 4 a blob is damaged · 5 transient (run again: it resumes)
  7 a model is private, gated, withdrawn or revoked · 8 storage · 130 interrupted
""",
)
@click.argument("targets", type=TARGET, nargs=-1, metavar="NAME...")
@list_option("Export all that this keep-list names, too (-: stdin)")
@click.option(
    "--to",
    "places",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="FOLDER",
    help="Where the medium is mounted (repeatable, with --media: one folder for each)",
)
@click.option("--plain", is_flag=True, help="Write plain files, not capsules")
@click.option(
    "--parity",
    type=PercentType(),
    default=f"{TUNING.parity_percent:.0f}%",
    show_default=True,
    metavar="PERCENT",
    help="How much of the parts may be damaged or lost; 0: none",
)
@click.option(
    "--part-size",
    type=SizeType(),
    default="3.9GB",
    show_default=True,
    metavar="SIZE",
    help="Largest file of the bundle; FAT32 takes files below 4 GiB",
)
@click.option("--media", type=SizeType(), metavar="SIZE", help="Spread over media of this size")
@click.option(
    "--since",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write only what is missing there: the bundle.json of the last bundle, or what 'outlast"
    " inventory' wrote",
)
@click.option("--bagit", is_flag=True, help="Write BagIt bags (RFC 8493): the bundle is in data/")
@click.option(
    "--encrypt",
    "recipients",
    multiple=True,
    metavar="RECIPIENT",
    help="Encrypt for this age or ssh public key, or those in a file (repeatable)",
)
@click.option("--identity", **IDENTITY)
@click.option(
    "--with-engine",
    is_flag=True,
    help="Put install.sh and wheels of outlast and its engine into the bundle",
)
@click.option(
    "--python",
    "pythons",
    metavar="3.11,3.12",
    help="For these versions  [default: that of this Python]",
)
@click.option(
    "--platform",
    "platforms",
    type=click.Choice(PLATFORMS),
    multiple=True,
    help="For this platform (repeatable)  [default: this one]",
)
@click.option(
    "--wheel",
    "own_wheels",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A wheel of outlast (repeatable)  [default: made of this installation]",
)
@click.option(
    "--wheels",
    "wheel_folders",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FOLDER",
    help="Take the other wheels from here (repeatable); ask no package index",
)
@click.option(
    "--catalogue",
    "catalogues",
    multiple=True,
    metavar="CATALOGUE",
    help="Bring this catalogue along: one that is followed or made here (repeatable)",
)
@click.option("--restricted", is_flag=True, help="Allow models that are private or gated")
@click.option("--dry-run", is_flag=True, help="Print what would be written; write nothing")
@accept_option
@common
def export(
    *,
    targets: tuple[Target, ...],
    file: str | None,
    places: tuple[Path, ...],
    plain: bool,
    parity: float,
    part_size: int,
    media: int | None,
    since: Path | None,
    bagit: bool,
    recipients: tuple[str, ...],
    identity: Path | None,
    with_engine: bool,
    pythons: str | None,
    platforms: tuple[str, ...],
    own_wheels: tuple[Path, ...],
    wheel_folders: tuple[Path, ...],
    catalogues: tuple[str, ...],
    restricted: bool,
    dry_run: bool,
    accepted: tuple[Digest, ...],
    home: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the models NAME to a bundle: a folder on removable media that 'outlast import' reads on
    the other side of an air gap, and that a person can check there without outlast.

    The revision that a name stands for goes as it is archived, with what its hub says of it. Blobs
    go in the form that they have here; a delta whose base does not go along, and is not there, goes
    as plain bytes. Every blob is checked while it is written: a damaged one ends the export.

    With --encrypt only those who have the key see what is in the bundle. Its size and number of
    parts show, and it is checked and repaired without a key. --identity opens an encrypted bundle
    that --since names.

    Parts are written one after the other, once. An interrupted export goes on with the same
    command: parts that are finished are read again and kept if they are right. With --media and one
    folder, the command asks for the next medium; with as many folders as there are media, it asks
    nothing.

    With --catalogue the signed files of a catalogue go along. The other side reads them with
    'catalogue sync' or 'catalogue follow bundle:CATALOGUE', and any client of TUF from the folder
    catalogues/ of the medium.

    With --with-engine the bundle brings outlast along: 'sh install.sh' installs it on the other
    side, without a network. pip downloads the wheels from the package index here, by hashes that
    came with outlast.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        lines = read_list(file) if file is not None else ()
        names = (*targets, *(line.target for line in lines))
        if not names:
            raise UsageError("nothing to export", hint="name a model, or a list with --file")
        accept(run, archive, accepted, names)
        program: dict[str, bytes] = {}
        if with_engine:
            from outlast.features.bundle.program.gather import (  # noqa: PLC0415 - few ask for it
                ProgramWishes,
                gather,
            )

            chosen = ProgramWishes(_machines(pythons, platforms), own_wheels, wheel_folders)
            program = gather(chosen, run.control)
        elif pythons or platforms or own_wheels or wheel_folders:
            raise UsageError("wheels go along with --with-engine alone")
        if program and recipients:
            raise UsageError("an encrypted bundle does not bring the program")
        known = read_since(since, keyring(run, identity))
        wishes = ExportWishes(
            plain,
            parity,
            part_size,
            restricted,
            known,
            program,
            tuple(sorted(set(catalogues))),
        )
        plan = make_plan(archive, names, wishes)
        if (assessor := run.assessor(archive)) is not None:
            digests = [revision.digest for revision in plan.revisions]
            claims = claims_of(archive, assessor, digests, run.control.cancel)
            plan = dataclasses.replace(plan, claims=claims)
        if recipients:
            plan = sealed(plan, read_recipients(recipients), wishes)
        parts = media_of(plan, media)
        ask = _next_medium(run, places, len(parts))
        if dry_run:
            _print(run, plan, None, media=len(parts))
            return
        done = export_bundle(
            archive,
            plan,
            places,
            ask,
            media=parts,
            bagit=bagit,
            control=run.control,
            now=dt.datetime.now(dt.UTC),
        )
        _print(run, plan, done, media=len(parts))


def _machines(pythons: str | None, platforms: Sequence[str]) -> list[Machine]:
    """Each Python on each platform."""
    return [
        machine(python, platform)
        for platform in dict.fromkeys(platforms or (None,))
        for python in dict.fromkeys(pythons.split(",") if pythons else (None,))
    ]


def _next_medium(run: Session, places: Sequence[Path], count: int) -> Callable[[int, int], Path]:
    """Where each medium is. Raises :class:`UsageError` where a person would have to be asked."""
    if len(places) not in {1, count}:
        raise UsageError(
            f"the bundle takes {plural(count, 'medium')}, and {len(places)} folders are named",
            hint="name one folder, or one for each medium",
        )
    if len(places) == count:
        return lambda number, _count: places[number - 1]
    if run.as_json or not sys.stdin.isatty():
        raise UsageError(
            f"the bundle takes {count} media, and there is no terminal to ask for them",
            hint="give --to once for each medium, or run the command in a terminal without --json",
        )
    asked = False

    def ask(number: int, count: int) -> Path:
        nonlocal asked
        if asked:  # the first one is there
            run.screen.settle()
            text = f"insert disk {number} of {count} at {places[0]} and press Enter"
            sys.stderr.write(printable(text) + ": ")
            sys.stderr.flush()
            sys.stdin.readline()
            run.control.cancel.check()
        asked = True
        if not places[0].is_dir():
            with disk.reporting(places[0]):
                places[0].mkdir(parents=True)
        return places[0]

    return ask


def _print(run: Session, plan: ExportPlan, done: ExportedBundle | None, *, media: int) -> None:
    contents, cut = plan.contents, plan.cut
    wheels = sum(record.path.endswith(".whl") for record in contents.records)
    catalogues = sorted(
        {
            record.path.split("/")[1]
            for record in contents.records
            if record.path.startswith(CATALOGUES)
        }
    )
    if run.as_json:
        print_document(
            ExportedDocument(
                type="export_plan" if done is None else "exported",
                id=plan.outer.id,
                contents=contents.id,
                encrypted=plan.seal is not None,
                sequence=contents.sequence,
                models=len(contents.models),
                revisions=len(plan.revisions),
                payloads=len(contents.payloads),
                payload_bytes=plan.payload_bytes,
                assumed=plan.assumed,
                parts=cut.data_parts,
                parity_parts=cut.parts - cut.data_parts,
                bytes=plan.total_bytes,
                media=media,
                wheels=wheels,
                catalogues=catalogues,
                kept=0 if done is None else done.kept,
                written_bytes=0 if done is None else done.written_bytes,
            )
        )
        return
    with_them = f"; {plural(len(catalogues), 'catalogue')}" if catalogues else ""
    capsules = sum(payload.form is Form.CAPSULE for payload in contents.payloads)
    what = (
        f"{plural(len(plan.revisions), 'revision')}: {plural(len(contents.payloads), 'blob')} "
        f"({capsules} as capsules), {human_size(plan.payload_bytes)}"
    )
    there = f"; {plural(plan.assumed, 'file')} are there already" if plan.assumed else ""
    parity = cut.parts - cut.data_parts
    there += with_them
    there += f"; install.sh and {plural(wheels, 'wheel')}" if wheels else ""
    where = (
        f"{plural(cut.data_parts, 'part')} and {parity} of parity, "
        f"{human_size(plan.total_bytes)}, on {plural(media, 'medium').replace('mediums', 'media')}"
    )
    if done is None:
        print(f"would export {what}{there}")
        print(f"  {where}")
        return
    kept = f" ({done.kept} were there and right)" if done.kept else ""
    verb = "exported" if plan.seal is None else "encrypted"
    run.say(f"{verb} {what}{there}; {where}{kept}")
    print(plan.outer.id)
