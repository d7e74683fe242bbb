"""Finds words that differ by a slip or two, without comparing with all of them.

A word is cut into one piece more than slips are allowed: each slip spoils one piece at most, so one
piece at least is whole in the other word, near its place. (Li, Deng, Wang, Feng: Pass-Join, 2011.)
"""

from collections.abc import Iterator

from outlast.features.trust.screening.tuning import MATCHES, MatchTuning


class NearNames:
    """Words, each with the numbers of the names that have it."""

    def __init__(self, tuning: MatchTuning = MATCHES) -> None:
        self._tuning = tuning
        self._names: dict[str, list[int]] = {}
        self._pieces: dict[tuple[int, int, str], list[str]] = {}

    def add(self, word: str, name: int) -> None:
        """Notes that name number `name` has this word."""
        known = self._names.get(word)
        if known is not None:
            known.append(name)
            return
        self._names[word] = [name]
        slips = self.slips(len(word))
        if slips:
            for number, start, end in _cut(len(word), slips + 1):
                self._pieces.setdefault((len(word), number, word[start:end]), []).append(word)

    def slips(self, length: int) -> int:
        """How many slips are allowed in a word of so many letters."""
        if length < self._tuning.one_slip:
            return 0
        return 1 if length < self._tuning.two_slips else 2

    def near(self, word: str) -> Iterator[tuple[str, list[int]]]:
        """Other words within the slips that the shorter of the two allows, and who has them."""
        from rapidfuzz.distance import OSA  # noqa: PLC0415 - when names are compared

        seen = {word}
        for candidate in self._candidates(word):
            if candidate not in seen:
                seen.add(candidate)
                most = self.slips(min(len(word), len(candidate)))
                if most and OSA.distance(word, candidate, score_cutoff=most) <= most:
                    yield candidate, self._names[candidate]

    def _candidates(self, word: str) -> Iterator[str]:
        for length in range(len(word) - 2, len(word) + 3):
            slips = self.slips(length)
            if not slips or abs(length - len(word)) > slips:
                continue
            for number, start, end in _cut(length, slips + 1):
                for shift in range(-slips, slips + 1):
                    if start + shift >= 0:
                        piece = word[start + shift : end + shift]
                        yield from self._pieces.get((length, number, piece), ())


def _cut(length: int, pieces: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each of so many pieces, all about as long."""
    for number in range(pieces):
        yield number, length * number // pieces, length * (number + 1) // pieces
