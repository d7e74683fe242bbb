"""The numbers of tuning that are ours to choose."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """Times in seconds, sizes in bytes."""

    row_seconds: float = 30.0
    """Until the worker says again how many rows are tokens. A guess: it says so twice a second,
    and a chat template that takes longer never ends."""
    stop_seconds: float = 60.0
    """Until a worker that was asked to stop is killed. A guess: the longest step, and a
    checkpoint; what was done since the last one is lost otherwise, and nothing else."""
    checkpoint_seconds: float = 30.0
    """Between two checkpoints. Measured with SmolLM2 and a rank of 8: one takes 0.06 s for 29 MB,
    so that they cost 0.2 % of the time, and a crash at most half a minute."""


TUNING: Final = Tuning()
