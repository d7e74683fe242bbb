"""One bundle that is open for reading, and what it says that it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from outlast.codec.bundle.cell_stream import CellStream
from outlast.codec.bundle.contents import (
    MANIFESTS,
    MAX_CONTENTS,
    BundleContents,
    BundledBlob,
    BundledModel,
    Record,
)
from outlast.codec.bundle.documents import Outer, read_outer
from outlast.codec.bundle.geometry import Geometry
from outlast.codec.bundle.part import PartHeader
from outlast.codec.bundle.sealed import SealedContents
from outlast.codec.bundle.stream import BundleBlocks, Frames, Span, StreamReader, read_contents
from outlast.codec.memory import Readable, read
from outlast.codec.payload import Form
from outlast.codec.reader import CapsuleReader
from outlast.core.closing import Closing
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError, NotFoundError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.sources.bundle.age import NO_KEYS, Keyring, PairedKey
from outlast.sources.bundle.media import FoundMedia, PartFiles, look

_MOST_LINKS: Final = 2
"""Of a chain of delta capsules, as in an archive."""


class OpenBundle(Closing):
    """The records and payloads of a bundle. What comes is right as far as the sums of the parts
    say; a caller that keeps it compares the sha256. `outer` is what it says to everybody: the
    `contents`, unless it is encrypted.
    """

    def __init__(
        self,
        frames: Frames,
        head: PartHeader,
        outer: Outer | None = None,
        keys: Keyring = NO_KEYS,
    ) -> None:
        """Without `outer`, what is at the start of the stream. Raises :class:`CorruptError` and
        :class:`MalformedError` where that is not there, or not what the id says, and
        :class:`LockedError` where none of the `keys` opens an encrypted bundle.
        """
        self._frames = frames
        self.blocks: Final = BundleBlocks(frames, head)
        self._stream: Readable = StreamReader(self.blocks)
        if outer is None:
            outer = read_outer(
                read_contents(self._stream, head.contents, head.bundle, MAX_CONTENTS)
            )
        if outer.geometry != head.geometry:
            raise MalformedError("a bundle's parts are cut in another way than its contents say")
        self.outer: Final = outer
        self.contents: Final = (
            self._unlock(outer, keys) if isinstance(outer, SealedContents) else outer
        )

    def _unlock(self, outer: SealedContents, keys: Keyring) -> BundleContents:
        """Goes on with the inner stream; what it holds."""
        envelope = keys.unlock(outer)
        self._stream = CellStream(self._stream, outer, envelope, PairedKey(envelope.key))
        data = read_contents(self._stream, envelope.contents, envelope.bundle, MAX_CONTENTS)
        contents = BundleContents.from_bytes(data)
        if contents.geometry.stream != envelope.stream:
            raise MalformedError("an encrypted bundle holds another stream than its envelope says")
        return contents

    def close(self) -> None:
        if isinstance(self._frames, Closing):
            self._frames.close()

    @property
    def id(self) -> Digest:
        """Of what lies on the media: it is known without the key."""
        return self.outer.id

    @property
    def geometry(self) -> Geometry:
        """How what lies on the media is cut."""
        return self.outer.geometry

    @cached_property
    def payloads(self) -> Mapping[Digest, BundledBlob]:
        """By the blob that each restores."""
        return {payload.blob: payload for payload in self.contents.payloads}

    @cached_property
    def records(self) -> Mapping[str, Record]:
        """By path."""
        return {record.path: record for record in self.contents.records}

    def model(self, repo: RepoId) -> BundledModel | None:
        """A model, in whatever case its name is written."""
        return next((m for m in self.contents.models if m.repo.folded == repo.folded), None)

    def span(self, payload: BundledBlob) -> Span:
        """The bytes of a payload, as they lie in the stream."""
        return Span(self._stream, self.contents.base + payload.offset, payload.length)

    def manifest(self, digest: Digest) -> Revision | None:
        """A revision by its manifest; None where the bundle only assumes that the reader has it.
        Raises :class:`MalformedError` and :class:`CorruptError`.
        """
        record = self.records.get(f"{MANIFESTS}{digest}.json")
        return None if record is None else Revision.from_bytes(self.record(record))

    def record(self, record: Record) -> bytes:
        """The bytes of a record, if they have its sha256."""
        span = Span(self._stream, self.contents.base + record.offset, record.size)
        data = read(span, 0, record.size)
        if Digest.of(data) != record.sha256:
            raise CorruptError(f"{record.path} in the bundle does not have its sha256")
        return data

    def blob(self, payload: BundledBlob, links: int = 0) -> Readable:
        """The bytes that a payload restores. Raises :class:`NotArchivedError` when one is read that
        depends on a base outside of the bundle.
        """
        span = self.span(payload)
        if payload.form is Form.PLAIN:
            return span
        reader = CapsuleReader(span, lambda base: self._base(base, links + 1))
        if reader.sha256 != payload.blob or reader.size != payload.size:
            raise CorruptError(f"the payload of {payload.blob} is the capsule of another blob")
        return reader

    def _base(self, base: Digest, links: int) -> Readable | None:
        payload = self.payloads.get(base)
        if payload is None or links > _MOST_LINKS:
            return None
        return self.blob(payload, links)


@dataclass(frozen=True, slots=True)
class Media:
    """The bundles on some media, those that others build on first, and what was left out there,
    in words. Close the bundles.
    """

    bundles: Sequence[OpenBundle]
    left_out: Sequence[str]


def open_media(folders: Sequence[Path], keys: Keyring = NO_KEYS) -> Media:
    """Opens every bundle of which `bundle.json` is on the media; where that is on none, the bundle
    of which most parts are. Raises :class:`NotFoundError` where there is none at all, and
    :class:`LockedError` where one is encrypted and none of the `keys` opens it.
    """
    found = look(folders)
    if not found.heads:
        where = ", ".join(map(str, folders))
        raise NotFoundError(f"no bundle in {where}", hint="name the folder that has bundle.json")
    most = max(found.heads, key=lambda identity: len(found.parts[identity]))
    wanted = found.documents.keys() or {most}
    left_out = [*found.left_out]
    for identity in found.heads.keys() - set(wanted):
        count = len(found.parts[identity])
        left_out.append(f"{count} parts of another bundle, {identity.short}…")
    bundles: list[OpenBundle] = []
    try:
        bundles.extend(_open(found, identity, keys) for identity in wanted)
    except BaseException:
        for bundle in bundles:
            bundle.close()
        raise
    bundles.sort(key=lambda bundle: (bundle.contents.sequence, bundle.id))
    return Media(bundles, left_out)


def _open(found: FoundMedia, identity: Digest, keys: Keyring) -> OpenBundle:
    head = found.heads[identity]
    frames = PartFiles(head.geometry, found.parts[identity])
    document = found.documents.get(identity)
    try:
        outer = None if document is None else document.contents
        return OpenBundle(frames, head, outer, keys)
    except BaseException:
        frames.close()
        raise
