"""Where a node that says it fetches a file is asked to show it, and how much it has to have."""

import pytest

from outlast.codec.merkle import PIECE
from outlast.core.errors import EntryNotFoundError
from outlast.p2p.proofs import ShownBytes
from outlast.p2p.tuning import TUNING
from outlast.sources.peer import SAMPLE

LEAST = TUNING.least_bytes
SIZE = 100 * PIECE


def show(shown: ShownBytes, have: int) -> int:
    place = shown.next_place(have, SIZE, TUNING)
    shown.note(have)
    return place


def test_a_part_of_a_piece_is_enough_at_first() -> None:
    """A source may be so slow that the first piece takes longer than others wait."""
    assert LEAST < PIECE
    with pytest.raises(EntryNotFoundError):
        ShownBytes().next_place(LEAST - 1, SIZE, TUNING)
    assert ShownBytes().next_place(LEAST, SIZE, TUNING) <= LEAST - SAMPLE


def test_each_time_it_takes_twice_as_much_up_to_a_piece() -> None:
    """So a drip does not hold others back, as each proof holds for longer."""
    shown, have = ShownBytes(), 0
    for more in (LEAST, 2 * LEAST, PIECE, PIECE, PIECE):
        with pytest.raises(EntryNotFoundError):
            shown.next_place(have + more - 1, SIZE, TUNING)
        before, have = have, have + more
        assert before <= show(shown, have) <= have - SAMPLE


def test_the_end_of_a_file_counts_however_little_it_is() -> None:
    shown = ShownBytes()
    show(shown, SIZE - 1000)
    show(shown, SIZE - 1)
    for _ in range(TUNING.proofs_of_end):
        show(shown, SIZE - 1)  # it verifies the file
    with pytest.raises(EntryNotFoundError):
        show(shown, SIZE - 1)
