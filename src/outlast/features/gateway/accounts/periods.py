"""For how long a budget is: a day, a month, or for good; in UTC."""

import calendar
import time
from enum import StrEnum
from functools import lru_cache
from typing import Final

_DAY: Final = 86_400
_LAST: Final = 253_370_764_799
"""Seconds since 1970 of the end of the year 9998: the month after it still has a name of four
digits."""


class Period(StrEnum):
    """Of a budget. OPEN is no time: it counts what runs now."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"
    OPEN = "open"


def period_at(kind: Period, now: float) -> str:
    """The name of the period in which `now` (seconds since 1970) lies: ``2026-11-30``, ``2026-11``,
    or "" for kinds that have one alone. Later periods have greater names.
    """
    if kind is Period.OPEN or kind is Period.TOTAL:
        return ""
    day = _day(int(_bounded(now)) // _DAY)
    return day[:7] if kind is Period.MONTH else day


def seconds_left(kind: Period, now: float) -> float | None:
    """Seconds until the next period begins; None where none does."""
    if kind in {Period.TOTAL, Period.OPEN}:
        return None
    at = _bounded(now)
    moment = time.gmtime(at)
    if kind is Period.DAY:
        end = calendar.timegm((moment.tm_year, moment.tm_mon, moment.tm_mday + 1, 0, 0, 0))
    else:
        year, month = divmod(moment.tm_year * 12 + moment.tm_mon, 12)
        end = calendar.timegm((year, month + 1, 1, 0, 0, 0))
    return max(0.0, end - at)


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    """The name of a day, by its number since 1970."""
    moment = time.gmtime(number * _DAY)
    return f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}"


def _bounded(now: float) -> float:
    return min(max(now, 0.0), float(_LAST))
