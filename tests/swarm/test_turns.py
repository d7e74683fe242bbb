"""When a torrent is joined again, and which peers wait meanwhile."""

from dataclasses import replace

from outlast.swarm.client.turns import Turns
from outlast.swarm.tuning import TUNING

A, B = ("10.0.0.1", 6881), ("10.0.0.2", 6881)
SLOW = replace(TUNING.client, turn_s=1e6, stuck_s=1e6, stuck_most_s=1e6)
AT_ONCE = replace(SLOW, stuck_s=-1e6)


def test_without_wrong_pieces_it_stays() -> None:
    assert not Turns(AT_ONCE).ends([], [], wrong=False)


def test_suspects_that_send_nothing_are_joined_again() -> None:
    assert Turns(AT_ONCE).ends([A, B], [], wrong=False)
    assert not Turns(SLOW).ends([A, B], [], wrong=False)


def test_each_suspect_has_a_turn_and_then_all_are_joined() -> None:
    turns = Turns(SLOW)
    assert turns.ends([A, B], [], wrong=True)
    turns.next([A, B])
    assert turns.held_back == [B]
    for _ in range(SLOW.probation_pieces):
        assert not turns.ends([], [], wrong=False)
        turns.right()
    assert turns.ends([], [], wrong=False)
    turns.next([])
    assert turns.held_back == [A]
    assert turns.ends([], [B], wrong=False)
    turns.next([])
    assert turns.held_back == []
    assert not turns.ends([], [B], wrong=False)


def test_a_turn_has_an_end() -> None:
    turns = Turns(replace(SLOW, turn_s=-1.0))
    turns.next([A, B])
    assert turns.ends([], [], wrong=False)


def test_no_turn_where_all_others_lie() -> None:
    turns = Turns(SLOW)
    turns.next([A, B])
    assert not turns.ends([], [B], wrong=False)
    assert turns.held_back == []


def test_one_suspect_needs_no_turn() -> None:
    turns = Turns(SLOW)
    turns.next([A])
    assert turns.held_back == []
    assert not turns.ends([], [], wrong=False)
