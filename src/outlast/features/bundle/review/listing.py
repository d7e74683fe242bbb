"""The files of a bundle that is read, for a person who decides whether it may enter."""

from collections.abc import Sequence
from dataclasses import dataclass

from outlast.core.manifest import FileEntry, Revision
from outlast.sources.bundle.opened import OpenBundle


@dataclass(frozen=True, slots=True)
class BundledFile:
    """A file of a revision, and whether its bytes are `held` in the bundle."""

    revision: Revision
    entry: FileEntry
    held: bool


def list_files(bundle: OpenBundle) -> Sequence[BundledFile]:
    """The files that the manifests in a bundle name, each proved by the bundle's contents. Raises
    :class:`CorruptError` and :class:`MalformedError`.
    """
    return [
        BundledFile(revision, entry, entry.sha256 in bundle.payloads)
        for model in bundle.contents.models
        for digest in model.manifests
        if (revision := bundle.manifest(digest)) is not None
        for entry in revision.files
    ]
