"""Mending: what is damaged here becomes right again, from what lies here, or else from those who
may be asked; only the pieces that are wrong come again.

Who may be asked for a blob: the sources that a model which has it came from, as a pull of that
model would ask them, and other nodes as its restrictions allow. A source that has told nothing of a
model does not learn of it by this, but for those that are the operator's own.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NoReturn

from outlast.codec import merkle
from outlast.codec.payload import Form
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    DiskFullError,
    EntryNotFoundError,
    IntegrityError,
    NotArchivedError,
    NotFoundError,
    OutlastError,
)
from outlast.core.events import Event, FileMended, FileProblem
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.revision import FetchContext, fetch_files
from outlast.fetch.salvage import held_piece, lacking_pieces
from outlast.fetch.source_state import SOURCE_FAULTS
from outlast.fetch.tuning import TUNING
from outlast.sources.base import Listing, RangeReader, RemoteRef, may_learn
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.records.draft_writer import DraftWriter
from outlast.store.uses import BlobUse, places_of

_log = logging.getLogger(__name__)


Restore = Callable[[Digest], bool]
"""Mends a blob from what lies here, in a way that only the caller knows; whether it did."""


def mend(context: FetchContext, blob: Digest, restore: Restore = lambda _blob: False) -> None:
    """Makes a damaged blob right, and before it the damaged ones that it depends on. Returns also
    where there was nothing to do. `restore` is tried before anything else. Raises the first error
    where it cannot be mended now, and :class:`NotArchivedError` where no revision here has it any
    more.
    """
    for base in _bases(context.archive, blob):
        _mend_base(context, base, restore)
    if context.archive.damage.of(blob):
        _mend(context, blob, restore)


def _mend_base(context: FetchContext, base: Digest, restore: Restore = lambda _blob: False) -> None:
    """Mends what another blob depends on, if it is damaged; it is compared first: with damage that
    is not known yet, the other would come in another form.
    """
    with (
        contextlib.suppress(IntegrityError, NotArchivedError),
        context.archive.open_blob(base, by="mending") as reader,
    ):
        reader.check()
    if context.archive.damage.of(base):
        _mend(context, base, restore)


def mend_bases(context: FetchContext, entries: Iterable[FileEntry]) -> None:
    """Mends what files depend on that cannot be read now. What cannot be mended stays."""
    archive = context.archive
    if not archive.damage.all():
        return
    for entry in entries:
        known = archive.known(entry)
        if known is None or known.sha256 is None or archive.holds(known):
            continue
        for base in _bases(archive, known.sha256):
            try:
                _mend_base(context, base)
            except SOURCE_FAULTS as error:
                _log.info("%s, on which %s depends, is not mended: %s", base, entry.path, error)


def _bases(archive: Archive, blob: Digest) -> list[Digest]:
    """What a blob depends on, the deepest first."""
    form = None if archive.forms.plain_size(blob) is not None else archive.forms.capsule(blob)
    found: list[Digest] = []
    for base in form.bases if form is not None else ():
        found += [*_bases(archive, base.sha256), base.sha256]
    return found


def _mend(context: FetchContext, blob: Digest, restore: Restore) -> None:
    """Mends one blob, as a file of one of the revisions that have it."""
    archive = context.archive
    places = places_of(archive, blob)
    if restore(blob):
        _log.warning("blob %s is mended: no byte came from elsewhere", blob)
        for place in places[:1]:
            entry = place.entry
            context.control.emit(FileMended(entry.path, entry.size, blob.hex, 0))
        return
    if not places:
        raise NotArchivedError(f"blob {blob.short}… is damaged, and no revision here has it")
    needed = places[0].entry.size + TUNING.reserve
    if disk.free_bytes(archive.layout.home) < needed:
        raise DiskFullError(f"no room to mend blob {blob.short}…: {needed:,} bytes are needed")
    errors: list[OutlastError] = []
    for attempt, place in _attempts(context, places):
        try:
            _fetch(attempt, place)
        except SOURCE_FAULTS as error:
            errors.append(error)
        if not archive.damage.of(blob):
            return
    if errors:
        raise errors[-1]
    raise EntryNotFoundError(
        f"blob {blob.short}… is damaged, and what is wrong of it lies nowhere else here"
    )


def _attempts(
    context: FetchContext, places: Sequence[BlobUse]
) -> Iterator[tuple[FetchContext, BlobUse]]:
    """First what lies here, if that is all of it, then others. Nothing is copied in vain."""
    archive, emit = context.archive, context.control.emit

    def quietly(event: Event) -> None:
        if isinstance(event, FileMended | FileProblem):
            emit(event)

    control = replace(context.control, emit=quietly)
    entry = places[0].entry
    if not lacking_pieces(archive, entry, _wrong_pieces(archive, entry), control.cancel):
        here = replace(context, sources=[_HeldHere(archive)], coordinator=None, control=control)
        yield here, places[0]
    for place in places:
        tellers = tellers_of(archive, place.repo)
        sources = [source for source in context.sources if may_learn(source, tellers)]
        if sources or context.coordinator is not None:
            unsaid = archive.refs.is_unsaid(place.repo)
            yield replace(context, sources=sources, restricted=context.restricted or unsaid), place


def _wrong_pieces(archive: Archive, entry: FileEntry) -> Sequence[int]:
    """The pieces of a file that are known to be damaged; all where that is not known."""
    known = () if entry.sha256 is None else archive.damage.of(entry.sha256)
    count = merkle.piece_count(entry.size)
    if known and all(one.form is Form.PLAIN and one.parts for one in known):
        parts = {part for one in known for part in one.parts}
        return sorted(part for part in parts if part < count)
    return range(count)


def _fetch(context: FetchContext, place: BlobUse) -> None:
    what = (place.repo, place.commit)
    with DraftWriter(
        context.archive, context.writer, what, context.control.emit, listed=True
    ) as draft_writer:
        fetch_files(context, place.repo, place.commit, [place.entry], draft_writer)


def tellers_of(archive: Archive, repo: RepoId) -> set[str]:
    """The sources that know of a model, because it came from them."""
    noted = archive.refs.read(repo).refs
    return {ref.source for ref in noted} | archive.refs.about(repo).pinned.keys()


class _HeldHere:
    """What lies here of damaged files, as a source: other forms, working copies, right pieces."""

    name = "this archive"

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        del ref, timeout
        _refuse(f"{self.name} is not asked what {repo} is")

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        del timeout
        _refuse(f"{self.name} is not asked what {repo} is")

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        del repo, commit
        data = bytearray()
        for index in range(start // merkle.PIECE, merkle.piece_count(stop)):
            piece = None if entry.sha256 is None else held_piece(self._archive, entry, index)
            if piece is None:
                raise EntryNotFoundError(f"piece {index} of {entry.path!r} is damaged here")
            data += piece
        return _Bytes(bytes(data), start)


def _refuse(text: str) -> NoReturn:
    raise NotFoundError(text)


class _Bytes:
    def __init__(self, data: bytes, start: int) -> None:
        self.start = start
        self._data = memoryview(data)

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._data))
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def close(self) -> None:
        self._data = memoryview(b"")
