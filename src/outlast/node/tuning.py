"""The times and counts of this room, in one place. Seconds, unless a field says else."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """Tests pass their own. *Guess*: nothing was measured, and the value has worked so far."""

    tick: float = 0.25
    """Pause between two rounds of decisions. Guess: short beside the 1.2 s of an election."""

    # Peers

    ask_again: float = 30.0
    """Pause until a peer that answered is asked again who it is."""
    ask_timeout: float = 3.0
    """How long a peer may take to answer, and the pause after it did not. Guess."""
    first_timeout: float = 1.5
    """How long a peer that was just heard of may take to answer the first question: invented ones
    must not keep the others waiting. All of `most_neighbours` are asked within 6 s. Guess."""
    static_again: float = 5.0
    """Pause until a static peer that did not answer is asked again. Guess."""
    resolve_again: float = 60.0
    """Pause until the names of static peers are looked up again, once all are known."""
    askers: int = 64
    """Peers that are asked at the same time. Guess."""
    most_addresses: int = 4
    """Addresses that are tried of one name."""
    most_failures: int = 3
    """Failures in a row after which a peer counts as gone."""
    most_neighbours: int = 256
    """Peers of the LAN that are known at once: a bound against forged announcements."""
    most_ports: int = 32
    """Peers at one address that are known at once: the commands that run on one machine. Guess."""

    # Seeding

    compare_rate: float = 200e6
    """Bytes per second that are compared before they are seeded. Guess: a disk has more, and what
    is served meanwhile goes first."""
    most_trackers: int = 64
    """Trackers that the status remembers."""
    follow: float = 1.0
    """Pause between two looks at what may be seeded, at least,"""
    follow_longest: float = 10.0
    """at most,"""
    follow_share: int = 20
    """and in between as long as so many such looks take: at most 5 % of the time."""
    look_at_shares: float = 1.0
    """Pause between two looks at which torrents are shared."""

    # Following the archive

    look_again: float = 5.0
    """After this long the whole archive is looked at, whatever its folders' times say."""
    rest_share: int = 100
    """Such a look takes at most one part in so many of the time. Guess."""
    slow_draft: float = 0.05
    """A draft that takes this long to read is slow;"""
    draft_share: int = 20
    """it is read again only after so many times as long."""
    rejudge: float = 60.0
    """The rules are asked anew for what is shared, after this long at least. Guess."""
    kept_drafts: int = 32
    """Manifests of drafts that are remembered: a peer that heard of one can have it although files
    came since."""


TUNING: Final = Tuning()
