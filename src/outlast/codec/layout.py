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
    found: list[CapsuleSpan] = []
    at = 0
    for tensor in container.tensors:
        if tensor.offset > at:
            _append(found, CapsuleSpan(fmt.BYTES, tensor.offset - at))
        for span in _of_tensor(tensor, bases):
            _append(found, span)
        at = tensor.offset + tensor.length
    if size > at:
        _append(found, CapsuleSpan(fmt.BYTES, size - at))
    return found


def _append(found: list[CapsuleSpan], span: CapsuleSpan) -> None:
    """Neighbours of plain bytes are one span."""
    plain = (fmt.BYTES, 0)
    if found and plain == (span.kind, span.base) == (found[-1].kind, found[-1].base):
        span = CapsuleSpan(fmt.BYTES, found.pop().length + span.length)
    found.append(span)


def _opaque(size: int, bases: BaseTensors | None) -> Iterator[CapsuleSpan]:
    base = bases.opaque() if bases else None
    common = min(size, base[1]) if base else 0
    if base and common:
        yield CapsuleSpan(fmt.BYTES, common, base[0])
    if size > common:
        yield CapsuleSpan(fmt.BYTES, size - common)


def _of_tensor(tensor: Tensor, bases: BaseTensors | None) -> Iterator[CapsuleSpan]:
    kind = KINDS.get(tensor.dtype, fmt.BYTES)
    found = bases.like(tensor) if bases else None
    common = 0
    if found is not None:
        number, base = found
        common = min(tensor.length, base.length)
        yield CapsuleSpan(kind, common, number, base.offset)
    if tensor.length > common:
        yield CapsuleSpan(kind, tensor.length - common)
