"""A process that publishes or syncs again and again, until it is killed."""

import itertools
import sys
from pathlib import Path

from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.sync import sync
from tests.features.trust.catalogue.shelf import NOW, Shelf, entry


def publishing(root: Path) -> None:
    shelf = Shelf(root)
    for number in itertools.count():
        shelf.publish(entry(f"b/{number}"))
        print(number, flush=True)


def syncing(home: Path, *folders: Path) -> None:
    """From one state of a catalogue to the next, and so on."""
    for folder in folders:
        print(sync(home, "acme", FolderPlace(folder), NOW).entries, flush=True)


if __name__ == "__main__":
    work, *folders = sys.argv[1:]
    if work == "publish":
        publishing(Path(folders[0]))
    else:
        syncing(*map(Path, folders))
