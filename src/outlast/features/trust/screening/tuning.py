"""The numbers of this room that are ours to choose: bytes, characters and counts."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ListTuning:
    """Bounds of a list file, checked before memory is taken. Each is a guess."""

    size: int = 1 << 30
    """Bytes of a file."""
    chunk: int = 256 * 1024
    """Bytes that are read at once."""
    head: int = 16 * 1024
    """Characters that tell which list a file is."""
    line: int = 1 << 20
    """Characters of a line, and of one row of a table that goes over several lines."""
    element: int = 1 << 20
    """Bytes of one element of XML or JSON."""
    depth: int = 32
    """Elements of XML inside each other. The EU's list has 4."""
    rows: int = 1_000_000
    """Rows of a table; elements of a list."""
    names: int = 2_000
    """Names of one party. Guess: the most that we saw were 150."""
    name: int = 2_000
    """Characters of a name."""


@dataclass(frozen=True, slots=True)
class MatchTuning:
    """How names are compared. Each value was chosen on the labelled set of
    `tests/features/trust/screening`, and stands in `docs/guide/screening.md`.
    """

    least: int = 4
    """Letters of a whole name, at least, for a match: shorter ones (HIT, AMO) are many things."""
    least_bare: int = 4
    """Letters of a name without its words of trade, at least, for a match."""
    least_sound: int = 6
    """Letters of a name, at least, for a match by its sound alone."""
    one_slip: int = 6
    """Letters from which one slip in spelling makes a name possible …"""
    two_slips: int = 12
    """… and two."""
    sharing: int = 3_000
    """Names that share a word with one that are compared with it, those with its rarest word first:
    about 15 ms. Huawei's affiliates alone are some hundred names on the Entity List."""
    shared: float = 0.6
    """The part of a longer name, by how rare its words are, that a shorter one within it has, at
    least."""
    even: float = 0.62
    """The same where both have words that the other lacks: the harmonic mean of both parts."""
    consonants: int = 4
    """Consonants of a name in Arabic script, at least, for a match; one less where both have the
    same words of trade, kind and place."""
    most_hits: int = 10
    """Rows that are reported for a name, the likest first."""


LISTS: Final = ListTuning()
MATCHES: Final = MatchTuning()
