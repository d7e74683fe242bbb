"""Numbers of scrubbing that are ours to choose."""

from dataclasses import dataclass
from typing import Final

_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class ScrubTuning:
    """Times in seconds, sizes in bytes."""

    stale: float = 30 * _DAY
    """A pass that began so long ago is not gone on with: a new one begins. Guess."""
    window: int = 4 << 20
    """Of a plain file that is hashed: read by one thread while another hashes the one before. Of
    1, 2, 4 and 8 MiB this is the fastest by a little."""
    by_tree: int = 1 << 30
    """A file of more bytes is hashed by pieces, where their tree is known, and not as a whole: only
    so can a check go on where it ended. Guess: what is smaller takes seconds."""
    noted: float = 1.0
    """How often the cursor is written at most: what a crash costs is read again."""
    niceness: int = 19
    """Of the threads that read: the lowest priority."""
    look: float = 15.0
    """Between two looks of a server at what is damaged: each costs one stat(2)."""
    due: float = 900.0
    """Between two looks at whether a pass is due: each reads the folders of blobs."""
    again: float = 60.0
    """Until something that could not be mended is tried again; doubled with each failure, up to
    `longest`."""
    longest: float = 6 * 3600.0
    one_bit: int = 64 << 10
    """Manifests up to this size are tried with each of their bits flipped: some seconds."""


TUNING: Final = ScrubTuning()
