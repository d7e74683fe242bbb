"""Copies a catalogue to a folder that any web server serves, or that a disk or bundle carries."""

import shutil
from datetime import datetime
from pathlib import Path

from outlast.core.cancel import Cancel
from outlast.core.errors import CatalogueRefusedError
from outlast.features.trust.catalogue.folders import read_small, write_small
from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.names import metadata_path, target_path
from outlast.features.trust.catalogue.trusted import ROOT, SNAPSHOT, TIMESTAMP
from outlast.features.trust.catalogue.tuning import TUNING
from outlast.store import disk


def copy_to(folder: Path, to: Path, now: datetime, cancel: Cancel) -> int:
    """Copies what the timestamp refers to, and this last; returns how many files were new."""
    own = read_own(folder, now)
    snapshot = own.trusted.snapshot
    assert snapshot is not None
    paths = [target_path(entry.name.path, entry.manifest.hex) for entry in own.entries()]
    paths += [metadata_path(ROOT, version + 1) for version in range(own.root.version)]
    paths += [metadata_path(n.removesuffix(".json"), m.version) for n, m in snapshot.meta.items()]
    paths.append(metadata_path(SNAPSHOT, snapshot.version))
    count = 0
    for path in paths:
        cancel.check()
        count += _copy(folder / path, to / path)
    stamp = read_small(folder / metadata_path(TIMESTAMP, None), TUNING.timestamp)
    if stamp is None:
        raise CatalogueRefusedError(f"the catalogue in {folder} has no timestamp")
    write_small(to / metadata_path(TIMESTAMP, None), stamp)
    return count + 1


def _copy(source: Path, final: Path) -> bool:
    """Whether it was not there. Names have versions or digests in them: a file does not change."""
    with disk.reporting(final):
        if final.exists() and final.stat().st_size == source.stat().st_size:
            return False
        if not source.exists():  # a list of bins that are no more in use
            return False
        disk.make_dir(final.parent)
        temp = final.with_name(f".{final.name}.new")
        shutil.copyfile(source, temp)
        with temp.open("rb") as file:
            disk.fsync(file.fileno())
        disk.publish(temp, final)
    return True
