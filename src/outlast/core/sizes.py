"""Sizes as people write and read them: ``50GB``, ``1.5TiB``."""

from typing import Final

_UNITS: Final = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_LIMIT: Final = 1e18


def bytes_of(text: str, limit: float = _LIMIT) -> int | None:
    """How many bytes a text says, in upper or lower case and with or without a ``B`` at its end;
    None where it says no number below `limit`.
    """
    text = text.strip().lower().removesuffix("b")
    number = text.rstrip("kmgti")
    unit = _UNITS.get(text[len(number) :])
    try:
        value = (int if number.isdecimal() else float)(number) * (unit or 0)
    except ValueError:
        return None
    return int(value) if unit is not None and 0 <= value < limit else None


def human_size(count: float) -> str:
    """Bytes for people: powers of 1000, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return ""
