"""Keeps the catalogues of a bundle apart, where a sync reads them. Nothing of them is believed."""

from collections.abc import Iterator, Sequence

from outlast.codec.bundle.contents import CATALOGUES, Record
from outlast.core.errors import MalformedError, OutlastError
from outlast.sources.bundle.opened import OpenBundle
from outlast.store.archive import Archive
from outlast.store.evidence.catalogues import MOST_BYTES, MOST_FILE, MOST_FILES, keep_brought


def take_catalogues(
    archive: Archive, bundle: OpenBundle
) -> Iterator[tuple[str, OutlastError | None]]:
    """Keeps each catalogue as a whole; its name, and why it was not kept."""
    found: dict[str, list[Record]] = {}
    for record in bundle.contents.records:
        if record.path.startswith(CATALOGUES):
            name = record.path.removeprefix(CATALOGUES).partition("/")[0]
            found.setdefault(name, []).append(record)
    for name, records in found.items():
        try:
            _keep(archive, bundle, name, records)
        except OutlastError as error:
            yield name, error
        else:
            yield name, None


def _keep(archive: Archive, bundle: OpenBundle, name: str, records: Sequence[Record]) -> None:
    """Raises :class:`MalformedError` for what is larger than any catalogue, before it is read."""
    total = sum(record.size for record in records)
    largest = max(record.size for record in records)
    if largest > MOST_FILE or total > MOST_BYTES or len(records) > MOST_FILES:
        raise MalformedError("a catalogue that is larger than any may be")
    prefix = f"{CATALOGUES}{name}/"
    files = {one.path.removeprefix(prefix): bundle.record(one) for one in records}
    keep_brought(archive.layout.home, name, files)
