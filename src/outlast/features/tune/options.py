"""What a tuning is told: all that its result follows from."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from outlast.core.errors import UsageError

ALL_LINEAR: Final = "all-linear"
_TARGET: Final = re.compile(r"[A-Za-z0-9_.]{1,100}\Z")


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """`rank` and `alpha` of the adapter (its weight is alpha / rank), `targets`: the modules that
    get one, or :data:`ALL_LINEAR`. `batch` rows make one step; `epochs` times all rows, or
    `steps` of them (None: by `epochs`). `rate`: the highest learning rate, reached after `warmup`
    of the steps; it ends at 0. `length`: most tokens of a row. `held_out`: which part of the rows.
    `threads` of the CPU count too: with another number, sums are rounded otherwise.
    """

    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = (ALL_LINEAR,)
    dropout: float = 0.0
    rate: float = 2e-4
    warmup: float = 0.05
    epochs: int = 3
    steps: int | None = None
    batch: int = 4
    length: int = 1024
    held_out: float = 0.1
    seed: int = 0
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("rank", 1, 1024),
            ("alpha", 1, 65_536),
            ("dropout", 0, 0.9),
            ("rate", 1e-9, 1),
            ("warmup", 0, 1),
            ("epochs", 1, 10_000),
            ("batch", 1, 1024),
            ("length", 8, 1 << 20),
            ("held_out", 0, 0.9),
            ("seed", 0, (1 << 53) - 1),
            ("threads", 1, 4096),
        ):
            value = getattr(self, name)
            if not low <= value <= high:  # NaN is not within either
                raise UsageError(f"{name.replace('_', '-')} lies between {low} and {high}")
        if self.steps is not None and not 1 <= self.steps <= 10_000_000:
            raise UsageError("steps lies between 1 and 10000000")
        wrong = [name for name in self.targets if name != ALL_LINEAR and not _TARGET.match(name)]
        if wrong or not self.targets:
            raise UsageError(f"not the name of a module: {''.join(wrong[:1])!r:.60}")

    def parameters(self) -> dict[str, Any]:
        """For the record: named values."""
        found = {key: value for key, value in asdict(self).items() if value is not None}
        del found["seed"]
        return {**found, "targets": ",".join(self.targets)}
