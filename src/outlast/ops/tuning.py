"""Numbers of the use cases that are measured or guessed, and that no document fixes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """How use cases wait and share work. Every value is a guess unless its line says otherwise."""

    search_listen: float = 1.5
    """Seconds that a search listens for neighbours; they answer a beacon in a fraction of that."""
    search_within: float = 5.0
    """Seconds after which a search ends, whether or not every node has answered."""
    search_crowded: float = 12.0
    """The same where many of the nodes that are heard are invented. Guess: a node that has heard
    512 of them answers a new one after 5.3 s (`swarm.lan.beacon`), and may be missed once."""
    search_threads: int = 64
    """Nodes that a search asks at once."""
    search_nodes: int = 1024
    """Nodes heard on the LAN, at addresses that take connections, that wait to be asked: more than
    it has, a bound for forged ones."""
    search_first: float = 0.8
    """Seconds in which one of these has to say who it is: in `search_crowded`, `search_threads` ask
    nearly all that can wait. Guess: a node of a LAN answers in a hundredth of that."""
    search_ports: int = 8
    """Nodes at one address of the LAN that are asked. Guess."""
    search_models: int = 1000
    """Most models that one node may answer a search with: a search is for names."""
    search_poll: float = 0.1
    """Seconds until a waiting search looks at the clock and at Ctrl-C again."""

    manifest_patience: float = 3.0
    """Seconds to look for a node that has a manifest, unless the user says how long."""
    manifest_answer: float = 30.0
    """Seconds in which a node must have sent a manifest, or its list of models."""
    manifest_threads: int = 16
    """Nodes that are asked for a manifest at once."""
    manifest_poll: float = 0.05
    """Seconds between two looks at which nodes have answered, and which are new."""

    layer_wait: float = 1.0
    """Seconds to wait for neighbours that may have the layer of hashes of a linked payload."""
    layer_answer: float = 5.0
    """Seconds in which a neighbour must have sent that layer; the pull goes on without it."""

    pack_threads: int = 2
    """Threads that encode or decode the blocks of one blob; kernels release the GIL."""
    pack_step: int = 16 << 20
    """Bytes of a blob between two reports of progress, and two looks at Ctrl-C."""
    verify_threads: int = 2
    """Blobs that are hashed at once: one is hashed while the disk reads the other."""

    low_space: int = 5 * 1024**3
    """Free bytes below which the doctor warns: room for one model of 8 B weights at 4 bits."""


TUNING: Final = Tuning()
