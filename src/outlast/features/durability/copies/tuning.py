"""The numbers of copies that are ours to choose: times in seconds, sizes in bytes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """Measured where a figure is given, else a guess that says so."""

    answer: float = 30.0
    """A peer's whole answer about copies. Guess: a page of 1,000 manifests is 1 MB at most."""
    proof: float = 10.0
    """A peer's answer to a challenge: 17 kB, for which it reads 1 MiB. Guess."""
    meeting: float = 10.0
    """How long the static peers may take to answer for the first time. Guess."""
    askers: int = 8
    """Peers that are asked at once."""
    proven: int = 299
    """Random blocks of which all are right before a copy counts as proven: with 1 % of it lost, one
    of so many is lost with 95 % (0.99 ** 299 = 0.0495)."""
    tries: int = 3
    """Times that a node is asked for the rest of them, if it was busy; `between` them it has a
    moment."""
    between: float = 1.0
    most_failed: int = 100
    """Blocks that one holder failed and that are asked for again."""
    looks: int = 4
    """Models in a store that each round asks for whether all of their files are there: one request
    a file, 576 models a day. Guess."""
    trees: int = 256
    """Trees of files kept in memory: 32 bytes a MiB, so 40 MB for files of 5 GB."""
    enough: int = 3
    """A volunteer takes nothing of which it knows so many copies: so a year in which 30 % of 10,000
    volunteers leave cost no model (`bench/sim/volunteers.py`)."""
    spare: int = 3
    """A volunteer drops nothing of which it knows fewer copies, its own included."""
    reserve: float = 0.05
    """The part of a disk that copies leave free."""
    manifests: int = 20_000
    """Manifests of one peer that are remembered; a list has 10,000 models at most."""
    memory: int = 256 * 1024 * 1024
    """Bytes of the file that remembers; 20,000 manifests of 12 peers are 60 MB."""
    rest: float = 60.0
    """After a failed fetch of a copy, this long and twice as long each time. Guess."""
    longest_rest: float = 86_400.0


TUNING: Final = Tuning()
