"""Rate limits that follow the clock: pure functions of a schedule and a moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

DAY: Final = 24 * 60
"""Minutes."""
_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits in bytes/s, 0 for none: beyond the LAN (`up`, `down`) and on it."""

    up: int = 0
    down: int = 0
    lan_up: int = 0
    lan_down: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the week with its own limits: `up` and `down` bytes/s beyond the LAN. It opens at
    `start` on each of `days` (0 is Monday) and closes before `end`, both in minutes of the day. If
    `end` is not after `start`, it closes on the next day; if both are equal, it lasts 24 hours.
    Raises ValueError for numbers out of range.
    """

    days: frozenset[int]
    start: int
    end: int
    up: int
    down: int

    def __post_init__(self) -> None:
        if not self.days <= frozenset(range(_WEEK)):
            raise ValueError("days of a week are 0 to 6")
        if not (0 <= self.start < DAY and 0 <= self.end <= DAY):
            raise ValueError("minutes of a day are 0 to 1440")
        if self.up < 0 or self.down < 0:
            raise ValueError("a rate is not negative")

    def covers(self, weekday: int, minute: int) -> bool:
        """Whether the window is open at that minute of that day of the week."""
        today = weekday in self.days
        if self.end > self.start:
            return today and self.start <= minute < self.end
        yesterday = (weekday - 1) % _WEEK in self.days
        return (today and minute >= self.start) or (yesterday and minute < self.end)


def rates_at(base: Rates, schedule: Sequence[Window], moment: datetime) -> Rates:
    """The limits at `moment`, whose fields are taken as local time: those of the first window that
    is open, else `base`. No window changes the limits of the LAN.
    """
    minute = moment.hour * 60 + moment.minute
    for window in schedule:
        if window.covers(moment.weekday(), minute):
            return Rates(window.up, window.down, base.lan_up, base.lan_down)
    return base
