"""What the parsers of all containers share: limits, sizes of types, and the word for refusal."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

MAX_HEADER_BYTES: Final = 100_000_000
MAX_TENSORS: Final = 1_000_000
MAX_PAIRS: Final = 65_536
INTEGER_END: Final = 2**53

Read: TypeAlias = Callable[[int, int], bytes]
"""`read(offset, length)` returns `length` bytes, or fewer where there are no more."""

Claim: TypeAlias = tuple[str, str, tuple[int, ...], int, int]
"""What a header says of a tensor, as yet unchecked against the others: name, dtype, shape in
weights (outermost first), offset from the start of the blob and length, both in bytes.
"""

BLOCKS: Final = {
    "F64": (1, 8),
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "F8_E4M3": (1, 1),
    "F8_E5M2": (1, 1),
    "I64": (1, 8),
    "I32": (1, 4),
    "I16": (1, 2),
    "I8": (1, 1),
    "U8": (1, 1),
    "U16": (1, 2),
    "U32": (1, 4),
    "U64": (1, 8),
    "BOOL": (1, 1),
    "Q8_0": (32, 34),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}
"""dtype: (weights in a block, bytes of a block)."""

OTHER: Final = "OTHER"


class OpaqueError(Exception):
    """The bytes are not what they claim to be. The message completes "is not valid: …"."""


class CutShortError(OpaqueError):
    """The bytes end before what they announce does."""


def weights(shape: Sequence[int]) -> int:
    """The product of `shape`. Raises :class:`OpaqueError` where it is 2**53 or more: no blob is
    as long, and a product that is given up early takes linear time.
    """
    if 0 in shape:
        return 0
    count = 1
    for length in shape:
        count *= length
        if count >= INTEGER_END:
            raise OpaqueError(f"a tensor has {count} weights or more")
    return count
