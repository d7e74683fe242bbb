"""Money as whole nano-dollars (1e-9 USD), so that sums are exact: no floats.

A price of $0.0375 for a million tokens is 37.5 nano-dollars a token. A request's price is worked
out exactly in decimals, and rounded up once, to the next nano-dollar.
"""

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

from outlast.core.errors import BadConfigError

NANO: Final = 10**9
MOST_DOLLARS: Final = 10**9
"""Of a budget or a price. SQLite counts to 9.2e18 nano-dollars; a budget of this and the largest
request beyond it stay below that."""
_PLACES: Final = 18
"""Digits after the point of a price that is read."""


def nanos_of(dollars: Decimal) -> int:
    """Dollars as nano-dollars, rounded up."""
    return int((dollars * NANO).to_integral_value(ROUND_CEILING))


def atto(dollars: Decimal) -> int:
    """Dollars as units of 1e-18 dollars: each price that `parse_dollars` gives is a whole number of
    them.
    """
    return int(dollars.scaleb(_PLACES))


def scaled(nanos: int, factor: Decimal) -> int:
    """Nano-dollars times a factor, rounded up."""
    return -(-nanos * atto(factor) // 10**_PLACES)


def dollars_text(nanos: int) -> str:
    """Nano-dollars as dollars with at least two digits after the point, and no more than it
    takes: ``12.50``, ``0.000012``.
    """
    sign = "-" if nanos < 0 else ""
    whole, part = divmod(abs(nanos), NANO)
    return f"{sign}{whole}.{f'{part:09d}'.rstrip('0'):0<2}"


def parse_dollars(value: Any, what: str) -> Decimal:
    """A price or budget in dollars, from a text or a number of a file that was read with decimals.
    Raises :class:`BadConfigError` for what is no number from 0 to a billion.
    """
    wrong = BadConfigError(
        f"{what}: not an amount of dollars: {str(value)[:50]!r}", hint='write it like "2.50"'
    )
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise wrong
    if isinstance(value, str) and not (value.isascii() and len(value) <= 40 and "_" not in value):
        raise wrong
    try:
        found = Decimal(value)
    except InvalidOperation:
        raise wrong from None
    if not found.is_finite() or not 0 <= found <= MOST_DOLLARS:
        raise wrong
    exponent = found.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_PLACES:
        raise wrong
    return found
