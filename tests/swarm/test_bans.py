"""Which bans are right."""

import pytest

from outlast.codec.merkle import BLOCK, PIECE
from outlast.swarm.client.bans import Bans
from tests.swarm.sessions import TREE

LIAR, HONEST = ("10.0.0.2", 6881), ("10.0.0.1", 6881)
BLOCKS = PIECE // BLOCK


def sent(bans: Bans, piece: int, *hosts: str) -> None:
    """All blocks of a piece, by these in turn."""
    for block in range(BLOCKS):
        bans.received(piece, block, hosts[block % len(hosts)])


@pytest.fixture
def bans() -> Bans:
    return Bans(lambda piece: -(-TREE.length(piece) // BLOCK))


def test_who_sent_all_of_a_wrong_piece_is_a_liar_and_named_once(bans: Bans) -> None:
    sent(bans, 3, LIAR[0])
    bans.banned(LIAR)
    assert not bans.is_unjust  # which piece was wrong is not known yet
    bans.wrong(3)
    assert not bans.is_unjust
    bans.banned(LIAR)
    assert bans.take_proven() == [LIAR]
    assert bans.take_proven() == []


def test_a_wrong_piece_is_trouble(bans: Bans) -> None:
    sent(bans, 3, HONEST[0])
    bans.right(3)
    assert not bans.in_trouble
    bans.wrong(4)
    bans.rejoin()
    assert bans.in_trouble


def test_the_last_piece_is_shorter(bans: Bans) -> None:
    bans.received(TREE.count - 1, 0, LIAR[0])
    bans.banned(LIAR)
    bans.wrong(TREE.count - 1)
    assert bans.take_proven() == [LIAR]


def test_who_sent_a_part_of_a_wrong_piece_is_none(bans: Bans) -> None:
    sent(bans, 3, LIAR[0], HONEST[0])
    bans.banned(HONEST)
    bans.wrong(3)
    assert bans.take_proven() == []
    assert bans.is_unjust


def test_a_block_of_which_nothing_is_known_may_be_of_another(bans: Bans) -> None:
    for block in range(1, BLOCKS):
        bans.received(3, block, HONEST[0])
    bans.banned(HONEST)
    bans.wrong(3)
    assert bans.take_proven() == []
    assert bans.is_unjust


def test_a_piece_that_is_sent_again_is_judged_anew(bans: Bans) -> None:
    sent(bans, 3, LIAR[0], HONEST[0])
    bans.wrong(3)
    sent(bans, 3, LIAR[0])
    bans.banned(LIAR)
    bans.wrong(3)
    assert bans.take_proven() == [LIAR]
    assert not bans.is_unjust


@pytest.fixture
def both(bans: Bans) -> Bans:
    """A liar was banned for a piece of its own, and an honest peer for one that they shared."""
    sent(bans, 3, LIAR[0])
    sent(bans, 4, LIAR[0], HONEST[0])
    bans.banned(LIAR)
    bans.wrong(3)
    bans.banned(HONEST)
    bans.wrong(4)
    return bans


def test_one_liar_does_not_make_the_ban_of_another_peer_just(both: Bans) -> None:
    assert both.take_proven() == [LIAR]
    assert both.is_unjust


def test_who_is_not_banned_is_not_named(bans: Bans) -> None:
    """Two connections of one address are two peers to libtorrent at first."""
    sent(bans, 3, LIAR[0])
    bans.wrong(3)
    assert bans.take_proven() == []
    assert not bans.is_unjust


def test_where_it_is_joined_again_only_liars_are_known(both: Bans) -> None:
    assert both.suspects == [HONEST]
    both.rejoin()
    assert both.suspects == []
    assert both.liars == [LIAR]
    assert not both.is_unjust


def test_a_liar_that_libtorrent_does_not_ban(bans: Bans) -> None:
    """Some blocks of the piece are pads, which no peer sends."""
    sent(bans, 3, LIAR[0])
    bans.wrong(3)
    before = bans.is_lenient
    bans.rejoin()
    assert (before, bans.is_lenient) == (True, False)
    assert [host for host, _ in bans.take_proven()] == [LIAR[0]]
