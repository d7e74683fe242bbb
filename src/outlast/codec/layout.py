"""How a blob is cut into spans, and with which bytes of its bases each is compared.

These rules belong to the capsule format: the same blob, and the same bases, give the same spans.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from outlast.codec import format as fmt
from outlast.codec.format import CapsuleSpan
from outlast.codec.tensors import Container, Tensor

KINDS: Final = {
    "BF16": fmt.BF16,
    "F16": fmt.F16,
    "F32": fmt.F32,
    "F8_E4M3": fmt.F8_E4M3,
    "F8_E5M2": fmt.F8_E5M2,
    "I16": fmt.WORDS16,
    "U16": fmt.WORDS16,
    "I32": fmt.WORDS32,
    "U32": fmt.WORDS32,
    "I64": fmt.WORDS64,
    "U64": fmt.WORDS64,
    "F64": fmt.WORDS64,
    "Q8_0": fmt.Q8_0,
    "Q4_0": fmt.Q4_0,
    "Q4_1": fmt.Q4_1,
    "Q5_0": fmt.Q5_0,
    "Q5_1": fmt.Q5_1,
    "Q4_K": fmt.Q4_K,
    "Q5_K": fmt.Q5_K,
    "Q6_K": fmt.Q6_K,
}
"""dtype: kind. Every other dtype is bytes."""

CROWD: Final = 1024
"""A container of so many tensors and more, of fewer than :data:`CROWDED` bytes on average, is
crowded: a span and a block for each tensor would take what the capsule saves.
"""
CROWDED: Final = 4096
TINY: Final = 1024
"""In a crowded container, a tensor of fewer bytes that no base has the like of is plain bytes."""
SMALL: Final = 65_536
"""In a crowded container, neighbours of fewer bytes that are cut alike are one span."""


class BaseTensors:
    """The tensors of the bases of a delta capsule. `containers` are in the order of the bases,
    None for one that is opaque; `sizes` are theirs in bytes.
    """

    def __init__(self, containers: Sequence[Container | None], sizes: Sequence[int]) -> None:
        self._opaque = next(
            (
                (number, size)
                for number, (container, size) in enumerate(zip(containers, sizes, strict=True), 1)
                if container is None
            ),
            None,
        )
        self._named: dict[str, tuple[int, Tensor]] = {}
        for number, container in enumerate(containers, 1):
            for tensor in container.tensors if container else ():
                self._named.setdefault(tensor.name, (number, tensor))

    def like(self, tensor: Tensor) -> tuple[int, Tensor] | None:
        """The first base's tensor of the same name, if its rows are the same kind of thing."""
        found = self._named.get(tensor.name)
        if found is None:
            return None
        other = found[1]
        alike = (tensor.dtype, len(tensor.shape), tensor.shape[1:])
        return found if alike == (other.dtype, len(other.shape), other.shape[1:]) else None

    def opaque(self) -> tuple[int, int] | None:
        """The number and size of the first base that is opaque."""
        return self._opaque


def spans(
    container: Container | None, size: int, bases: BaseTensors | None = None
) -> list[CapsuleSpan]:
    """The spans of a blob of `size` bytes, in order, covering each of its bytes once."""
    if container is None:
        return list(_opaque(size, bases))
    tensors = container.tensors
    in_tensors = sum(tensor.length for tensor in tensors)
    is_crowded = len(tensors) >= CROWD and in_tensors < CROWDED * len(tensors)
    joined = _Joined(small=SMALL if is_crowded else 0)
    at = 0
    for tensor in tensors:
        if tensor.offset > at:
            joined.add(CapsuleSpan(fmt.BYTES, tensor.offset - at))
        for span in _of_tensor(tensor, bases, tiny=TINY if is_crowded else 0):
            joined.add(span)
        at = tensor.offset + tensor.length
    if size > at:
        joined.add(CapsuleSpan(fmt.BYTES, size - at))
    return joined.spans


class _Joined:
    """Spans in their order. Neighbours of plain bytes are one, and so are those of the same kind
    that have fewer than `small` bytes, if the bytes of their base, where they have one, follow each
    other too.
    """

    def __init__(self, *, small: int) -> None:
        self.spans: list[CapsuleSpan] = []
        self._small = small
        self._is_small = False

    def add(self, span: CapsuleSpan) -> None:
        is_small = span.length < self._small
        if self.spans and self._may_join(span, is_small=is_small):
            last = self.spans.pop()
            span = CapsuleSpan(span.kind, last.length + span.length, last.base, last.base_offset)
        self._is_small = is_small
        self.spans.append(span)

    def _may_join(self, span: CapsuleSpan, *, is_small: bool) -> bool:
        last = self.spans[-1]
        if (span.kind, span.base) != (last.kind, last.base):
            return False
        if span.kind == fmt.BYTES and not span.base:
            return True
        follows = not span.base or span.base_offset == last.base_offset + last.length
        return follows and is_small and self._is_small


def _opaque(size: int, bases: BaseTensors | None) -> Iterator[CapsuleSpan]:
    base = bases.opaque() if bases else None
    common = min(size, base[1]) if base else 0
    if base and common:
        yield CapsuleSpan(fmt.BYTES, common, base[0])
    if size > common:
        yield CapsuleSpan(fmt.BYTES, size - common)


def _of_tensor(tensor: Tensor, bases: BaseTensors | None, *, tiny: int) -> Iterator[CapsuleSpan]:
    kind = KINDS.get(tensor.dtype, fmt.BYTES)
    found = bases.like(tensor) if bases else None
    if found is None and tensor.length < tiny:
        kind = fmt.BYTES
    common = 0
    if found is not None:
        number, base = found
        common = min(tensor.length, base.length)
        yield CapsuleSpan(kind, common, number, base.offset)
    if tensor.length > common:
        yield CapsuleSpan(kind, tensor.length - common)
