"""How long things have been in the trash, by clocks that cannot be set.

A machine's date may jump by years: a battery is empty, a time server is wrong, a virtual machine
was paused. What waits to be deleted must not become old by that. So the age of each batch is added
up, from one collection to the next. While the machine is not restarted, what counts is its clock
that only goes forward (and also while it sleeps). Across a restart, and between two machines, the
date counts, and for no more than half of the time of grace.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from outlast.core.errors import OutlastError
from outlast.core.manifest import load_json
from outlast.store import disk
from outlast.store.garbage.tuning import LONGEST_LEDGER, RESTART_SHARE
from outlast.store.layout import Layout
from outlast.store.records.sealed import seal, unseal

_NAME: Final = "ages"
_TYPE: Final = "outlast-trash-ages-v1"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_TIME_SPACE: Final = Path("/proc/self/ns/time")


@dataclass(frozen=True, slots=True)
class Moment:
    """A look at the clocks. `boot` names the run of the machine in which `ticks` counts (seconds);
    empty where that cannot be told. `date` is in Unix seconds.
    """

    boot: str
    ticks: float
    date: float

    @classmethod
    def now(cls) -> Self:
        return cls(_boot(), time.clock_gettime(_steady_clock()), time.time())

    def until(self, later: "Moment", most: float) -> float:
        """Seconds from here to `later`; at most `most` of them where only the date tells."""
        if self.boot and self.boot == later.boot:
            return max(0.0, later.ticks - self.ticks)
        return min(max(0.0, later.date - self.date), most)


@dataclass(frozen=True, slots=True)
class Age:
    """How old a batch was at a moment, in seconds."""

    seconds: float
    at: Moment

    def grown(self, now: Moment, grace: float) -> "Age":
        """The same at a later moment."""
        return Age(self.seconds + self.at.until(now, grace * RESTART_SHARE), now)


class Ages:
    """The ages of the batches in the trash, in a file beside them. A batch that it does not name,
    and any where the file cannot be read, is new. Use it with the archive's lock held exclusively.
    """

    def __init__(self, layout: Layout) -> None:
        self._path = layout.trash / _NAME
        self._name = self._path.relative_to(layout.home).as_posix()

    def look(self, batches: Iterable[str], grace: float) -> dict[str, Age]:
        """How old each of them is now. Nothing is written."""
        known, now = self._read(), Moment.now()
        fresh = Age(0.0, now)
        return {name: known[name].grown(now, grace) if name in known else fresh for name in batches}

    def begin(self, batch: str) -> None:
        """A batch that is made now."""
        self.write({**self._read(), batch: Age(0.0, Moment.now())})

    def write(self, ages: Mapping[str, Age]) -> None:
        """Notes these, and no others; without any there is no file. Where that cannot be done, as
        on a full disk, batches stay for longer.
        """
        if not ages:
            with contextlib.suppress(OSError):
                disk.remove(self._path)
            return
        document = {
            "type": _TYPE,
            "batches": {
                name: [age.seconds, age.at.boot, age.at.ticks, age.at.date]
                for name, age in sorted(ages.items())
            },
        }
        temp = self._path.with_suffix(".tmp")
        with contextlib.suppress(OutlastError), disk.reporting(self._path):
            disk.make_dir(self._path.parent)
            disk.remove(temp)
            disk.write_temp(
                temp, seal(self._name, json.dumps(document).encode() + b"\n"), disk.READ_ONLY
            )
            disk.publish(temp, self._path)

    def _read(self) -> dict[str, Age]:
        try:
            with open(self._path, "rb") as file:
                data = file.read(LONGEST_LEDGER + 1)
            body = unseal(self._name, data)
            if body is None:
                return {}
            document = load_json(body, LONGEST_LEDGER)
        except (OSError, OutlastError):
            return {}
        if not isinstance(document, dict) or document.get("type") != _TYPE:
            return {}
        batches = document.get("batches")
        found = batches.items() if isinstance(batches, dict) else ()
        ages = {name: _age(value) for name, value in found}
        return {name: age for name, age in ages.items() if age is not None}


def _age(value: Any) -> Age | None:
    match value:
        case [int() | float(), str(boot), int() | float(), int() | float()]:
            seconds, _, ticks, date = value
            return Age(seconds, Moment(boot, ticks, date))
    return None


def _steady_clock() -> int:
    """Counts while the machine sleeps too, where there is such a clock."""
    return getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _boot() -> str:
    """This run of the machine, and its time namespace, in which its clock may be moved."""
    try:
        boot = _BOOT.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
    with contextlib.suppress(OSError):
        return f"{boot} {os.stat(_TIME_SPACE).st_ino}"
    return boot
