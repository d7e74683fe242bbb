"""What was measured or guessed for taking files in.

The thresholds for a blob without bases are not here: strangers must keep it in the same form, so
they are fixed in :mod:`outlast.intake.form_policy`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """Passed to :class:`outlast.intake.capsule_stream.Intake` and
    :class:`outlast.intake.base_finder.BaseFinder`.
    """

    prefix_bytes: int = 32 << 20
    """Of a file that is being downloaded: how many bytes must be here before its form is chosen. A
    guess: some blocks of several tensors."""
    step_bytes: int = 4 << 20
    """Encoded between two looks whether the capsule is still wanted. A guess: 10 ms of work."""
    revisions: int = 200
    """Revisions of other models that are compared where no named base fits. A guess that bounds the
    time of a large archive."""
    headers: int = 400
    """Headers that may be read to find the base of one file. A guess, likewise."""
    shared: float = 0.5
    """Of a file's tensor bytes: what a model that no card names must have the like of. A guess."""
    near: float = 0.5
    """Of the sampled high bytes: what must be equal. Measured: of unrelated weights a fifth is
    equal, of a model and its fine-tune nearly all."""
    sampled_tensors: int = 8
    """Tensors whose values are compared. A guess."""
    sample_bytes: int = 16 * 1024
    """Compared of each of them. A guess."""


TUNING: Final = Tuning()
