"""Manifests: each is compared with its name, and a damaged one is made again from what the index, a
hub or other nodes know of it. Its name says whether that is right, to the last bit.
"""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outlast.core.cancel import Cancel
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, NotArchivedError, OutlastError
from outlast.core.manifest import Revision
from outlast.features.durability.scrub.found import DamagedPart, FoundDamage
from outlast.features.durability.scrub.tuning import TUNING
from outlast.fetch.mending import tellers_of
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.sources.base import Source, may_learn
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.index import Summary, load_manifest

if TYPE_CHECKING:  # a scrub that finds nothing asks no node
    from outlast.node.scope import Neighbourhood

_log = logging.getLogger(__name__)
_DESCRIBES = 20.0
"""Seconds that a source may take."""


@dataclass(frozen=True, slots=True)
class Askable:
    """Who may be asked, as far as a model allows."""

    sources: Sequence[Source] = ()
    around: "Neighbourhood | None" = None


def damaged_manifests(archive: Archive, cancel: Cancel) -> Iterator[tuple[Digest, str]]:
    """Those that are not what their names say, and what is wrong."""
    for name in disk.listed(archive.layout.manifests):
        cancel.check()
        digest = name.removesuffix(".json")
        if digest == name or not Digest.is_valid(digest):
            continue
        path = archive.layout.manifest(Digest(digest))
        try:
            with disk.reporting(path):
                load_manifest(archive.layout, Digest(digest))
        except FileNotFoundError:  # replaced meanwhile
            continue
        except OutlastError as error:
            yield Digest(digest), str(error)


def mend_manifest(archive: Archive, digest: Digest, problem: str, ask: Askable) -> FoundDamage:
    """Writes a damaged manifest anew, if it can be made again; it stays as it is otherwise."""
    path = archive.layout.manifest(digest)
    name = archive.layout.name_of(path)
    for data in _candidates(archive, digest, ask):
        if Digest.of(data) == digest:
            with archive.writer() as writer:
                writer.write(path, data)
            disk.touch(archive.layout.manifests)
            return FoundDamage(DamagedPart.MANIFEST, name, problem, mended=True)
    why_not = "no source that may be asked has it; pull the model again"
    return FoundDamage(DamagedPart.MANIFEST, name, problem, mended=False, why_not=why_not)


def _candidates(archive: Archive, digest: Digest, ask: Askable) -> Iterator[bytes]:
    """What the manifest may have been: the next one is only looked for if this is not it."""
    with contextlib.suppress(OSError):
        yield from one_bit(archive.layout.manifest(digest).read_bytes(), digest)
    rows = (row for row in archive.index.summaries() if row.digest == digest)
    summary = next(rows, None)
    may_tell = summary is not None and archive.refs.may_tell(summary.repo)
    for neighbour in ask.around.near() if ask.around is not None else ():
        if neighbour.static or may_tell:
            with contextlib.suppress(*SOURCE_FAULTS):
                yield neighbour.source.manifest(digest, _DESCRIBES).to_bytes()
    if summary is not None:
        yield from _listed(archive, digest, summary, ask.sources)


def one_bit(data: bytes, digest: Digest) -> Iterator[bytes]:
    """`data` with the one bit flipped that is wrong, if one is."""
    if len(data) > TUNING.one_bit:
        return
    before, changed = hashlib.sha256(), bytearray(data)
    for at in range(len(changed)):
        for bit in range(8):
            changed[at] ^= 1 << bit
            hasher = before.copy()
            hasher.update(memoryview(changed)[at:])
            if hasher.hexdigest() == digest.hex:
                yield bytes(changed)
                return
            changed[at] ^= 1 << bit
        before.update(memoryview(changed)[at : at + 1])


def _listed(
    archive: Archive, digest: Digest, summary: Summary, sources: Sequence[Source]
) -> Iterator[bytes]:
    """The manifest as it follows from the list of a source that the model came from, and from what
    the index remembers of the files.
    """
    held = set(archive.index.blobs_of([digest]).get(digest, ()))
    tellers = tellers_of(archive, summary.repo)
    for source in sources:
        if not may_learn(source, tellers):
            continue
        try:
            listing = source.describe(summary.repo, summary.revision.hex, _DESCRIBES)
        except SOURCE_FAULTS as error:
            _log.info("%s does not list %s: %s", source.name, summary.repo, error)
            continue
        files, missing = [], []
        for entry in listing.entries:
            known = archive.known(entry)
            if known is not None and known.sha256 in held:
                files.append(known)
            else:
                missing.append(entry)
        for commit in (listing.commit, None):
            with contextlib.suppress(IntegrityError, NotArchivedError):
                yield Revision.of(
                    summary.repo, commit, files, missing, unlisted=summary.unlisted
                ).to_bytes()
