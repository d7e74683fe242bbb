"""What a torrent asks for, and what first."""

import pytest

from outlast.swarm.client.picker import PiecePicker
from outlast.swarm.client.probation import Probation
from outlast.swarm.tuning import TUNING, ClientTuning
from tests.swarm.sites import until

COUNT = 40
PIECES = TUNING.client.probation_pieces
SEED = "10.0.0.1:1"


class TestProbation:
    def test_few_pieces_at_first(self) -> None:
        probation = Probation(range(100))
        assert probation
        assert sum(map(probation.allows, range(100))) == PIECES

    def test_where_a_client_reads_they_are_the_first_and_the_last(self) -> None:
        probation = Probation(range(10, 100), in_order=True)
        assert [index for index in range(100) if probation.allows(index)] == [10, 99]

    def test_it_ends_once_when_they_came(self) -> None:
        probation = Probation(range(10, 100), in_order=True)
        assert not probation.ends({10, 50})
        assert probation.ends({10, 99})
        assert not probation
        assert all(map(probation.allows, range(100)))
        assert not probation.ends({10, 99})

    def test_there_is_none_of_few(self) -> None:
        probation = Probation(range(TUNING.client.few_pieces))
        assert not probation
        assert probation.allows(0)
        assert not probation.ends(())

    def test_it_ends_where_no_peer_has_them(self) -> None:
        probation = Probation(range(100), tuning=ClientTuning(probation_s=0.0))
        until(lambda: probation.ends(()), "it ends")


def one_of(count: int, number: int = 0, lacks: "range | None" = None) -> PiecePicker:
    """A member of a crowd, whose probation is over."""
    picker = PiecePicker(COUNT, lacks or range(COUNT), stripe=(number, count))
    allowed = [index for index in range(COUNT) if picker.priority(index)]
    for index in allowed[:PIECES]:
        picker.note(index)
    picker.end_probation()
    return picker


def asked(picker: PiecePicker, *, first: bool = False) -> list[int]:
    return [index for index, p in enumerate(picker.priorities()) if p > (1 if first else 0)]


def finish(picker: PiecePicker, number: int, count: int) -> None:
    for index in range(number, COUNT, count):
        picker.note(index)


def see(picker: PiecePicker, copies: list[int], now: float = 0.0) -> bool:
    return picker.update({SEED}, 3, copies, now)


class TestStripes:
    def test_each_begins_with_other_pieces(self) -> None:
        firsts = [asked(one_of(4, number), first=True) for number in range(4)]
        assert [len(first) for first in firsts] == [4, 4, 4, 4]
        assert len({index for first in firsts for index in first}) == 16

    def test_the_next_of_the_stripe_when_one_came(self) -> None:
        picker = one_of(4)
        assert asked(picker, first=True) == [4, 8, 12, 16]  # 0 and 36 were on probation
        assert picker.note(4) == [20]
        assert picker.note(5) == []
        assert picker.priority(20) > picker.priority(5)

    def test_what_came_otherwise_is_passed_over(self) -> None:
        picker = one_of(4)
        picker.note(20)
        assert picker.note(4) == [24]

    def test_alone_all_are_alike(self) -> None:
        picker = one_of(1)
        assert set(picker.priorities()) == {1}
        assert not picker.may_yield_seeds

    def test_a_crowd_that_grows(self) -> None:
        picker = one_of(2)
        assert picker.take_stripe(1, 3)
        assert not picker.take_stripe(1, 3)
        assert [index % 3 for index in asked(picker, first=True)] == [1, 1, 1, 1]

    def test_probation_is_of_the_own_stripe(self) -> None:
        picker = PiecePicker(COUNT, range(COUNT), stripe=(1, 4))
        assert asked(picker) == [1, 37]

    def test_probation_is_of_what_a_peer_has(self) -> None:
        """As of a holder, which has few pieces at first."""
        picker = PiecePicker(COUNT, range(COUNT), stripe=(1, 4))
        copies = [int(index in {0, 5, 9}) for index in range(COUNT)]
        assert see(picker, copies)
        assert asked(picker) == [5, 9]
        picker.note(5)
        picker.note(9)
        assert picker.end_probation()

    def test_probation_goes_on_where_no_peer_has_a_piece(self) -> None:
        picker = PiecePicker(COUNT, range(COUNT), stripe=(1, 4))
        assert not see(picker, [0] * COUNT)
        assert asked(picker) == [1, 37]

    def test_what_is_left_out(self) -> None:
        picker = one_of(4)
        picker.leave_out(4, out=True)
        assert picker.priority(4) == 0
        picker.leave_out(4, out=False)
        assert picker.priority(4) > 0


class TestOthersStripes:
    def test_as_long_as_the_own_lacks_nothing_is_spared(self) -> None:
        picker = one_of(4)
        assert not see(picker, [1] * COUNT)
        assert len(asked(picker)) == COUNT

    def test_those_behind_are_helped(self) -> None:
        """From the end, and not with what they are fetching now."""
        picker = one_of(2)
        finish(picker, 0, 2)
        assert see(picker, [1] * COUNT)
        assert asked(picker, first=True) == [33, 35, 37, 39]
        for index in range(5, COUNT, 2):
            picker.note(index)
        assert see(picker, [1] * COUNT)
        assert not picker.priority(1)
        assert not picker.priority(3)

    def test_helpers_share_the_work(self) -> None:
        helped = []
        for number in (0, 1):
            picker = one_of(3, number)
            copies = [1 if index % 3 == 2 else 2 for index in range(COUNT)]
            finish(picker, number, 3)
            see(picker, copies)
            helped.append({index for index in asked(picker, first=True) if index % 3 == 2})
        assert len(helped[0]) == len(helped[1]) == 4
        assert not helped[0] & helped[1]

    def test_what_the_crowd_has_is_asked_for(self) -> None:
        picker = one_of(2)
        finish(picker, 0, 2)
        see(picker, [2 if index == 1 else 1 for index in range(COUNT)])
        assert picker.priority(1)
        assert not picker.priority(3)

    def test_not_for_ever(self) -> None:
        """They may have gone."""
        picker = one_of(2)
        finish(picker, 0, 2)
        assert see(picker, [1] * COUNT, now=10.0)
        assert not see(picker, [1] * COUNT, now=11.0)
        assert see(picker, [1] * COUNT, now=13.0)
        assert all(picker.priorities()[1::2])

    @pytest.mark.parametrize(
        ("seeds", "others"),
        [({SEED}, 0), ({SEED, "10.0.0.2:1"}, 3)],
        ids=["no peer", "one is done"],
    )
    def test_not_where_that_helps_no_node(self, seeds: set[str], others: int) -> None:
        picker = one_of(2)
        finish(picker, 0, 2)
        see(picker, [1] * COUNT)
        picker.update(seeds, others, [1] * COUNT, 0.0)
        assert all(picker.priorities()[1::2])

    def test_the_last_piece_when_the_crowd_has_it(self) -> None:
        picker = one_of(4)
        assert picker.priority(COUNT - 1) == 1
        assert see(picker, [1] * (COUNT - 1) + [2])
        assert picker.priority(COUNT - 1) > 1
