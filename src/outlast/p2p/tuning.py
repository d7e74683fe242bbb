"""The times and counts of this room, in one place. Seconds and bytes, unless a field says else.

*Guess* means that nothing was measured, and the value has worked so far. The pauses before a start
were tuned with eight nodes and one seed (ADR 0016).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """Tests pass their own."""

    # Availability: asking the neighbours what they have

    askers: int = 8
    """Neighbours asked at the same time. Guess."""
    ask_again: float = 4.0
    """Pause between two questions to the same neighbour. Guess: a plan may be that old."""
    ask_hurried: float = 0.25
    """Pause before a neighbour is asked again because it announces the whole of a file that it did
    not offer yet. Without it a transfer that waited asked as fast as the answers came: half of a
    core on each side (measured)."""
    ask_timeout: float = 5.0
    """How long a neighbour may take to answer. Guess."""
    soon: int = 256
    """Files: the next ones to fetch. A neighbour not yet asked for one of them is asked at once.
    Bounds the work of one round of decisions."""
    ask_ahead: int = 500
    """Files named in one question, half of what a node answers at most (`MOST_BLOBS`): the bases of
    their delta capsules need the other half."""
    layer_timeout: float = 10.0
    """How long a neighbour may take to send a merkle tree. Guess: 32 kB per GiB of a file."""

    # Strategy: whether to start, and when to change the plan

    first_look: float = 3.0
    """How long a file waits for the first answers of neighbours before it goes on without them.
    Guess: over twice the 1.2 s that an election takes."""
    tiny_file: int = 64 * 1024
    """Files up to this size need no election: it would cost more than the file."""
    large_file: int = 16 * 1024 * 1024
    """From this size on a file waits until the nodes that start at the same moment know of each
    other; otherwise all of them request its beginning from the same seed."""
    settle_alone: float = 0.4
    """How long a lone node waits for others: as long as a node that has heard of none waits before
    it asks the origin (`docs/format/swarm.md`)."""
    settle_quiet: float = 0.1
    """Quiet time after the last newcomer (ADR 0016): a node announces itself within that time."""
    settle_longest: float = 1.5
    """Start anyway after this long. Guess."""
    stuck_after: float = 15.0
    """Time without a new piece after which a file starts again with another payload. Guess: losing
    what came costs more than waiting a bit."""
    slow_after: float = 30.0
    """If the rest of a file would take longer than this, the origin helps. Guess."""
    stalled_after: float = 8.0
    """Time without a piece from the swarm after which seeds are asked over HTTP too: swarm ports
    may be closed. Guess."""
    idle_origin: float = 6.0
    """Time without a byte from the origin after which the elected fetcher resigns. Guess: longer
    than the 3.5 s after which a silent node does not count."""

    # Patience: how long others are believed that say they fetch a file, or have it

    patience: float = 4.0
    """Time without enough bytes of a file, and without a proof of another node, after which this
    node asks the origin. With the courtesy 5 s, whatever others say: a person waits for it."""
    courtesy: float = 1.0
    """How much longer, if another node began to fetch the file meanwhile: it may not have been able
    to prove itself. Guess: an election takes 1.2 s, and `least_bytes` 2.8 s at 94 kB/s."""
    least_bytes: int = 256 * 1024
    """So many bytes of a file within `patience` are enough: 64 kB/s. Guess: below that a model of
    some GB takes a day. A node that fetches a file shows as many for its first proof, then twice
    as many each time, up to a piece."""
    rate_share: int = 8
    """Under a rate limit, one part in so many of what it lets through is enough."""
    passed_over: float = 60.0
    """How long a node is not asked for a file of which it sent nothing."""
    proof_after: float = 1.5
    """Time without a byte after which those that fetch a file are asked for a proof. Guess: most
    files of a LAN come sooner, and cost no proof."""
    proof_again: float = 1.0
    """Pause between two rounds of questions for a proof."""
    proof_holds: float = 3.0
    """How long the first proof is enough; each further one is twice as long,"""
    proof_holds_longest: float = 24.0
    """up to this. Guess: of a file that takes ten minutes a waiting node asks the origin 27 times
    for 4 kB."""
    proof_timeout: float = 2.0
    """How long a node may take to give one. Guess."""
    provers: int = 4
    """Nodes that are asked for a proof at the same time, of all files. Guess."""
    proofs_of_file: int = 4
    """Nodes that are asked for a proof of one file in one round: any number may claim it."""
    proofs_kept: int = 256
    """Pairs of node and file whose shown bytes are remembered."""
    proofs_of_end: int = 4
    """Proofs that count of a file which a node has to the end and does not hand on: it verifies or
    encodes it. They hold for a minute and a half."""
    base_patience: float = 15.0
    """Time without a byte after which a base of a delta capsule is given up. Guess: as long as
    `stuck_after`, for no origin is asked for it."""
    most_told: int = 16
    """Nodes of which one transfer says that they were passed over."""

    # Coordinator

    sources: int = 8
    """Neighbours that one transfer asks over HTTP. Guess."""
    connections: int = 2
    """HTTP connections to each of them. Guess: one transfers while the piece of the other is
    verified."""
    retry_lost: float = 20.0
    """Pause until a source that was given up is tried again. Guess."""
    last_words: float = 5.0
    """How long a finished transfer may take to tell neighbours what came. Guess."""

    # Progress

    quiet_after: float = 5.0
    """Time without a piece after which a file counts as quiet: the log, the status and the
    progress line say what it waits for, and which pieces are missing."""
    tell_missing: float = 30.0
    """Pause between two reports of missing pieces."""
    tell_waiting: float = 5.0
    """Pause between two reports of what a transfer waits for."""
    smooth: float = 3.0
    """Time over which the shown rate is averaged."""

    # Resolving a ref

    next_source_after: float = 5.0
    """How long a source may be silent until the next one is asked beside it. Guess: hubs answer
    within a second, and a client of a mirror waits ten."""
    origin_grace: float = 2.0
    """How long an origin may take once neighbours have answered. Guess."""
    find_first: float = 1.5
    """How long to wait for a first neighbour if no origin answers. Guess: an announcement, a
    question and an answer fit in."""
    find_longest: float = 12.0
    """After this long, nodes that may still come are not waited for. Guess: a node among 512 known
    ones answers a new one after 5.3 s (`swarm.lan.beacon`), and may be missed once."""
    stragglers: float = 3.0
    """After this long, neighbours that are silent while others answered are ignored. Guess."""
    describe_timeout: float = 5.0
    """How long a neighbour may take to say what a ref is. Guess."""
    most_asked: int = 16
    """Neighbours that are asked what a ref is. Guess."""
    poll: float = 0.05
    """Pause between two looks at the answers."""

    # A torrent link

    link_tick: float = 0.25
    """Pause between two looks at the torrent of a link."""
    link_tell_after: float = 5.0
    """Time without progress after which a person is told what a link waits for."""
    link_tell_again: float = 30.0
    """Pause between two such reports."""
    link_connect_again: float = 5.0
    """Pause until all peers of a link are tried again. Guess."""
    link_ask_timeout: float = 10.0
    """How long a static peer may take to list its models. Guess."""


TUNING: Final = Tuning()
