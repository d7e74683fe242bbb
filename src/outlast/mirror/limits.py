"""What the operator lets clients make a mirror fetch; a value that settings can import quickly."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """`hourly` bytes may one asker make a mirror fetch in an hour (0: no limit; a single file may
    be larger). `keep_free` bytes of the disk stay free (None: a share of it, see the tuning).
    `keep` bytes may what came through the mirror take; above that, and where the disk is full, what
    was used least recently is dropped. (None: nothing ever is.)
    """

    hourly: int = 1_000_000_000_000
    keep_free: int | None = None
    keep: int | None = None
