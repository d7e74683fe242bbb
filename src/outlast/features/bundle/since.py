"""What a bundle may leave out, read from the last bundle or an inventory."""

from pathlib import Path

from outlast.codec.bundle.documents import (
    BUNDLE_FILE,
    INVENTORY_TYPE,
    MAX_INVENTORY,
    ArchiveInventory,
    BundleFile,
)
from outlast.core.errors import NotFoundError
from outlast.features.bundle.planning import Known
from outlast.sources.bundle.media import read_small
from outlast.store import disk


def read_since(path: Path | None) -> Known:
    """What the reader has, as a file says: the `bundle.json` of a bundle (also by its folder), or
    an inventory. Raises :class:`NotFoundError` and :class:`MalformedError`.
    """
    if path is None:
        return Known()
    with disk.reporting(path):
        place = path / BUNDLE_FILE if path.is_dir() else path
        data = read_small(place, MAX_INVENTORY)
    if data is None:
        raise NotFoundError(
            f"no bundle.json or inventory at {place}",
            hint="'outlast inventory' writes one on the other side",
        )
    if INVENTORY_TYPE.encode() in data[-200:]:  # canonical: the type comes last
        return Known.of_inventory(ArchiveInventory.from_bytes(data))
    return Known.of_bundle(BundleFile.from_bytes(data))
