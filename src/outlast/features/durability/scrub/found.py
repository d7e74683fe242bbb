"""What a scrub found, and what became of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

UNTOUCHED: Final = "this scrub mends nothing"
"""Why damage was left."""


class DamagedPart(StrEnum):
    """Of what is damaged."""

    BLOB = "blob"
    CAPSULE = "capsule"
    SUMS = "sums"
    MANIFEST = "manifest"
    RECORD = "record"
    INDEX = "index"
    PARITY = "parity"
    ATTESTATION = "attestation"


@dataclass(frozen=True, slots=True)
class FoundDamage:
    """Damage, and whether it is mended."""

    kind: Annotated[DamagedPart, "of what is damaged"]
    path: Annotated[str, "the file, in the archive's folder or the second home"]
    problem: Annotated[str, "what is wrong, for a person"]
    mended: Annotated[bool, "whether it is right again"]
    why_not: Annotated[str, "why it is not mended, for a person; empty if it is"] = ""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """The result: how many files of how many bytes were read, in so many seconds; what was found;
    how many files of this pass are left; `oldest`: seconds since the file was checked, or came,
    for which that is longest; what was written of parity, and how many files lack it.
    """

    files: int
    size: int
    seconds: float
    found: tuple[FoundDamage, ...]
    left: int
    left_size: int
    oldest: float
    parity_files: int = 0
    parity_size: int = 0
    parity_lacking: int = 0

    @property
    def damage_left(self) -> int:
        """How much of what was found is not mended."""
        return sum(not one.mended for one in self.found)
