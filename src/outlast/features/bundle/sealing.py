"""Plans the encryption of a bundle, and keeps its key while the export is unfinished: parts that an
earlier run wrote can then be opened and checked. The key lies in the archive, which has what it
protects in clear anyway, and goes when the bundle is complete.
"""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import rfc8785

from outlast.codec.bundle.cell_stream import cells_of
from outlast.codec.bundle.checked import fields
from outlast.codec.bundle.documents import BUNDLE_FILE, MAX_BUNDLE_FILE, BundleFile
from outlast.codec.bundle.geometry import choose_layout
from outlast.codec.bundle.sealed import MIN_CELL, Envelope, SealedContents
from outlast.core.errors import OutlastError, StorageError, UsageError
from outlast.core.manifest import load_json
from outlast.features.bundle.part_file import UNFINISHED
from outlast.features.bundle.planning import ExportPlan, ExportWishes, Seal
from outlast.features.bundle.tuning import TUNING, Tuning
from outlast.sources.bundle.age import PairedKey, seal_envelope
from outlast.sources.bundle.media import read_small
from outlast.store import disk
from outlast.store.archive import Archive

_log = logging.getLogger(__name__)
_FOLDER: Final = "exports"
_MOST: Final = 64 * 1024
_ENVELOPE: Final = "envelope"
_RECIPIENTS: Final = "recipients"


def sealed(
    plan: ExportPlan, recipients: Sequence[str], wishes: ExportWishes, tuning: Tuning = TUNING
) -> ExportPlan:
    """The plan, encrypted for `recipients` with a new key. Raises :class:`UsageError` where parts
    are too small.
    """
    contents = plan.contents
    envelope = Envelope(
        PairedKey().secret, contents.id, len(contents.encoded), contents.geometry.stream
    )
    found = _cut(envelope, seal_envelope(envelope, recipients), wishes, tuning)
    return replace(plan, seal=Seal(found, envelope, tuple(recipients)))


def _cut(
    envelope: Envelope, encrypted: bytes, wishes: ExportWishes, tuning: Tuning
) -> SealedContents:
    """The outer contents with the layout that suits the outer stream, whose length follows from
    it: it is chosen anew until the stream is no longer than it was for.
    """
    stream = envelope.stream
    while True:
        try:
            layout = choose_layout(
                stream,
                part_size=wishes.part_size,
                parity_percent=wishes.parity,
                least=tuning.least_parts,
                smallest=MIN_CELL,
            )
        except ValueError as error:
            hint = "give --part-size or --parity another value"
            raise UsageError(str(error), hint=hint) from None
        found = SealedContents(layout, 0, encrypted)
        found = replace(found, cells=cells_of(envelope.stream, found.room))
        if found.geometry.stream <= stream:
            return found
        stream = found.geometry.stream


def begun(archive: Archive, plan: ExportPlan, folders: Sequence[Path]) -> ExportPlan:
    """The plan as an earlier run of the same export began it in one of the folders, whose key the
    archive still has; else the plan as it is, and the archive keeps its key from now on.
    """
    assert plan.seal is not None
    for folder in folders:
        with contextlib.suppress(OutlastError):
            data = read_small(folder / BUNDLE_FILE, MAX_BUNDLE_FILE)
            document = None if data is None else BundleFile.from_bytes(data)
            if document is not None and isinstance(document.contents, SealedContents):
                seal = _kept(archive, document.contents)
                if seal is not None and _is_same(seal, plan.seal):
                    return replace(plan, seal=seal)
    _keep(archive, plan.seal)
    return plan


def forget(archive: Archive, seal: Seal) -> None:
    """The bundle is complete: its key is the recipients' alone from now on."""
    path = _path(archive, seal.contents)
    with disk.reporting(path):
        disk.remove(path)


def _is_same(seal: Seal, other: Seal) -> bool:
    return (
        replace(seal.envelope, key="") == replace(other.envelope, key="")
        and seal.recipients == other.recipients
        and seal.contents.layout == other.contents.layout
    )


def _path(archive: Archive, contents: SealedContents) -> Path:
    return archive.layout.home / _FOLDER / f"{contents.id}.json"


def _kept(archive: Archive, contents: SealedContents) -> Seal | None:
    data = read_small(_path(archive, contents), _MOST)
    if data is None:
        return None
    said = fields(load_json(data, _MOST), {_ENVELOPE, _RECIPIENTS})
    envelope = Envelope.from_bytes(said.text(_ENVELOPE).encode())
    return Seal(contents, envelope, tuple(said.texts(_RECIPIENTS)))


def _keep(archive: Archive, seal: Seal) -> None:
    path = _path(archive, seal.contents)
    said = {_ENVELOPE: seal.envelope.to_bytes().decode(), _RECIPIENTS: [*seal.recipients]}
    temp = path.with_name(path.name + UNFINISHED)
    try:
        with disk.reporting(path):
            disk.make_dir(path.parent)
            disk.write_temp(temp, rfc8785.dumps(said), disk.PRIVATE)
            disk.publish(temp, path)
    except StorageError as error:  # an archive that is read-only
        _log.info("the export cannot be gone on with if it is interrupted: %s", error)
