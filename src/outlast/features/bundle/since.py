"""What a bundle may leave out, read from the last bundle or an inventory."""

import contextlib
from pathlib import Path

from outlast.codec.bundle.contents import BundleContents
from outlast.codec.bundle.documents import (
    BUNDLE_FILE,
    INVENTORY_TYPE,
    MAX_INVENTORY,
    ArchiveInventory,
    BundleFile,
)
from outlast.codec.bundle.sealed import SealedContents
from outlast.core.errors import NotFoundError
from outlast.features.bundle.planning import Known
from outlast.sources.bundle.age import NO_KEYS, Keyring
from outlast.sources.bundle.media import read_small
from outlast.sources.bundle.opened import open_media
from outlast.store import disk


def read_since(path: Path | None, keys: Keyring = NO_KEYS) -> Known:
    """What the reader has, as a file says: the `bundle.json` of a bundle (also by its folder), or
    an inventory. An encrypted bundle is read from its folder, with one of the `keys`. Raises
    :class:`NotFoundError`, :class:`MalformedError` and :class:`LockedError`.
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
    outer = BundleFile.from_bytes(data).contents
    if isinstance(outer, SealedContents):
        return Known.of_bundle(_unlocked(place.parent, outer, keys))
    return Known.of_bundle(outer)


def _unlocked(folder: Path, outer: SealedContents, keys: Keyring) -> BundleContents:
    """What an encrypted bundle holds, from the cells at its start."""
    media = open_media([folder], keys)
    with contextlib.ExitStack() as stack:
        bundles = [stack.enter_context(bundle) for bundle in media.bundles]
        return next(bundle.contents for bundle in bundles if bundle.id == outer.id)
