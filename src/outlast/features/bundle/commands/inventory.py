"""``outlast inventory``."""

import sys

import click

from outlast.cli.edge import common, session
from outlast.cli.screen.render import plural, print_document
from outlast.features.bundle.commands.documents import InventoryDocument
from outlast.features.bundle.inventory import take_inventory


@click.command(
    epilog="""\b
Examples:
  outlast inventory > /media/usb/inventory.json
  outlast export -f models.txt --to /media/usb --since /media/usb/inventory.json

\b
Exit status:
  0 written · 3 no archive · 4 its records are damaged · 8 storage
"""
)
@common
def inventory(*, home: str | None, as_json: bool, quiet: bool) -> None:
    """Write which manifests and blobs this archive has, by their sha256: for 'outlast export
    --since' on the other side of an air gap. It names no model.

    Nothing is read again: 'outlast verify' finds damage. With --json the inventory is not written,
    only what it would hold.
    """
    with session(home, as_json=as_json, quiet=quiet) as run, run.archive() as archive:
        found = take_inventory(archive)
        if as_json:
            print_document(
                InventoryDocument(
                    check=found.check, blobs=len(found.blobs), manifests=len(found.manifests)
                )
            )
            return
        sys.stdout.buffer.write(found.to_bytes() + b"\n")
        run.say(f"{plural(len(found.blobs), 'blob')}, {plural(len(found.manifests), 'manifest')}")
