"""Measured runs, and the simulation of the same: do they agree?"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RUNS = Path(__file__).parent.parent / "results" / "sim-calibration.json"


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds until each node had the whole payload, and bytes of payload that the origin sent."""

    done: tuple[float, ...]
    origin: int


@dataclass(frozen=True, slots=True)
class Run:
    """A measured run. Sizes in bytes; rates in bytes/s on the wire, 0 where nothing limits."""

    name: str
    nodes: int
    size: int
    seed_up: int
    peer_up: int
    measured: Measured
    kill_seed: bool = False
    killed_at: float | None = None
    wasted: int = 0
    hub: bool = False
    """The origin is a hub (HTTP, one elected holder), and not a BitTorrent seed."""


def read_runs(path: Path = RUNS) -> list[Run]:
    """The runs that were noted; none where there is no such file."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text())["runs"]
    return [Run(**{**row, "measured": _measured(row["measured"])}) for row in rows]


def _measured(row: dict[str, Sequence[float] | int]) -> Measured:
    done, origin = row["done"], row["origin"]
    assert not isinstance(done, int)
    assert isinstance(origin, int)
    return Measured(tuple(done), origin)
