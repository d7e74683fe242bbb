"""The numbers of lineage that are ours to choose."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes in bytes unless it is said otherwise."""

    rows: int = 128
    """Rows of a tensor that a test compares. A perfect match of 128 has p = 1 / 128!; the
    assignment of 128 takes 20 ms."""
    least_rows: int = 16
    """Fewer rows give no test: 16 signs that agree have p = 1.5e-5. A guess."""
    columns: int = 8192
    """Of a row; what is behind them is not compared. The widest open models have 16,384."""
    seen_columns: int = 65_536
    """Rows that are longer are not read at all. A bound on what a header can ask for: 64 MiB."""
    layers: int = 2
    """Layers from each end of a model that are compared."""
    chunk: int = 32 << 20
    """Of float32 values that a search through a whole tensor decodes at once."""
    alpha: float = 1e-6
    """The chance at most that a model is called related to any that it is not related to, after
    Holm. The target of the issue."""
    near: float = 0.15
    """Correlation of sketches from which on models are compared in full. Of unrelated models the
    2,048 values of a slot correlate by 0.022 (one standard deviation)."""
    most_near: int = 12
    """Models that are compared in full, beside those that records name: the nearest first."""
    proof_rows: int = 16
    """Rows of each tensor that are quantised again."""
    proof_share: float = 0.999
    """Of the blocks that are equal, from which on it is a proof: as the issue says."""
    least_blocks: int = 64
    """Fewer blocks prove nothing."""
    hashed: int = 256 << 20
    """Of tensors that are hashed whole, where their samples are equal."""
    merge_residue: float = 0.05
    """Of the distance to the nearest parent (squared) that a merge may leave unexplained. Rounding
    to bf16 leaves 1e-4 where parents differ by a tenth; unrelated noise leaves 1. A guess."""
    tokenizer: int = 64 << 20
    """Of a tokenizer.json that is read."""


TUNING: Final = Tuning()
