"""The times and counts of this room, in one place. Seconds and bytes, unless a field says else."""

from dataclasses import dataclass
from typing import Final

from outlast.codec.merkle import PIECE


@dataclass(frozen=True, slots=True)
class Tuning:
    """Tests pass their own. *Guess*: nothing was measured, and the value has worked so far."""

    # One file

    in_flight: int = 16
    """Pieces (1 MiB) of one file that may be under way at once: what a crash can cost."""
    chunk: int = 4
    """Pieces (1 MiB) that one request asks for: each costs a round trip and a CDN redirect. See
    ADR 0004."""
    small_file: int = 4 * PIECE
    """Files up to this size are fetched in one request and verified in memory."""
    hedge_after: float = 3.0
    """Once no piece is left to request, a piece that takes longer than this is requested from a
    second source too. Guess."""
    small_hedge_after: float = 10.0
    """The same for a small file, once a source has nothing else to do. Guess: 400 kB/s."""
    flush_every: int = 128
    """Pieces (1 MiB) between two calls of fsync."""
    read_size: int = 256 * 1024
    """The most that is read from a connection at once: so often is a rate limit applied, and a
    cancellation noticed."""

    # What comes beside the files

    beside_wait_s: float = 2.0
    """How long a pull waits, once its files are here, for the text of the commit, or for
    signatures. They were asked for when the first file was. Guess: hubs answer in well under a
    second."""

    # Many files

    active_files: int = 3
    """Larger files that come at the same time. Guess: one is hashed while others come."""
    waiting_files: int = 16
    """Larger files that may wait for a plan beside them. Guess."""
    idle: float = 0.5
    """The longest pause between two looks at whether there is something to do."""
    reserve: int = 64 * 1024 * 1024
    """Bytes left free on the disk, for manifests, the index and other programs."""

    # A source

    first_wait: float = 0.5
    """Pause after the first failure of a source; it doubles with each further one (ADR 0003)."""
    longest_wait: float = 30.0
    """The longest such pause, unless the source itself asks for more (ADR 0003)."""
    kind_timeout: float = 10.0
    """How long a source may take to say whether a ref is a branch or a tag: nice to know."""

    least_rate: int = 1024
    """Bytes a second that a request for a file must bring, or another source is asked. Guess: a
    modem of 1998 is quicker."""
    slow_after: float = 30.0
    """Seconds of waiting after which that is looked at: what a silent source is given."""
    refusals: int = 3
    """Files that a source refuses, one after the other, until it is given up. Guess."""

    # How many requests at once (`fetch.concurrency`)

    probe_after: int = 8
    """Answers after a refusal until one request more is tried again; doubled with each further
    refusal. Guess: 32 MiB of a large file."""
    file_probes: int = 1
    """Refusals after which one request more is still tried for a file. So a file costs two refused
    requests, and one more if the limit falls meanwhile."""
    unanswered: int = 2
    """Requests for one file that wait for their first byte at once: if a limit falls, so many are
    refused together. With 0.1 s to the first byte, 80 MB/s a file."""
    settle: float = 0.25
    """A server may count a request until so long after its last byte came here. Guess."""
    solo_patience: float = 2.0
    """A refused request is sent again alone. If it is not wanted any more, others wait so long for
    it. Four times `idle`."""
    remembered_files: int = 1024
    """Files of a source for which a window is remembered. Guess: some 200 kB."""

    # Signed statements that come along (`fetch.statements`)

    statement_sources: int = 8
    """Nodes that are asked for statements about a revision, all at once. Guess."""
    statement_answer: float = 5.0
    """Seconds that they have for the whole answer: it is 1.5 MB at most. Guess."""
    statement_bytes: int = 16 * 1024 * 1024
    """Bytes of them that are read of one source: 256 of 64 KiB."""
    unknown_statements: int = 32
    """Statements about a manifest up to which those by keys that are not pinned here are kept: any
    number of keys can be made. Guess: the user pins such a key before long, or never."""


TUNING: Final = Tuning()
