"""Ours follows a catalogue."""

import time
from datetime import UTC, datetime
from pathlib import Path

from bench.trust.paths import PATHS
from outlast.features.trust.catalogue.places import FolderPlace
from outlast.features.trust.catalogue.sync import follow, sync


def measure(folder: Path, home: Path) -> dict[str, float]:
    """A full sync of the catalogue in `folder` into an empty archive in `home`, in seconds of CPU
    time.
    """
    home.mkdir()
    place, now = FolderPlace(folder), datetime.now(UTC)
    began = time.process_time()
    follow(home, "bench", place, (folder / "metadata" / "1.root.json").read_bytes(), now)
    done = sync(home, "bench", place, now)
    took = time.process_time() - began
    assert done.entries == len((folder.parent / PATHS).read_text().split())
    return {"seconds": took}
