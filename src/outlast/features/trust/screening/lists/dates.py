"""Dates as the lists write them."""

import datetime as dt
import re
from typing import Final

_ISO: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?!\d)")
_EUROPEAN: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?!\d)")
_NAMED: Final = re.compile(r"(\d{1,2})[- ]([A-Za-z]{3})[a-z]*[- ](\d{4})(?!\d)")
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)


def parse_date(text: str) -> dt.date | None:
    """The day that a text begins with: 2026-11-30, 30/11/2026 or 30-Nov-2026."""
    text = text.strip()
    try:
        if found := _ISO.match(text):
            return dt.date(int(found[1]), int(found[2]), int(found[3]))
        if found := _EUROPEAN.match(text):
            return dt.date(int(found[3]), int(found[2]), int(found[1]))
        if (found := _NAMED.match(text)) and found[2].lower() in _MONTHS:
            return dt.date(int(found[3]), _MONTHS.index(found[2].lower()) + 1, int(found[1]))
    except ValueError:
        return None
    return None
