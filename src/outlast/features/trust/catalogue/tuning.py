"""The numbers of catalogues that are ours to choose: bytes, counts, seconds."""

from dataclasses import dataclass
from typing import Final

_MIB: Final = 1 << 20
_DAY: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class CatalogueTuning:
    """Bounds of what a catalogue may cost a follower, and how one is laid out."""

    root: int = 512_000
    """Bytes of a root. The client of python-tuf has the same bound."""
    timestamp: int = 16_384
    """Bytes of a timestamp; likewise."""
    snapshot: int = 4 * _MIB
    """Bytes of a snapshot: 30,000 roles of 130 bytes."""
    role: int = 5_000_000
    """Bytes of a role's list of targets; as python-tuf."""
    all_roles: int = 256 * _MIB
    """Bytes of all lists together. Guess: 500,000 revisions."""
    roles: int = 16_384
    """Lists of a catalogue, bins among them. Guess."""
    entries: int = 500_000
    """Revisions of a catalogue. Guess."""
    rotations: int = 256
    """Roots that one sync follows; as python-tuf."""
    visited: int = 32
    """Roles that the search for one target visits; as python-tuf."""
    manifest: int = 64 * _MIB
    """Bytes of a manifest that is fetched from a catalogue: 300,000 files."""
    sources: int = 16
    """Addresses that an entry may name. Guess."""
    per_bin: int = 128
    """Entries of a bin when bins are made. With 256 bins 20,000 entries are 78 a bin: one change
    costs a bin (35 kB) and the snapshot (33 kB)."""
    most_per_bin: int = 256
    """Mean entries of a bin, or entries of a role without bins, at which there are more bins."""
    bin_bits: int = 14
    """Most bins, as a power of two."""
    timestamp_life: int = 14 * _DAY
    """Seconds until the timestamp and the snapshot expire. Guess: a cron job that fails is seen
    before its catalogue goes stale."""
    list_life: int = 365 * _DAY
    """Seconds until lists and the root expire. Guess: keys that are kept offline are fetched once a
    year."""
    clock_slack: int = _DAY
    """Seconds by which a right clock may differ from the operator's. Guess."""


TUNING: Final = CatalogueTuning()
