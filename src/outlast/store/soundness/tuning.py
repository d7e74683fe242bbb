"""Numbers of checked reading that are ours to choose."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SoundnessTuning:
    """Times in seconds, sizes in bytes."""

    recheck: float = 30 * 86400.0
    """After which bytes that were compared are compared again. A guess: disks scrub once a month.
    """
    table: int = 32 << 20
    """Of memory for what was compared, in the whole process: a bit for a piece, and the sums of
    files that were compared in part. A file of 10 GB takes 80 KB until all of it was compared, and
    some 300 bytes from then on.
    """
    settle: float = 0.1
    """Within which two writes may leave the same times on a file: what changed so recently is
    compared again by the next read. Linux counts in ticks of 1 to 10 ms.
    """
    unnoted: int = 64 << 10
    """Of a file that is not larger, the index does not note that it was compared: to look that up
    takes as long as to hash it."""
    most_parts: int = 4096
    """Damaged pieces or blocks that a note of damage names."""


TUNING: Final = SoundnessTuning()
