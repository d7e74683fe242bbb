"""Sizes as people write them: ``50GB``, ``1.5TiB``."""

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
        value = float(number) * (unit or 0)
    except ValueError:
        return None
    return int(value) if unit is not None and 0 <= value < limit else None
