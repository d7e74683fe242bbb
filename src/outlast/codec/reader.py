"""Decoding: any range of the blob that a capsule restores, and the check of all of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from outlast.codec import format as fmt
from outlast.codec import kernels
from outlast.codec.format import Block, Directory, Trailer
from outlast.codec.memory import Readable, read, scratch, window, workspace
from outlast.core.digest import Digest
from outlast.core.errors import CorruptError, MalformedError, NotArchivedError

MAX_DIRECTORY: Final = 1 << 27
"""Bytes: enough for a blob of 5 TB, and for a million tensors."""


def read_directory(capsule: Readable) -> Directory:
    """The directory of a capsule, from whichever copy is whole.

    Raises :class:`MalformedError` for what is no capsule, :class:`CorruptError` where both copies
    are damaged.
    """
    trailers_at = capsule.size - 2 * fmt.TRAILER_BYTES
    if trailers_at < len(fmt.HEAD):
        raise MalformedError("too short for a capsule")
    trailers = read(capsule, trailers_at, 2 * fmt.TRAILER_BYTES)
    trailer = Trailer.unpack(trailers[fmt.TRAILER_BYTES :]) or Trailer.unpack(
        trailers[: fmt.TRAILER_BYTES]
    )
    if trailer is None:
        if read(capsule, 0, len(fmt.HEAD)) != fmt.HEAD:
            raise MalformedError("not a capsule")
        raise CorruptError("both trailers of a capsule are damaged")
    size = trailer.directory_size
    if size > MAX_DIRECTORY:
        raise MalformedError(f"a capsule's directory of {size} bytes exceeds {MAX_DIRECTORY}")
    if 2 * size > trailers_at - len(fmt.HEAD):
        raise MalformedError("a capsule's directory is larger than the capsule")
    for at in (trailers_at - size, trailers_at - 2 * size):
        directory = fmt.unpack_directory(trailer, read(capsule, at, size), capsule.size)
        if directory is not None:
            return directory
    raise CorruptError("both directories of a capsule are damaged")


class CapsuleReader:
    """The blob of a capsule, at any offset; itself a :class:`Readable`, so that a delta
    capsule can have it as a base. Threads may share one.

    `bases` are asked for the blobs that a delta capsule depends on, by sha256, when they are
    needed for the first time. Errors: :class:`MalformedError`, :class:`CorruptError` (it names the
    block), :class:`NotArchivedError` where a base is missing.
    """

    def __init__(
        self,
        capsule: Readable,
        bases: Callable[[Digest], Readable | None] | Mapping[Digest, Readable] | None = None,
        damaged: Callable[[int], object] = bool,
    ) -> None:
        """`damaged` is told the number of a block that proves damaged; it may raise an error of its
        own.
        """
        self._capsule = capsule
        self._damaged = damaged
        self.directory = read_directory(capsule)
        self._find = bases.get if isinstance(bases, Mapping) else bases
        self._bases: dict[int, Readable] = {}

    @property
    def size(self) -> int:
        """Of the blob, in bytes."""
        return self.directory.size

    @property
    def sha256(self) -> Digest:
        return self.directory.sha256

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fills `buffer` with the blob's bytes from `offset` on; they must be there."""
        end = offset + len(buffer)
        if offset < 0 or end > self.size:
            raise ValueError("beyond the end of the blob")
        while offset < end:
            block = self.directory.block(self.directory.block_at(offset))
            skip = offset - block.offset
            take = min(block.length - skip, end - offset)
            if take == block.length:
                self.decode(block, buffer[:take])
            else:
                with scratch(block.length) as whole:
                    self.decode(block, whole)
                    buffer[:take] = whole[skip : skip + take]
            buffer = buffer[take:]
            offset += take

    def compare(self, block: Block) -> None:
        """Raises :class:`CorruptError` where a block is not what was written; decodes nothing."""
        with window(self._capsule, block.payload_offset, block.payload_length) as payload:
            self._compare(block, payload)

    def _compare(self, block: Block, payload: memoryview) -> None:
        if kernels.xxh3(payload) != block.checksum:
            self._damaged(block.number)
            raise CorruptError(f"{self._where(block)} is damaged")

    def decode(self, block: Block, out: memoryview) -> None:
        """Restores one block; `out` has its length."""
        with window(self._capsule, block.payload_offset, block.payload_length) as payload:
            self._compare(block, payload)
            if fmt.needs_base(block.tag, block.base):
                self._restore_from_base(block, payload, out)
            else:
                self._restore(block, payload, out)

    def _restore_from_base(self, block: Block, payload: memoryview, out: memoryview) -> None:
        # The payload is as it was written: what does not fit now is the base.
        with (
            window(self._base(block.base), block.base_offset, block.length) as base,
            contextlib.suppress(kernels.DamagedError),
        ):
            self._decode(block, payload[fmt.RESTORED_BYTES :], base, out)
        if fmt.checksum(out) != payload[: fmt.RESTORED_BYTES]:
            raise CorruptError(f"{self._where(block)}, or the base that it depends on, is damaged")

    def _restore(self, block: Block, payload: memoryview, out: memoryview) -> None:
        try:
            self._decode(block, payload, None, out)
        except kernels.DamagedError as error:
            raise MalformedError(f"{self._where(block)}: {error}") from error

    @staticmethod
    def _decode(
        block: Block, payload: memoryview, base: memoryview | None, out: memoryview
    ) -> None:
        kernels.decode_block(workspace(), block.kind, block.tag, payload, base, out)

    def _where(self, block: Block) -> str:
        return f"block {block.number} of the capsule of {self.sha256}"

    def damage(self) -> Iterator[str]:
        """What is damaged, a line each: every part that has a checksum is read."""
        for block in self.damaged_blocks():
            end = block.offset + block.length
            yield f"block {block.number} (bytes {block.offset} to {end})"
        yield from self.damaged_frame()

    def damaged_blocks(self) -> Iterator[Block]:
        """The blocks that are not as they were written."""
        for block in self.directory.blocks():
            payload = read(self._capsule, block.payload_offset, block.payload_length)
            if kernels.xxh3(payload) != block.checksum:
                yield block

    def damaged_frame(self) -> Iterator[str]:
        """The same of what is around the blocks, and is there twice but for the head."""
        directory = self.directory
        if read(self._capsule, 0, len(fmt.HEAD)) != fmt.HEAD:
            yield "the head"
        whole = directory.pack_end()
        found = read(self._capsule, directory.payload_end, len(whole))
        at = 0
        for name, size in (
            ("the first directory", directory.packed_size),
            ("the second directory", directory.packed_size),
            ("the first trailer", fmt.TRAILER_BYTES),
            ("the second trailer", fmt.TRAILER_BYTES),
        ):
            if found[at : at + size] != whole[at : at + size]:
                yield name
            at += size

    def _base(self, number: int) -> Readable:
        base = self._bases.get(number)
        if base is None:
            wanted = self.directory.bases[number - 1]
            base = self._find(wanted.sha256) if self._find else None
            if base is None or base.size != wanted.size:
                raise NotArchivedError(
                    f"{self.sha256} depends on {wanted.sha256}, which is not here",
                    hint="pull the base model, or the file itself in its full form",
                )
            self._bases[number] = base
        return base
