"""What revisions of the archive were made from, and what was made from them.

A revision with a `lineage.json` gets a statement of the same content beside its manifest when it is
sealed, however it came. The file is what counts: the manifest covers it. The statements are the
index: by them the derivatives of a model are found without a look at every manifest.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from outlast.codec.memory import read
from outlast.core.digest import Digest
from outlast.core.errors import MalformedError, OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.core.records.lineage import (
    LINEAGE_FILE,
    MAX_LINEAGE,
    LineageRecord,
    Making,
    lineage_statement,
    read_lineage_statement,
)

if TYPE_CHECKING:
    from outlast.store.archive import Archive
    from outlast.store.writer import WriteSession

_log = logging.getLogger(__name__)
MOST_MEMBERS: Final = 200
"""Models of a family tree that is drawn. Guess: more are read by no person."""
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class Derived:
    """A model that is here, with the manifest of its revision and how it was made."""

    repo: RepoId
    manifest: Digest
    record: LineageRecord


def lineage_of(archive: "Archive", revision: Revision) -> LineageRecord | None:
    """How a revision was made, by its own file; None where it has none that lies here. Raises
    :class:`MalformedError` where the file is no record, and what reading a blob raises.
    """
    entry = revision.find(LINEAGE_FILE)
    if entry is None or entry.sha256 is None or not archive.lies_here(entry):
        return None
    if entry.size > MAX_LINEAGE:
        raise MalformedError(f"{LINEAGE_FILE} of {revision.repo} exceeds {MAX_LINEAGE} bytes")
    with archive.open_blob(entry.sha256) as blob:
        data = read(blob, 0, blob.size)
    if Digest.of(data) != entry.sha256:
        raise MalformedError(f"{LINEAGE_FILE} of {revision.repo} is damaged")
    return LineageRecord.from_bytes(data)


def note_lineage(archive: "Archive", writer: "WriteSession", revision: Revision) -> None:
    """Keeps the statement of a sealed revision that has a record. A file that is no record, or
    does not lie here, stops nothing: it is only logged.
    """
    if revision.find(LINEAGE_FILE) is None:
        return
    try:
        record = lineage_of(archive, revision)
        if record is not None:
            data = lineage_statement(revision.repo, revision.digest, record)
            archive.attestations.add(writer, revision.digest, data)
    except OutlastError as error:
        _log.warning("the lineage of %s is not noted: %s", revision.repo, error)


def _all(archive: "Archive") -> Iterator[Derived]:
    for manifest in archive.attestations.manifests():
        if not archive.layout.manifest(manifest).exists():
            continue
        for stored in archive.attestations.of(manifest):
            try:
                said = read_lineage_statement(stored.data)
            except OutlastError:
                continue
            if said is not None and said[1] == manifest:
                yield Derived(said[0], manifest, said[2])


def ancestors_of_all(archive: "Archive") -> dict[Digest | None, tuple[Digest, ...]]:
    """What each manifest that is here says that it was made from."""
    return {
        one.manifest: tuple(dict.fromkeys(a.manifest for a in one.record.ancestors))
        for one in _all(archive)
    }


def derivatives(archive: "Archive", manifest: Digest) -> list[Derived]:
    """The models here that say that they were made from the revision of this manifest, by name."""
    found = [one for one in _all(archive) if manifest in {a.manifest for a in one.record.ancestors}]
    return sorted(found, key=lambda one: (str(one.repo), one.manifest.hex))


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A model of a family tree. `making`: how it was made from the one above it, None for the
    eldest; `here`: its manifest is in the archive. `is_asked`: it is the one that was asked about.
    `children`: what was made from it.
    """

    repo: RepoId
    manifest: Digest
    making: Making | None
    here: bool
    is_asked: bool
    children: "tuple[FamilyMember, ...]" = ()


def family_of(archive: "Archive", revision: Revision) -> FamilyMember | None:
    """The tree from the eldest known base down, through all that is here of it: at most
    :data:`MOST_MEMBERS` models, :data:`_DEEPEST` generations. None for a model that was made from
    none and that nothing was made from. Raises what :func:`lineage_of` does.
    """
    own = lineage_of(archive, revision)
    known = {one.manifest: one for one in _all(archive)}
    asked = revision.digest
    if own is not None:
        known[asked] = Derived(revision.repo, asked, own)
    children: dict[Digest, list[Derived]] = {}
    for one in sorted(known.values(), key=lambda one: (str(one.repo), one.manifest.hex)):
        for parent in dict.fromkeys(ancestor.manifest for ancestor in one.record.ancestors):
            children.setdefault(parent, []).append(one)
    eldest, name = asked, revision.repo
    for _ in range(_DEEPEST):
        if eldest not in known:
            break
        base = known[eldest].record.base
        eldest, name = base.manifest, base.repo
    left = [MOST_MEMBERS]

    def member(repo: RepoId, manifest: Digest, making: Making | None, depth: int) -> FamilyMember:
        left[0] -= 1
        below = children.get(manifest, ()) if depth < _DEEPEST else ()
        return FamilyMember(
            repo,
            manifest,
            making,
            archive.layout.manifest(manifest).exists(),
            manifest == asked,
            tuple(
                member(child.repo, child.manifest, child.record.making, depth + 1)
                for child in below
                if left[0] > 0
            ),
        )

    root = member(name, eldest, None, 0)
    return root if root.children else None
