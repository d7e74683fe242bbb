"""The numbers of second homes that are ours to choose: times in seconds, sizes in bytes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class BucketTuning:
    """Where it says "guess", no measurement chose the number."""

    connect: float = 10.0
    """Until a connection stands. As `HttpSettings.connect_timeout`."""
    silence: float = 30.0
    """Without a byte of an answer. As `HttpSettings.read_timeout`."""
    request: float = 300.0
    """For a whole request: a part of an upload at 30 kB/s. Guess."""
    retries: int = 5
    """Times that a request is sent again after 429, 5xx, a broken connection or silence."""
    backoff: float = 0.2
    """Before the first of them; twice as long before each next."""
    longest_backoff: float = 10.0
    """Guess: stores that throttle ask for less."""
    retrying: float = 120.0
    """From the first try of a request no further one is begun. Signatures hold for longer."""
    reads: int = 3
    """Times that a range is asked for that came shorter than it should."""
    window: int = 4 << 20
    """Bytes that one request reads. As much as `fetch` asks sources for at a time."""
    part: int = 8 << 20
    """Bytes of a part of an upload, at least: stores want 5 MiB."""
    parts: int = 9000
    """Of an upload, at most: stores take 10,000."""
    at_once: int = 4
    """Parts under way: that many times `part` is the memory of an upload. Guess."""
    reread: int = 8 << 20
    """A file up to this size is read again once it is written, and compared; of a larger one the
    size is asked for."""
    opened: int = 64
    """Capsules that stay open: of each the directory is in memory. Guess."""
    windows: int = 3
    """Windows in the memory of a thread: a delta capsule is read with its base, and that with its
    own."""
    trees: int = 64
    """Trees of blobs that stay in memory: 32 bytes a MiB, 10 MB for files of 5 GB."""
    listed: int = 2_000_000
    """Names that a store may list below one folder: 2,000 requests. Guess: each model is one name
    there, each file another."""


TUNING: Final = BucketTuning()
