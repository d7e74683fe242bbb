"""How many have to agree."""

from dataclasses import dataclass
from typing import Final

MOST_NEEDED: Final = 16
"""As many signatures as one envelope has."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Keys of the publisher, and observers."""

    signatures: int = 1
    observers: int = 1
