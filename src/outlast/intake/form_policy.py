"""Which form pays: what was asked for, and what a sample of the bytes says."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from outlast.codec import kernels
from outlast.codec.format import Block, CapsuleSpan, Directory
from outlast.codec.layout import BaseTensors, spans
from outlast.codec.memory import Readable, scratch, window, workspace
from outlast.codec.tensors import Container, parse
from outlast.codec.writer import Base, pays
from outlast.core.digest import Digest
from outlast.core.names import Target

_log = logging.getLogger(__name__)

SMALLEST: Final = 64 * 1024
"""Files of fewer bytes are always plain: a block of the disk is all that a capsule would save."""
_HOPELESS: Final = 0.985
"""Of the plain size: where a sample shrinks to more than this, the whole is not tried."""
_FEWEST, _MOST, _ONE_IN = 4, 32, 16


class FormWish(StrEnum):
    """``auto`` keeps a capsule where it saves 3 %, ``capsule`` where it saves anything."""

    PLAIN = "plain"
    CAPSULE = "capsule"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class FormWishes:
    """In which form files should be kept, and which bases they may have: `base` alone, if one is
    named; none, unless `allow_bases`.
    """

    form: FormWish = FormWish.AUTO
    base: Target | None = None
    allow_bases: bool = True

    def tries(self, size: int) -> bool:
        """Whether a capsule of a file of `size` bytes is worth a thought."""
        return self.form is not FormWish.PLAIN and size >= SMALLEST

    @property
    def uses_bases(self) -> bool:
        """Whether delta capsules come into question."""
        return self.allow_bases and self.form is not FormWish.PLAIN

    def keeps(self, capsule: int, plain: int) -> bool:
        """Whether a capsule is kept, by its size and the blob's in bytes."""
        if self.form is FormWish.CAPSULE:
            return capsule < plain
        return self.form is FormWish.AUTO and pays(capsule, plain)


PLAIN: Final = FormWishes(FormWish.PLAIN)


@dataclass(frozen=True, slots=True)
class FormChoice:
    """Whether to encode a blob, and against which bases."""

    encode: bool
    bases: tuple[Base, ...] = ()

    def agrees_with(self, other: "FormChoice") -> bool:
        """Whether both lead to the same capsule, or to none."""
        if self.encode is not other.encode:
            return False
        return not self.encode or [b.sha256 for b in self.bases] == [b.sha256 for b in other.bases]


def container_of(blob: Readable, ready: int) -> Container | None:
    """The tensors of a blob of which the first `ready` bytes are here; None where it is opaque, or
    its header goes further than that.
    """

    def read(offset: int, length: int) -> bytes:
        with window(blob, offset, max(0, min(offset + length, ready) - offset)) as found:
            return bytes(found)

    return parse(read, blob.size)


def choose(
    blob: Readable, ready: int, wishes: FormWishes, bases: Sequence[Base] = ()
) -> FormChoice:
    """Encodes a sample of blocks, spread over the `ready` bytes that are here, in the forms that
    come into question. The same bytes and bases give the same choice.
    """
    container = container_of(blob, ready)
    tensors = None
    if bases:
        found = [container_of(base.blob, base.blob.size) for base in bases]
        tensors = BaseTensors(found, [base.blob.size for base in bases])
    blocks = _sample(spans(container, blob.size, tensors), ready)
    plain = sum(block.length for block in blocks)
    if not plain:
        return FormChoice(encode=False)
    full = sum(_encoded(blob, block, None) for block in blocks)
    delta = full
    if bases:
        delta = sum(_encoded(blob, b, bases[b.base - 1] if b.base else None) for b in blocks)
    # A delta costs a dependence, and must be as much smaller.
    used = tuple(bases) if pays(delta, full) else ()
    ratio = (delta if used else full) / plain
    choice = FormChoice(_promises(wishes, ratio), used)
    _log.debug(
        "a sample of %d blocks shrinks to %.3f, with %d bases to %.3f: %s",
        len(blocks),
        full / plain,
        len(bases),
        delta / plain,
        ("a delta" if used else "a capsule") if choice.encode else "plain",
    )
    return choice


def _promises(wishes: FormWishes, ratio: float) -> bool:
    return ratio <= _HOPELESS if wishes.form is FormWish.AUTO else ratio < 1


def _sample(planned: list[CapsuleSpan], ready: int) -> list[Block]:
    count = sum(span.block_count for span in planned)
    plan = Directory(Digest("0" * 64), [], planned, bytes(12 * count))
    if not count:
        return []
    last = plan.block(plan.block_at(ready - 1)) if ready else plan.block(0)
    here = last.number + (last.offset + last.length <= ready)
    wanted = min(here, max(_FEWEST, min(_MOST, here // _ONE_IN)))
    return [plan.block((2 * i + 1) * here // (2 * wanted)) for i in range(wanted)]


def _encoded(blob: Readable, block: Block, base: Base | None) -> int:
    """Bytes of the block's payload."""
    with ExitStack() as stack:
        data = stack.enter_context(window(blob, block.offset, block.length))
        other = None
        if base is not None:
            other = stack.enter_context(window(base.blob, block.base_offset, block.length))
        out = stack.enter_context(scratch(block.length))
        return kernels.encode_block(workspace(), block.kind, data, other, out)[1]
