"""Numbers of garbage collection that are ours to choose."""

from typing import Final

DAY: Final = 24 * 3600
"""Seconds."""
GRACE: Final = 7 * DAY
"""Seconds that what was collected waits in the trash. A guess: a mistake that is made on a Friday
is still mended after the weekend, and the bytes of a large model do not stay for a month.
"""
READ: Final = 1 << 20
"""Bytes that are hashed between two reads."""
LONGEST_NOTE: Final = 1 << 30
"""Bytes of a note of protected blobs: 16 million of them. A longer one is not read, and made anew
from what is there.
"""
RESTART_SHARE: Final = 0.5
"""Of the time of grace: what at most counts for the time in which the machine was off, or between
two machines, where only the date tells. A guess: a date that is wrong once deletes nothing, and the
trash of a machine that is off at night is emptied at the third weekly collection at the latest.
"""
LONGEST_LEDGER: Final = 16 << 20
"""Bytes of the file that says how long batches have been in the trash: 100,000 of them."""
