"""An attacker's tools: catalogues signed with right keys that say wrong things."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from outlast.features.trust.catalogue.making.keyfiles import KeyRing
from outlast.features.trust.catalogue.making.own import read_own
from outlast.features.trust.catalogue.making.signing import meta_file, write_signed
from outlast.features.trust.catalogue.names import metadata_path
from tests.features.trust.catalogue.shelf import Shelf


def republish(
    shelf: Shelf,
    lists: dict[str, Targets],
    *,
    ring: KeyRing | None = None,
    edit: Callable[[Snapshot], None] = lambda _: None,
) -> None:
    """Puts these lists into a new snapshot and timestamp, signed by all keys that are here, without
    any of the checks of publishing.
    """
    keys = ring or shelf.ring()
    own = read_own(shelf.folder, shelf.now)
    snapshot, timestamp = own.trusted.snapshot, own.trusted.timestamp
    assert snapshot is not None
    assert timestamp is not None
    signers = keys.signers(_every_key(own.trusted.root, lists, own.trusted.targets))
    for name, targets in lists.items():
        old = snapshot.meta.get(f"{name}.json")
        targets.version = 1 if old is None else old.version + 1
        data = write_signed(targets, signers)
        _put(shelf.folder, name, targets.version, data)
        snapshot.meta[f"{name}.json"] = meta_file(targets.version, data)
    snapshot.version += 1
    edit(snapshot)
    data = write_signed(snapshot, signers)
    _put(shelf.folder, "snapshot", snapshot.version, data)
    timestamp.version += 1
    timestamp.snapshot_meta = meta_file(snapshot.version, data)
    _put(shelf.folder, "timestamp", None, write_signed(timestamp, signers))


def _every_key(root: Root, lists: dict[str, Targets], top: Targets) -> dict[str, Any]:
    keys = dict(root.keys)
    for targets in (top, *lists.values()):
        if targets.delegations is not None:
            keys |= targets.delegations.keys
    return keys


def _put(folder: Path, name: str, version: int | None, data: bytes) -> None:
    path = folder / metadata_path(name, version)
    path.write_bytes(data)


def rewrite(
    shelf: Shelf, name: str, version: int | None, change: Callable[[dict[str, Any]], None]
) -> None:
    """Changes the JSON of a file, whose signatures then do not hold."""
    path = shelf.folder / metadata_path(name, version)
    document = json.loads(path.read_bytes())
    change(document)
    path.write_bytes(json.dumps(document).encode())


def timestamp_of(folder: Path) -> Timestamp:
    metadata: Metadata[Timestamp] = Metadata.from_file(str(folder / "metadata/timestamp.json"))
    return metadata.signed
