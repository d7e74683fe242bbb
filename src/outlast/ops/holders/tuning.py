"""The numbers of this room that are ours to choose. Seconds, unless a field says else; all of them
are guesses.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """How long others are waited for, and how much is asked of them. Tests pass their own."""

    answer: float = 10.0
    """Time in which one has to answer one round of questions; there are up to three rounds."""
    listen: float = 1.5
    """How long nodes on the LAN are listened for; they answer a beacon in a fraction of that."""
    poll: float = 0.1
    """Time between two looks at Ctrl-C."""
    threads: int = 32
    """Holders that are asked at once."""
    strangers: int = 256
    """Nodes heard on the LAN that wait to be asked: more than it has, a bound for forged ones."""
    strangers_a_host: int = 8
    stranger_threads: int = 64
    """Nodes on the LAN that are asked at once: in `first`, all that can wait get their turn in a
    third of `answer`."""
    stranger: float = 3.0
    """Time in which a node on the LAN has to answer each further question."""
    addresses: int = 4
    """Addresses that are tried of one static peer."""
    first: float = 0.8
    """Time in which a node on the LAN has to say who it is."""
    blobs: int = 2000
    """Files that a node is asked for, the largest first: two requests."""
    swarms: int = 32
    """Files whose torrents are looked for, the largest first."""
    swarm_peers: int = 1000
    """Peers of one torrent that are counted."""
    scrape: int = 64 * 1024
    """Bytes of a tracker's answer: one of 32 torrents has some 3 kB."""
    lookup: float = 8.0
    """Time for the DHT to be entered, and to name peers."""
    quiet: float = 2.0
    """The DHT is asked no longer when it has named peers, and no new ones for so long."""


TUNING: Final = Tuning()
