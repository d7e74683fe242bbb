"""The numbers of bundles that are ours to choose."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes are in bytes."""

    part_size: int = 3_900_000_000
    """Of a part: FAT32 takes files below 4 GiB."""
    least_parts: int = 20
    """Data parts of a bundle with parity, however small: a damaged file is then a small share."""
    parity_percent: float = 10.0
    """Of the parts of a group, how many may be lost."""
    medium_reserve: int = 64 * 1024 * 1024
    """Left free on a medium: bundle.json, manifests and pages, and what file systems need."""
    under_way: int = 12
    """Blocks (of 1 MiB at most) that are read, hashed, checked and written at once. Guess: more
    than wait in front of one thread, so that none of them is without work."""
    most_restored: int = 1000
    """Bytes that one byte of a capsule in a bundle may restore. Weights come to 2; zeros to some
    hundreds, and are rare in anything that was trained."""
    most_restored_delta: int = 20_000
    """The same of a delta capsule: of a tensor that is as in its base it has a few bytes."""
    most_wheel: int = 512 * 1024 * 1024
    """Of one wheel that a bundle carries: a record has no more."""
    most_program: int = 1024 * 1024 * 1024
    """Of all wheels together: they are held in memory. Those for one Python have 50 MB."""
    restored_slack: int = 64 * 1024 * 1024
    """Bytes that any capsule may restore."""


TUNING: Final = Tuning()
