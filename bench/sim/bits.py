"""Sets of pieces as Python integers, and counts of them that are added and compared all at once.

A set of a thousand pieces is one integer, so that "which of these does no other node have" is a
few operations on 1,000 bits and no loop over pieces.
"""

from collections.abc import Iterator
from random import Random
from typing import Final

SLICES: Final = 7
"""Bits of a count: up to 127 neighbours."""


class Counts:
    """How many of a node's neighbours have each piece: bit i of all counts is one integer."""

    __slots__ = ("slices",)

    def __init__(self) -> None:
        self.slices = [0] * SLICES

    def add(self, pieces: int) -> None:
        """One more neighbour has `pieces`."""
        slices = self.slices
        for number in range(SLICES):
            carry = slices[number] & pieces
            slices[number] ^= pieces
            if not carry:
                return
            pieces = carry
        raise OverflowError("more neighbours than can be counted")

    def drop(self, pieces: int) -> None:
        """One neighbour less has `pieces`."""
        slices = self.slices
        for number in range(SLICES):
            slices[number] ^= pieces
            pieces &= slices[number]  # what went from 0 to 1 borrows from the next
            if not pieces:
                return
        raise OverflowError("fewer than no neighbours")

    def rarest(self, among: int) -> int:
        """Those of `among` (not empty) with the lowest count."""
        for ones in reversed(self.slices):
            zeros = among & ~ones
            if zeros:
                among = zeros
        return among

    def somewhere(self) -> int:
        """What at least one neighbour has."""
        together = 0
        for ones in self.slices:
            together |= ones
        return together

    def count(self, piece: int) -> int:
        return sum((ones >> piece & 1) << place for place, ones in enumerate(self.slices))


def lowest(pieces: int) -> int:
    """The first of `pieces` (not empty)."""
    return (pieces & -pieces).bit_length() - 1


def draw(pieces: int, total: int, random: Random) -> int:
    """One of `pieces` (not empty, numbers below `total`): the next from a random place on."""
    place = int(random.random() * total)
    above = pieces >> place
    if above:
        return place + (above & -above).bit_length() - 1
    return (pieces & -pieces).bit_length() - 1


def each(pieces: int) -> Iterator[int]:
    """The numbers of `pieces`, rising."""
    while pieces:
        low = pieces & -pieces
        yield low.bit_length() - 1
        pieces ^= low


def full(total: int) -> int:
    """The set of all of so many pieces."""
    return (1 << total) - 1
