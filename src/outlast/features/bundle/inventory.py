"""What an archive holds, for the other side of an air gap."""

from outlast.codec.bundle.documents import ArchiveInventory
from outlast.store.archive import Archive


def take_inventory(archive: Archive) -> ArchiveInventory:
    """The blobs that are here with all that they depend on, and the manifests. Nothing is read
    again: `outlast verify` does that.
    """
    is_here = archive.forms.is_here
    blobs = {blob.digest for blob in archive.blobs() if is_here(blob.digest, blob.size)}
    manifests = {found.digest for found in archive.summaries() if found.digest is not None}
    return ArchiveInventory(frozenset(blobs), frozenset(manifests))
